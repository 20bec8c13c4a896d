// What the cache holds, model by model, and how it is removed again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "facet/result.h"
#include "hub/cache.h"
#include "hub/model_ref.h"
#include "hub/resolve.h"

namespace facet::hub {

struct CachedModel {
  std::string repo, commit;
  std::string id;  // what a command takes: "owner/repo:Q4_K_M", with "@commit" or " --hf-file FILE" where needed
  Selection selection;
  int64_t bytes = 0;      // of the model's own files
  int64_t last_used = 0;  // seconds since 1970; file systems may keep it to the day only
};

// Every whole model, by name; once where several snapshots share it.
std::vector<CachedModel> inventory(const Cache& cache);

// A repository with beginnings of files that no whole model has come of yet.
struct Unfinished {
  std::string repo;
  int64_t bytes = 0;
};
std::vector<Unfinished> unfinished(const Cache& cache);

// What would be removed.
struct Removal {
  std::string repo;
  bool whole = false;  // the repository with everything that belongs to it
  struct Entry {
    std::string commit;
    RepoFile file;
  };
  std::vector<Entry> entries;  // in snapshots
  int64_t bytes = 0;           // that will be free afterwards
};

// ref without tag and revision, and no file: the whole repository. With a tag (here only exactly as the list shows it)
// or a file: that model, in the snapshot of the revision, or else in all; a projector or drafter goes with the last
// model. With a revision alone: that snapshot. Errors: not_found, naming what there is; io (a part of the repository's
// folder is a link that leads elsewhere: nothing outside the cache is removed).
Result<Removal> plan_removal(const Cache& cache, const ModelRef& ref, std::string_view file);

// Removes it, and every blob of the repository that no snapshot needs any longer. Errors: unavailable (another process
// is fetching into it), io.
Result<void> remove(const Cache& cache, const Removal& removal);

}  // namespace facet::hub
