#include "hub/download.h"

#include <optional>

#include "base/strings.h"
#include "hub/answers.h"
#include "hub/model_ref.h"
#include "hub/partial_file.h"

namespace facet::hub {
namespace {

constexpr int64_t kAdvance = int64_t{1} << 20;  // an attempt that brings so much does not count as failed

// Puts the body of an answer where it belongs in the file.
class Receiver : public HttpBody {
 public:
  Receiver(const DownloadRequest& request, PartialFile& file, Progress& progress)
      : request_(request), file_(file), progress_(progress) {}

  Result<void> begin(const HttpHead& first, const HttpHead& last) override {
    FACET_TRY_VOID(check_promised(first));
    // The same bytes later: only a strong tag says so. Of the last answer, since that server sends the content.
    tag_ = is_strong_etag(last.find("etag")) ? std::string(last.find("etag")) : std::string();
    return last.status == 206 ? begin_rest(last) : begin_whole(last);
  }

  Result<void> append(Bytes bytes) override {
    if (static_cast<int64_t>(bytes.size()) > request_.size - file_.length()) {
      file_.remove();
      return differs("more bytes arrive than the hub lists; they were thrown away", cat(request_.size, " bytes"),
                     "more");
    }
    FACET_TRY_VOID(file_.append(bytes));
    if (!report()) return Error{.code = ErrorCode::cancelled, .what = "stopped", .where = {}};
    return {};
  }

  bool report() { return progress_.update(request_.file, file_.length(), request_.size); }
  // The tag of the content that the file holds the beginning of; "" when it is not known.
  const std::string& tag() const { return tag_; }

 private:
  Error differs(std::string what, std::string expected, std::string found) const {
    return {.code = ErrorCode::corrupt,
            .what = cat(request_.file, ": ", what),
            .where = request_.repo,
            .expected = std::move(expected),
            .found = std::move(found)};
  }

  // The hub says in the answer before the redirection what the content will be.
  Result<void> check_promised(const HttpHead& first) const {
    if (const std::string_view linked = first.find("x-linked-etag"); !linked.empty()) {
      const std::string id = plain_etag(linked);
      if (is_object_id(id) && id.size() == request_.id.size() && id != request_.id)
        return differs("the hub offers another file than it lists", request_.id, id);
    }
    const std::optional<int64_t> size = parse_size(first.find("x-linked-size"));
    if (size && *size != request_.size)
      return differs("the hub offers a file of another size than it lists", cat(request_.size, " bytes"),
                     cat(*size, " bytes"));
    return {};
  }

  Result<void> begin_rest(const HttpHead& head) {
    const std::optional<ContentRange> range = parse_content_range(head.find("content-range"));
    const std::string expected = cat("bytes ", file_.length(), "-", request_.size - 1, "/", request_.size);
    if (range && range->first == file_.length() && (range->total == request_.size || range->total == -1)) return {};
    return differs("the server sends another part than the one that was asked for", expected,
                   std::string(head.find("content-range")));
  }

  // A server without ranges, or one whose content is no longer what the tag stood for.
  Result<void> begin_whole(const HttpHead& head) {
    const std::optional<int64_t> size = parse_size(head.find("content-length"));
    if (size && *size != request_.size)
      return differs("the server sends a file of another size than the hub lists", cat(request_.size, " bytes"),
                     cat(*size, " bytes"));
    if (file_.length() > 0) FACET_TRY_VOID(file_.restart());
    return {};
  }

  const DownloadRequest& request_;
  PartialFile& file_;
  Progress& progress_;
  std::string tag_;
};

// The server has no bytes from where the file ends: it means another file, or it does not count as we do.
Result<void> unsatisfiable(const DownloadRequest& request, const HttpAnswer& answer, PartialFile& file) {
  const std::optional<ContentRange> range = parse_content_range(answer.last.find("content-range"));
  if (range && range->total >= 0 && range->total != request.size)
    return Error{.code = ErrorCode::corrupt,
                 .what = cat(request.file, ": the server's file has another size than the hub lists"),
                 .where = request.repo,
                 .expected = cat(request.size, " bytes"),
                 .found = cat(range->total, " bytes")};
  return file.restart();
}

std::optional<Failure> attempt(HttpClient& client, const DownloadRequest& request, PartialFile& file,
                               Receiver& receiver) {
  HttpRequest get{.url = request.url, .token = request.token, .headers = {}};
  const int64_t before = file.length();
  if (before > 0) {
    get.headers.push_back({"Range", cat("bytes=", before, "-")});
    if (!receiver.tag().empty()) get.headers.push_back({"If-Range", receiver.tag()});
  }
  const Result<HttpAnswer> answer = client.get(get, receiver, [&] { return receiver.report(); });
  const bool advanced = file.length() >= before + kAdvance;
  if (!answer.ok()) {
    Failure failure = broken(answer.error());
    failure.advanced = advanced;
    if (failure.passing) failure.error.what = cat(request.file, ": ", failure.error.what);
    return failure;
  }
  if (answer->last.status == 416 && before > 0) {
    const Result<void> again = unsatisfiable(request, *answer, file);
    if (!again.ok()) return Failure{.error = again.error()};
  } else if (answer->last.status != 200 && answer->last.status != 206) {
    return refused(*answer, {.where = request.repo,
                             .file = request.file,
                             .endpoint = request.endpoint,
                             .with_token = !request.token.empty()});
  }
  if (file.whole()) return std::nullopt;
  return Failure{.error = {.code = ErrorCode::unavailable,
                           .what = cat(request.file, ": the server stopped too early"),
                           .where = request.repo,
                           .expected = cat(request.size, " bytes"),
                           .found = cat(file.length(), " bytes")},
                 .passing = true,
                 .advanced = advanced};
}

Result<void> receive(HttpClient& client, const DownloadRequest& request, const RetryPolicy& policy, PartialFile& file,
                     Progress& progress) {
  Receiver receiver(request, file, progress);
  Retry retry(policy);
  while (!file.whole()) {
    const std::optional<Failure> failure = attempt(client, request, file, receiver);
    if (failure) FACET_TRY_VOID(retry.wait(*failure, [&] { return progress.update(waiting_phase(*failure), 0, 0); }));
  }
  return {};
}

// Whether what failed is the hash of a file whose beginning another run, or a power cut, has left: it may be that part.
bool worth_anew(const Result<void>& finished, int64_t found_bytes) {
  return !finished.ok() && finished.error().code == ErrorCode::corrupt && found_bytes > 0;
}

}  // namespace

Result<void> download(HttpClient& client, const DownloadRequest& request, const RetryPolicy& policy,
                      Progress& progress) {
  const auto on_read = [&](int64_t bytes) { return progress.update(request.file, bytes, request.size); };
  for (;;) {
    FACET_TRY(PartialFile file, PartialFile::open(request.partial, request.id, request.size, on_read));
    const int64_t found_bytes = file.length();
    FACET_TRY_VOID(receive(client, request, policy, file, progress));
    Result<void> finished = file.finish(request.target);
    if (!worth_anew(finished, found_bytes)) return finished;
  }
}

}  // namespace facet::hub
