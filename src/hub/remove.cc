// Removal from the cache. Links go first and blobs last: a process that dies in between leaves blobs that nothing
// needs, and the next removal in the repository takes them.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "hub/inventory.h"
#include "hub/quant_name.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIncomplete = ".incomplete";

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error))
    found.push_back(it->path());
  return found;
}

// Nothing is removed through a link: it may lead out of the cache.
Result<void> check_inside(const Cache& cache, const std::string& repo) {
  const fs::path folder = cache.repo_folder(repo);
  std::vector<fs::path> parts = {folder, folder / "blobs", folder / "refs", folder / "snapshots"};
  for (const std::string& commit : cache.commits(repo)) parts.push_back(cache.snapshot_folder(repo, commit));
  for (const fs::path& part : parts) {
    std::error_code error;
    if (fs::is_symlink(part, error))
      return Error{.code = ErrorCode::io,
                   .what = "is a link; what it leads to is not removed",
                   .where = part.string(),
                   .expected = "a folder inside the cache",
                   .found = fs::read_symlink(part, error).string()};
  }
  return {};
}

Error absent(const ModelRef& ref, std::string found) {
  return {.code = ErrorCode::not_found,
          .what = "the model is not in the cache",
          .where = ref.text(),
          .expected = "a model that facet list shows",
          .found = std::move(found)};
}

// The blob ids that snapshots need, apart from the entries that are removed.
std::set<std::string> needed(const Cache& cache, const std::string& repo, const Removal* without) {
  std::set<std::string> ids;
  for (const std::string& commit : cache.commits(repo))
    for (const RepoFile& file : cache.files(repo, commit)) {
      const bool goes = without != nullptr && std::ranges::any_of(without->entries, [&](const Removal::Entry& entry) {
                          return entry.commit == commit && entry.file.path == file.path;
                        });
      if (!goes) ids.insert(file.id);
    }
  return ids;
}

// The entries of a model in one snapshot; its companions only when no other model remains there.
void add_model(const std::vector<RepoFile>& files, const std::string& commit, const Selection& selection,
               Removal& removal) {
  std::vector<RepoFile> going = selection.model;
  const auto goes = [&](const RepoFile& file) { return std::ranges::find(going, file) != going.end(); };
  const std::vector<Selection> all = all_models(files);
  const bool last = std::ranges::all_of(all, [&](const Selection& other) { return goes(other.model.front()); });
  if (last)
    for (const auto* companions : {&selection.mmproj, &selection.drafter})
      going.insert(going.end(), companions->begin(), companions->end());
  for (const RepoFile& file : going) removal.entries.push_back({commit, file});
}

// A looser match may stand for another model than the one that is meant.
bool is_meant(const Selection& selection, const ModelRef& ref, std::string_view file) {
  return !file.empty() || upper(selection.label) == upper(ref.tag);
}

// Of every file in a folder, links not followed.
int64_t bytes_below(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(folder, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error))
    if (std::error_code none; fs::is_regular_file(it->symlink_status(none)))
      bytes += static_cast<int64_t>(it->file_size(none));
  return bytes;
}

void count_bytes(const Cache& cache, Removal& removal) {
  if (removal.whole) {  // partial files and blobs without a snapshot, too
    removal.bytes = bytes_below(cache.repo_folder(removal.repo));
    return;
  }
  const std::set<std::string> kept = needed(cache, removal.repo, &removal);
  std::set<std::string> counted;
  for (const Removal::Entry& entry : removal.entries)
    if (entry.file.id.empty() || (!kept.contains(entry.file.id) && counted.insert(entry.file.id).second))
      removal.bytes += entry.file.size;
}

// Locks of a repository that are held while something is removed.
class Locks {
 public:
  ~Locks() {
    for (const int file : files_) ::close(file);
  }
  // Takes the lock without waiting; false when another process holds it.
  bool take(const fs::path& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return errno == ENOENT;  // nobody has ever asked for it
    files_.push_back(file);
    return ::flock(file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  }

 private:
  std::vector<int> files_;
};

Error busy(const std::string& repo) {
  return {.code = ErrorCode::unavailable,
          .what = "another process is fetching this model; nothing was removed",
          .where = repo};
}

Result<void> remove_path(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error)
    return Error{.code = ErrorCode::io, .what = cat("cannot remove: ", error.message()), .where = path.string()};
  return {};
}

// Folders that have become empty, up to and including the snapshot's own.
void remove_empty(fs::path folder, const fs::path& snapshots) {
  std::error_code error;
  while (folder != snapshots && fs::is_empty(folder, error) && !error && fs::remove(folder, error))
    folder = folder.parent_path();
}

Result<void> remove_whole(const Cache& cache, const std::string& repo) {
  std::error_code error;
  for (const fs::path& folder : {cache.repo_folder(repo), cache.lock_folder(repo)}) {
    fs::remove_all(folder, error);  // follows no links
    if (error)
      return Error{.code = ErrorCode::io, .what = cat("cannot remove: ", error.message()), .where = folder.string()};
  }
  return {};
}

// References to snapshots that this removal has emptied.
void remove_stale_refs(const Cache& cache, const Removal& removal) {
  const std::vector<std::string> commits = cache.commits(removal.repo);
  const auto emptied = [&](const std::string& commit) {
    return std::ranges::find(commits, commit) == commits.end() &&
           std::ranges::find(removal.entries, commit, &Removal::Entry::commit) != removal.entries.end();
  };
  std::error_code error;
  std::vector<fs::path> stale;
  const fs::path refs = cache.repo_folder(removal.repo) / "refs";
  for (auto it = fs::recursive_directory_iterator(refs, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    const Result<std::string> commit = read_file(it->path(), 1024);
    if (commit.ok() && emptied(*commit)) stale.push_back(it->path());
  }
  for (const fs::path& path : stale) fs::remove(path, error);
}

// Blobs, and partial files, that no snapshot needs and that nobody is bringing.
Result<void> sweep(const Cache& cache, const std::string& repo) {
  const std::set<std::string> kept = needed(cache, repo, nullptr);
  for (const fs::path& path : entries_of(cache.repo_folder(repo) / "blobs")) {
    std::string id = path.filename().string();
    if (id.ends_with(kIncomplete)) id.resize(id.size() - kIncomplete.size());
    if (!is_object_id(id) || kept.contains(id)) continue;
    Locks lock;
    const fs::path lock_file = cache.lock_folder(repo) / cat(id, ".lock");
    if (!lock.take(lock_file)) continue;
    FACET_TRY_VOID(remove_path(path));
    std::error_code ignored;
    fs::remove(lock_file, ignored);
  }
  return {};
}

}  // namespace

Result<Removal> plan_removal(const Cache& cache, const ModelRef& ref, std::string_view file) {
  std::error_code error;
  Removal removal;
  removal.repo = ref.repo;
  if (!fs::exists(fs::symlink_status(cache.repo_folder(ref.repo), error)))
    return absent(ref, cat("nothing in ", cache.repo_folder(ref.repo).string()));
  FACET_TRY_VOID(check_inside(cache, ref.repo));
  std::vector<std::string> commits = cache.commits(ref.repo);
  removal.whole = ref.revision.empty() && ref.tag.empty() && file.empty();
  if (!ref.revision.empty()) {
    const std::optional<std::string> commit = cache.commit_of(ref.repo, ref.revision);
    if (!commit) return absent(ref, cat("no revision ", ref.revision));
    commits = {*commit};
  }
  std::string there;
  for (const std::string& commit : commits) {
    const std::vector<RepoFile> files = cache.files(ref.repo, commit);
    for (const Selection& model : all_models(files))
      if (there.find(model.label) == there.npos) there += cat(there.empty() ? "" : ", ", model.label);
    if (ref.tag.empty() && file.empty()) {
      for (const RepoFile& each : files) removal.entries.push_back({commit, each});
      continue;
    }
    const Result<Selection> model = select(files, {.tag = ref.tag, .file = std::string(file)}, ref.repo);
    if (model.ok() && is_meant(*model, ref, file)) add_model(files, commit, *model, removal);
  }
  if (removal.entries.empty() && !removal.whole) return absent(ref, there.empty() ? "nothing" : there);
  count_bytes(cache, removal);
  return removal;
}

Result<void> remove(const Cache& cache, const Removal& removal) {
  FACET_TRY_VOID(check_inside(cache, removal.repo));
  {
    Locks locks;
    for (const fs::path& path : entries_of(cache.lock_folder(removal.repo))) {
      const std::string id = path.stem().string();
      const bool concerned =
          std::ranges::any_of(removal.entries, [&](const auto& entry) { return entry.file.id == id; });
      if (path.extension() == ".lock" && (removal.whole || concerned) && !locks.take(path)) return busy(removal.repo);
    }
    if (removal.whole) return remove_whole(cache, removal.repo);
    const fs::path snapshots = cache.repo_folder(removal.repo) / "snapshots";
    for (const Removal::Entry& entry : removal.entries) {
      const fs::path path = snapshots / entry.commit / entry.file.path;
      FACET_TRY_VOID(remove_path(path));
      remove_empty(path.parent_path(), snapshots);
    }
    remove_stale_refs(cache, removal);
    if (cache.commits(removal.repo).empty()) return remove_whole(cache, removal.repo);
  }  // a lock held twice by one process would stop itself
  return sweep(cache, removal.repo);
}

}  // namespace facet::hub
