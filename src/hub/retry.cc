#include "hub/retry.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/strings.h"
#include "hub/answers.h"

namespace facet::hub {
namespace {

constexpr double kWaitMax = 120;  // seconds; a server that asks for more is asked again by the user
constexpr auto kStep = std::chrono::milliseconds(50);

std::string code_and_text(const HttpAnswer& answer) {
  std::string text = cat("answer ", answer.last.status);
  std::string said(answer.last.find("x-error-message"));
  if (said.empty()) said = refusal_text(answer.refusal);
  return said.empty() ? text : cat(text, ": ", said);
}

// The address of a model's page, without a name and password that the endpoint may hold.
std::string page_of(const Asked& asked) {
  const std::string_view endpoint = asked.endpoint;
  const size_t scheme = endpoint.find("://");
  if (scheme == endpoint.npos) return cat(endpoint, "/", asked.where);
  std::string_view rest = endpoint.substr(scheme + 3);
  if (const size_t at = rest.substr(0, rest.find('/')).rfind('@'); at != rest.npos) rest.remove_prefix(at + 1);
  return cat(endpoint.substr(0, scheme + 3), rest, "/", asked.where);
}

Error access_error(const HttpAnswer& answer, const Asked& asked) {
  const std::string_view kind = answer.last.find("x-error-code");
  const std::string page = page_of(asked);
  const char* token = asked.with_token ? "a token that does not suffice" : "no token";
  if (kind == "RepoNotFound")  // the hub does not tell strangers whether a private repository exists
    return {.code = ErrorCode::not_found,
            .what = "there is no such model, or it is private",
            .where = std::string(asked.where),
            .expected = cat("a model that ", page, " shows (of private ones: a token, by --hf-token or HF_TOKEN)"),
            .found = cat(code_and_text(answer), "; ", token)};
  return {.code = ErrorCode::unavailable,
          .what = "access is refused",
          .where = std::string(asked.where),
          .expected = cat("a token (--hf-token, HF_TOKEN, or `hf auth login`) of an account that has accepted the "
                          "licence at ",
                          page),
          .found = cat(code_and_text(answer), "; ", token)};
}

Error missing_error(const HttpAnswer& answer, const Asked& asked) {
  return {.code = ErrorCode::not_found,
          .what = asked.file.empty() ? std::string("the hub has no such model or revision")
                                     : cat(asked.file, ": the model has no such file"),
          .where = std::string(asked.where),
          .expected = {},
          .found = code_and_text(answer)};
}

}  // namespace

Failure refused(const HttpAnswer& answer, const Asked& asked) {
  const int status = answer.last.status;
  if (status == 401 || status == 403) return {.error = access_error(answer, asked)};
  if (status == 404 || status == 410) return {.error = missing_error(answer, asked)};
  const bool passing = status == 408 || status == 425 || status == 429 || status >= 500;
  Error error{.code = passing ? ErrorCode::unavailable : ErrorCode::io,
              .what = status == 429 ? "the server wants fewer requests" : "the server refuses",
              .where = std::string(asked.where),
              .expected = {},
              .found = code_and_text(answer)};
  if (!asked.file.empty()) error.what = cat(asked.file, ": ", error.what);
  return {.error = std::move(error), .passing = passing, .retry_after_seconds = answer.retry_after_seconds};
}

std::string waiting_phase(const Failure& failure) { return cat("waiting to try again: ", failure.error.message()); }

Result<void> Retry::wait(const Failure& failure, GoOn go_on) {
  if (failure.advanced) failed_ = 0;
  ++failed_;
  if (!failure.passing || failed_ >= policy_.attempts) return failure.error;
  if (failure.retry_after_seconds > kWaitMax) {
    Error error = failure.error;
    error.what += cat(" (again in ", static_cast<int64_t>(failure.retry_after_seconds), " seconds)");
    return error;
  }
  const double wait = std::max(policy_.delay_seconds * static_cast<double>(1 << std::min(failed_ - 1, 10)),
                               failure.retry_after_seconds);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::min(wait, kWaitMax));
  do {
    if (!go_on()) return Error{.code = ErrorCode::cancelled, .what = "stopped", .where = {}};
    std::this_thread::sleep_for(kStep);
  } while (std::chrono::steady_clock::now() < end);
  return {};
}

}  // namespace facet::hub
