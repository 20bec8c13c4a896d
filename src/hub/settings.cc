#include "hub/settings.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/file.h"
#include "base/strings.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTokenFileMax = uint64_t{64} << 10;

// A variable that is set to nothing counts as not set.
std::string value(const Variables& variables, const char* name) { return variables(name).value_or(""); }

std::string first_of(const Variables& variables, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (std::string found = value(variables, name); !found.empty()) return found;
  return {};
}

bool is_on(const Variables& variables, const char* name) {
  std::string text = value(variables, name);
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

fs::path home_folder(const Variables& variables) {
  if (const std::string home = value(variables, "HOME"); !home.empty()) return home;
  std::vector<char> buffer(size_t{1} << 16);
  struct passwd entry, *found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return {};
  return found->pw_dir;
}

// "~" and "~/…" stand for the home folder.
fs::path expanded(const std::string& text, const Variables& variables) {
  if (text == "~" || text.starts_with("~/"))
    return home_folder(variables) / text.substr(std::min<size_t>(2, text.size()));
  return text;
}

// The folder of Hugging Face's own programs; empty when there is no home.
fs::path hugging_face_home(const Variables& variables) {
  if (const std::string own = value(variables, "HF_HOME"); !own.empty()) return expanded(own, variables);
  if (const std::string xdg = value(variables, "XDG_CACHE_HOME"); !xdg.empty())
    return expanded(xdg, variables) / "huggingface";
  const fs::path home = home_folder(variables);
  return home.empty() ? fs::path() : home / ".cache" / "huggingface";
}

Result<fs::path> cache_folder(const Variables& variables) {
  if (const std::string own = first_of(variables, {"LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
      !own.empty())
    return expanded(own, variables);
  const fs::path home = hugging_face_home(variables);
  if (!home.empty()) return home / "hub";
  return Error{.code = ErrorCode::not_found,
               .what = "there is no folder for the model cache",
               .where = "environment",
               .expected = "HF_HUB_CACHE, HF_HOME or HOME",
               .found = "none of them"};
}

Result<std::string> read_token(const Variables& variables) {
  if (const std::string own = first_of(variables, {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}); !own.empty()) {
    const std::string token(trimmed(own));
    FACET_TRY_VOID(check_token(token, "HF_TOKEN"));
    return token;
  }
  if (is_on(variables, "HF_HUB_DISABLE_IMPLICIT_TOKEN")) return std::string();
  const std::string named = value(variables, "HF_TOKEN_PATH");
  const fs::path home = hugging_face_home(variables);
  if (named.empty() && home.empty()) return std::string();
  const fs::path path = named.empty() ? home / "token" : expanded(named, variables);
  const Result<std::string> text = read_file(path, kTokenFileMax);
  if (!text.ok() && text.error().code == ErrorCode::not_found) return std::string();
  if (!text.ok()) return text.error();
  const std::string token(trimmed(*text));
  FACET_TRY_VOID(check_token(token, path.string()));
  return token;
}

Result<std::string> read_endpoint(const Variables& variables) {
  const char* name = value(variables, "MODEL_ENDPOINT").empty() ? "HF_ENDPOINT" : "MODEL_ENDPOINT";
  std::string endpoint(trimmed(value(variables, name)));
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (endpoint.empty()) return Settings().endpoint;
  if (endpoint.starts_with("https://") || endpoint.starts_with("http://")) return endpoint;
  return Error{.code = ErrorCode::invalid_argument,
               .what = "is no address of a server",
               .where = name,
               .expected = "https://… or http://…",
               .found = endpoint};
}

template <class Number>
Result<void> read_seconds(const Variables& variables, const char* name, Number least, Number& seconds) {
  const std::string text = value(variables, name);
  if (text.empty()) return {};
  constexpr Number kMax = 3600;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size() && seconds >= least && seconds <= kMax) return {};
  return Error{.code = ErrorCode::invalid_argument,
               .what = "is no time",
               .where = name,
               .expected = cat("seconds, ", least, " to ", kMax),
               .found = text};
}

}  // namespace

Result<void> check_token(std::string_view token, std::string_view where) {
  constexpr size_t kTokenMax = 4096;
  if (token.size() <= kTokenMax && std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7F; })) return {};
  return Error{.code = ErrorCode::invalid_argument,
               .what = "token is malformed",
               .where = std::string(where),
               .expected = "one word of ASCII letters, digits and signs",
               .found = token.size() > kTokenMax ? cat(token.size(), " bytes") : "other characters"};
}

Result<Settings> read_settings(const Variables& variables) {
  Settings settings;
  FACET_TRY(settings.cache, cache_folder(variables));
  FACET_TRY(settings.endpoint, read_endpoint(variables));
  FACET_TRY(settings.token, read_token(variables));
  FACET_TRY_VOID(read_seconds(variables, "FACET_RETRY_SECONDS", 0.0, settings.retry_seconds));
  FACET_TRY_VOID(read_seconds(variables, "FACET_STALL_SECONDS", 1, settings.stall_seconds));
  settings.certificates = first_of(variables, {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"});
  settings.offline = is_on(variables, "HF_HUB_OFFLINE") || is_on(variables, "TRANSFORMERS_OFFLINE");
  settings.symlinks = !is_on(variables, "HF_HUB_DISABLE_SYMLINKS");
  return settings;
}

}  // namespace facet::hub
