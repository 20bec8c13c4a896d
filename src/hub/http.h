// HttpClient: GET over HTTP and HTTPS, by libcurl. Follows redirections itself, so that the token never reaches another
// server than the one it was given for, and so that the first answer's headers (which name the file's hash) are kept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/function_ref.h"
#include "facet/result.h"

namespace facet::hub {

struct Header {
  std::string name, value;  // of answers: the name in lower case
};

struct HttpHead {
  int status = 0;
  std::vector<Header> headers;
  // The value of the first header of this name (given in lower case); "" when there is none.
  std::string_view find(std::string_view name) const;
};

struct HttpRequest {
  std::string url;
  std::string token;  // sent as "Authorization: Bearer …" to the server of url alone; empty: none
  std::vector<Header> headers;
};

struct HttpAnswer {
  HttpHead first, last;            // of the first answer and of the one that redirections ended at
  std::string refusal;             // the body when last.status is not 200 or 206; its first 64 KiB
  double retry_after_seconds = 0;  // as Retry-After says; 0: it says nothing
};

// Takes the body of an answer 200 or 206.
class HttpBody {
 public:
  virtual ~HttpBody() = default;
  // The heads are known; the body follows. An Error ends the transfer.
  virtual Result<void> begin(const HttpHead& first, const HttpHead& last) = 0;
  virtual Result<void> append(Bytes bytes) = 0;
};

// Asked about once a second and before every wait; false ends the work with ErrorCode::cancelled.
using GoOn = FunctionRef<bool()>;

// One connection after the other, reused where the server allows it. One thread at a time.
class HttpClient {
 public:
  struct Options {
    std::string certificates;  // file of CA certificates; empty: the system's
    int connect_seconds = 20;
    int stall_seconds = 30;  // a transfer slower than 100 bytes a second for so long is given up
  };
  // Errors: unavailable (libcurl does not start).
  static Result<HttpClient> create(const Options& options);
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  // Any status is an answer. Errors: unavailable (the network, worth another try), io (worth none: certificates, odd
  // addresses, too many redirections), cancelled, and those of `body`.
  Result<HttpAnswer> get(const HttpRequest& request, HttpBody& body, GoOn go_on);

 private:
  struct State;
  explicit HttpClient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "scheme://host:port" of an address; "" when it is none.
std::string origin_of(const std::string& url);
// The address with every character of `path` escaped that has a meaning in addresses; slashes stay.
std::string escape_path(std::string_view path);

}  // namespace facet::hub
