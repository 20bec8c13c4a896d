// download(): one file from a server into a partial file beside its place, and from there, verified, into its place.
//
// The partial file can be continued at any time, by any process: its length says how far it is, and nothing is believed
// until the hash of the whole agrees. Whoever calls holds the lock of the blob (hub/cache.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/progress.h"
#include "hub/http.h"
#include "hub/retry.h"

namespace facet::hub {

struct DownloadRequest {
  std::string repo, file;         // for messages
  std::string endpoint;           // for the address of the licence page
  std::string url, token;         // token may be empty
  std::string id;                 // hash of the whole file: is_object_id()
  int64_t size = 0;               // bytes of the whole file
  std::filesystem::path partial;  // its folder exists
  std::filesystem::path target;   // in the same file system
};

// Afterwards `target` is whole, on the disk and has the hash `id`; `partial` is gone. Errors leave `partial` behind to
// be continued, unless its bytes are proven wrong (hash, or more than `size`). A wrong hash of a file that an earlier
// run began is first answered by fetching it anew. Errors: corrupt (hash, size, a server that offers something else
// than it lists), unavailable (network, 5xx, 429, 401 and 403), not_found, io (a full disk among others), cancelled.
// progress is told (request.file, bytes so far, size), and (waiting_phase(), 0, 0) before a further attempt; false from
// it cancels.
Result<void> download(HttpClient& client, const DownloadRequest& request, const RetryPolicy& policy,
                      Progress& progress);

}  // namespace facet::hub
