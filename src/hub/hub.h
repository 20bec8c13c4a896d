// Hub: a model by its name, from the hub's server or from the cache.
//
//   FACET_TRY(hub::ModelRef ref, hub::ModelRef::parse("ggml-org/gemma-4-E2B-it-GGUF:Q8_0"));
//   FACET_TRY(hub::Plan plan, hub.plan(ref, {}, progress));      // asks the server: what would be fetched, how large
//   FACET_TRY(hub::LocalModel model, hub.fetch(plan, progress)); // fetches what is absent
//   FACET_TRY(hub::LocalModel model, hub.find(ref, {}));         // or: only the cache
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "facet/result.h"
#include "hub/cache.h"
#include "hub/http.h"
#include "hub/model_ref.h"
#include "hub/resolve.h"
#include "hub/retry.h"
#include "hub/settings.h"

namespace facet::hub {

// What was chosen, before anything large is fetched.
struct Plan {
  ModelRef ref;
  std::string revision, commit;  // revision: the branch or tag that commit was found by; empty for a commit
  Selection selection;
  int64_t bytes = 0, missing_bytes = 0;  // of all files; of what is not in the cache yet

  // Model, projector and drafter, in the order in which they are fetched.
  std::vector<RepoFile> files() const;
};

// A model in the cache, whole.
struct LocalModel {
  ModelRef ref;
  std::string commit;
  Selection selection;
  std::filesystem::path snapshot;  // the folder that the files' paths start from

  std::filesystem::path path() const;  // what a loader opens: the GGUF file (its first part), or the folder
};

class Hub {
 public:
  // Errors: unavailable (libcurl does not start).
  static Result<Hub> create(const Settings& settings);

  const Cache& cache() const { return cache_; }
  const Settings& settings() const { return settings_; }

  // Asks the server. wanted.tag is ref's. Errors: unavailable, not_found, corrupt, cancelled, invalid_argument.
  Result<Plan> plan(const ModelRef& ref, Wanted wanted, Progress& progress);
  // Fetches and links what is absent; the partial files of earlier tries are continued. progress: ("fetching", bytes
  // there, bytes of all files), and ("waiting …", 0, 0) for another process or before a further attempt. Errors: as
  // plan(), io.
  Result<LocalModel> fetch(const Plan& plan, Progress& progress);
  // What the cache alone can give. Without a revision, a snapshot that `main` no longer stands for serves too.
  // Errors: not_found, naming how to fetch it; corrupt (a part is missing).
  Result<LocalModel> find(const ModelRef& ref, Wanted wanted) const;

 private:
  Hub(Settings settings, HttpClient client);
  Result<std::string> get(const ModelRef& ref, const std::string& url, Progress& progress, std::string* next = nullptr);
  Result<void> find_commit(const ModelRef& ref, Plan& plan, Progress& progress);
  Result<std::vector<RepoFile>> tree(const ModelRef& ref, const std::string& commit, Progress& progress);
  Result<void> fetch_file(const Plan& plan, const RepoFile& file, Progress& progress);
  Result<void> check_disk(const Plan& plan) const;

  Settings settings_;
  Cache cache_;
  HttpClient client_;
  RetryPolicy retries_;
};

}  // namespace facet::hub
