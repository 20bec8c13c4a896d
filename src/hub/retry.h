// Retry: how often, and after how long, something that failed is tried again.
#pragma once

#include <string>
#include <string_view>

#include "facet/result.h"
#include "hub/http.h"

namespace facet::hub {

struct RetryPolicy {
  int attempts = 3;
  double delay_seconds = 2;  // before the second attempt; it doubles then
};

// Why an attempt failed.
struct Failure {
  Error error;
  bool passing = false;            // another attempt may succeed
  bool advanced = false;           // this one brought something that is kept: the count begins anew
  double retry_after_seconds = 0;  // what the server asked for
};

// "waiting to try again: …": what progress is told meanwhile.
std::string waiting_phase(const Failure& failure);

class Retry {
 public:
  explicit Retry(const RetryPolicy& policy) : policy_(policy) {}
  // Waits until the next attempt may begin. Errors: that of the failure when there is no further attempt; cancelled.
  Result<void> wait(const Failure& failure, GoOn go_on);

 private:
  RetryPolicy policy_;
  int failed_ = 0;
};

// What went wrong when a server's answer is neither 200 nor 206. `where` names the model.
struct Asked {
  std::string_view where;     // "owner/repo"
  std::string_view file;      // the file that was asked for; empty: a list
  std::string_view endpoint;  // for the address of the licence page
  bool with_token = false;
};
Failure refused(const HttpAnswer& answer, const Asked& asked);

// The failure of a transfer that did not end.
inline Failure broken(Error error) {
  const bool passing = error.code == ErrorCode::unavailable;
  return {.error = std::move(error), .passing = passing};
}

}  // namespace facet::hub
