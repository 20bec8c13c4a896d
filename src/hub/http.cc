#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/strings.h"

namespace facet::hub {
namespace {

constexpr int kRedirectionsMax = 10;
constexpr size_t kHeadersMax = 256;
constexpr size_t kHeaderBytesMax = size_t{16} << 10;
constexpr size_t kRefusalMax = size_t{64} << 10;
constexpr long kSlowBytesPerSecond = 100;
constexpr const char* kUserAgent = "facet/0.1.0";

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

std::string part_of(const Url& url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return {};
  const std::string found = text;
  curl_free(text);
  return found;
}

// The target of a redirection; "" when it is malformed.
std::string joined(const std::string& base, const std::string& location) {
  const Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), CURLU_URLENCODE) != CURLUE_OK)
    return {};
  return part_of(url, CURLUPART_URL);
}

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

void add_line(HeaderList& list, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(list.get(), line.c_str()); longer != nullptr) {
    (void)list.release();  // it is the front of the longer list now
    list.reset(longer);
  }
}

bool is_redirection(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}
bool has_content(int status) { return status == 200 || status == 206; }

// What one request of a chain writes into.
struct Exchange {
  HttpBody* body;
  GoOn* go_on;
  const HttpHead* first;  // of an earlier request of the chain; null in the first
  CURL* handle;
  HttpHead head = {};
  std::string refusal = {};
  bool begun = false;
  std::optional<Error> error = {};

  bool fail(Error found) {
    error = std::move(found);
    return false;
  }

  bool header(std::string_view line) {
    if (line.starts_with("HTTP/")) head = {};  // the head before was an interim one ("100 Continue")
    const size_t colon = line.find(':');
    if (colon == line.npos || head.headers.size() >= kHeadersMax || line.size() > kHeaderBytesMax) return true;
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    head.headers.push_back({std::move(name), std::string(trimmed(line.substr(colon + 1)))});
    return true;
  }

  bool begin() {
    if (begun) return true;
    begun = true;
    read_status();
    if (!has_content(head.status)) return true;
    Result<void> result = body->begin(first != nullptr ? *first : head, head);
    return result.ok() || fail(std::move(result).error());
  }

  void read_status() {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    head.status = static_cast<int>(status);
  }

  bool content(Bytes bytes) {
    if (!begin()) return false;
    if (!has_content(head.status)) {
      refusal.append(as_text(bytes).substr(0, kRefusalMax - refusal.size()));
      return true;
    }
    Result<void> result = body->append(bytes);
    return result.ok() || fail(std::move(result).error());
  }
};

// libcurl calls these. A count that differs from what was given ends the transfer.
size_t on_header(char* text, size_t size, size_t count, void* exchange) {
  return static_cast<Exchange*>(exchange)->header({text, size * count}) ? size * count : 0;
}

size_t on_content(char* text, size_t size, size_t count, void* exchange) {
  const Bytes bytes = std::as_bytes(std::span(text, size * count));
  return static_cast<Exchange*>(exchange)->content(bytes) ? size * count : size * count + 1;
}

int on_progress(void* exchange, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<Exchange*>(exchange)->go_on)() ? 0 : 1;
}

Error network_error(CURLcode code, const char* detail, const std::string& url) {
  const bool lasting = code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
                       code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
                       code == CURLE_SSL_CERTPROBLEM;
  return {.code = lasting ? ErrorCode::io : ErrorCode::unavailable,
          .what = code == CURLE_OPERATION_TIMEDOUT ? cat("the server went silent (", detail, ")")
                                                   : std::string(*detail != '\0' ? detail : curl_easy_strerror(code)),
          .where = origin_of(url)};
}

}  // namespace

std::string_view HttpHead::find(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, &Header::name);
  return found == headers.end() ? std::string_view() : std::string_view(found->value);
}

std::string origin_of(const std::string& text) {
  const Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return {};
  std::string host = part_of(url, CURLUPART_HOST);
  std::ranges::transform(host, host.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return cat(part_of(url, CURLUPART_SCHEME), "://", host, ":", part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

std::string escape_path(std::string_view path) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : path) {
    if (kPlain.find(c) != kPlain.npos) {
      text += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

struct HttpClient::State {
  CURL* handle = curl_easy_init();
  Options options;
  char detail[CURL_ERROR_SIZE] = "";

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { curl_easy_cleanup(handle); }

  void set_up(const HttpRequest& request, const std::string& url, Exchange& exchange, HeaderList& lines) {
    curl_easy_reset(handle);  // keeps connections
    detail[0] = '\0';
    for (const Header& header : request.headers) add_line(lines, cat(header.name, ": ", header.value));
    // Compared with every target: back at the first server the token may be sent again, elsewhere never.
    if (!request.token.empty() && origin_of(url) == origin_of(request.url))
      add_line(lines, cat("Authorization: Bearer ", request.token));
    add_line(lines, "Accept-Encoding: identity");  // bytes are hashed and counted as they are stored
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_USERAGENT, kUserAgent);
    curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, lines.get());
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.connect_seconds));
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, kSlowBytesPerSecond);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_seconds));
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
    if (!options.certificates.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options.certificates.c_str());
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_content);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  }

  // One request, without following.
  Result<void> exchange(const HttpRequest& request, const std::string& url, Exchange& exchange) {
    HeaderList lines;
    set_up(request, url, exchange, lines);
    const CURLcode code = curl_easy_perform(handle);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, nullptr);  // `lines` dies here
    if (exchange.error) return *std::move(exchange.error);
    if (code == CURLE_ABORTED_BY_CALLBACK) return Error{.code = ErrorCode::cancelled, .what = "stopped", .where = {}};
    if (code != CURLE_OK) return network_error(code, detail, url);
    if (!exchange.begin()) return *std::move(exchange.error);  // an answer without a body
    return {};
  }

  double retry_after_seconds() {
    curl_off_t seconds = 0;
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &seconds);
    return static_cast<double>(seconds);
  }
};

HttpClient::HttpClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient> HttpClient::create(const Options& options) {
  static std::once_flag once;  // libcurl wants to be started once in a process; it keeps no state of ours
  static CURLcode started = CURLE_FAILED_INIT;
  std::call_once(once, [] { started = curl_global_init(CURL_GLOBAL_DEFAULT); });
  auto state = std::make_unique<State>();
  state->options = options;
  if (started != CURLE_OK || state->handle == nullptr)
    return Error{.code = ErrorCode::unavailable, .what = "libcurl does not start", .where = "download"};
  return HttpClient(std::move(state));
}

Result<HttpAnswer> HttpClient::get(const HttpRequest& request, HttpBody& body, GoOn go_on) {
  HttpAnswer answer;
  std::string url = request.url;
  for (int hop = 0; hop <= kRedirectionsMax; ++hop) {
    Exchange exchange{
        .body = &body, .go_on = &go_on, .first = hop == 0 ? nullptr : &answer.first, .handle = state_->handle};
    FACET_TRY_VOID(state_->exchange(request, url, exchange));
    if (hop == 0) answer.first = exchange.head;
    answer.last = std::move(exchange.head);
    answer.refusal = std::move(exchange.refusal);
    answer.retry_after_seconds = state_->retry_after_seconds();
    const std::string_view location = answer.last.find("location");
    if (!is_redirection(answer.last.status) || location.empty()) return answer;
    const std::string target = joined(url, std::string(location));
    const bool plain = target.starts_with("http://");
    if (!(plain && url.starts_with("http://")) && !target.starts_with("https://"))
      return Error{.code = ErrorCode::io,
                   .what = "the server redirects to an address that is not followed",
                   .where = origin_of(url),
                   .expected = url.starts_with("https://") ? "https://…" : "http://… or https://…",
                   .found = std::string(location)};
    url = target;
  }
  return Error{.code = ErrorCode::io,
               .what = cat("the server redirects more than ", kRedirectionsMax, " times"),
               .where = origin_of(request.url)};
}

}  // namespace facet::hub
