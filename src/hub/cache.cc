#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/system_error.h"
#include "hub/model_ref.h"
#include "hub/partial_file.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";
constexpr size_t kSnapshotFilesMax = 20'000;  // of one snapshot

Result<void> make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return system_error("cannot make the folder", folder, error);
  return {};
}

std::string folder_name(std::string_view repo) {
  const size_t slash = repo.find('/');
  FACET_CHECK(slash != repo.npos);
  return cat(kPrefix, repo.substr(0, slash), "--", repo.substr(slash + 1));
}

// Bytes of the regular file that a path leads to; -1 when there is none.
int64_t file_bytes(const fs::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return -1;
  return status.st_size;
}

fs::file_time_type changed(const fs::path& path) {
  std::error_code error;
  const fs::file_time_type time = fs::last_write_time(path, error);
  return error ? fs::file_time_type::min() : time;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error))
    names.push_back(it->path().filename().string());
  std::ranges::sort(names);
  return names;
}

// "../../blobs/ID", with one more ".." for every folder in the path.
fs::path link_target(const RepoFile& file) {
  const auto depth = std::ranges::count(file.path, '/');
  fs::path target = "../..";
  for (auto i = 0; i < depth; ++i) target /= "..";
  return target / "blobs" / file.id;
}

// Whether the error says that this place cannot have links at all.
bool has_no_links(const std::error_code& error) {
  return error == std::errc::operation_not_permitted || error == std::errc::operation_not_supported ||
         error == std::errc::not_supported || error == std::errc::function_not_supported ||
         error == std::errc::permission_denied;
}

// A link under its name at once: made as `temporary`, then renamed over whatever is there.
std::error_code link_atomic(const fs::path& target, const fs::path& path, const fs::path& temporary) {
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary, error);
  if (error) return error;
  fs::rename(temporary, path, error);
  std::error_code ignored;
  if (error) fs::remove(temporary, ignored);
  return error;
}

}  // namespace

BlobLock::BlobLock(BlobLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
BlobLock& BlobLock::operator=(BlobLock&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}
BlobLock::~BlobLock() {
  if (file_ >= 0) ::close(file_);
}

fs::path Cache::repo_folder(std::string_view repo) const { return root_ / folder_name(repo); }
fs::path Cache::snapshot_folder(std::string_view repo, std::string_view commit) const {
  return repo_folder(repo) / "snapshots" / commit;
}
fs::path Cache::blob(std::string_view repo, std::string_view id) const { return repo_folder(repo) / "blobs" / id; }
fs::path Cache::partial(std::string_view repo, std::string_view id) const {
  return repo_folder(repo) / "blobs" / cat(id, ".incomplete");
}
fs::path Cache::lock_folder(std::string_view repo) const { return root_ / ".locks" / folder_name(repo); }
fs::path Cache::scratch(std::string_view repo) const { return lock_folder(repo) / cat(::getpid(), ".tmp"); }

Result<void> Cache::prepare(std::string_view repo) const {
  for (const char* name : {"blobs", "refs", "snapshots"}) FACET_TRY_VOID(make_folders(repo_folder(repo) / name));
  return make_folders(lock_folder(repo));
}

std::optional<std::string> Cache::commit_of(std::string_view repo, std::string_view revision) const {
  constexpr size_t kShortCommit = 7;
  if (const Result<std::string> text = read_file(repo_folder(repo) / "refs" / revision, 1024); text.ok()) {
    const std::string_view commit = std::string_view(*text).substr(0, text->find_first_of(" \r\n"));
    if (is_commit(commit)) return std::string(commit);
  }
  if (revision.size() < kShortCommit || !is_hex(revision, revision.size())) return std::nullopt;
  std::vector<std::string> all = commits(repo);
  std::erase_if(all, [&](const std::string& commit) { return !commit.starts_with(revision); });
  return all.size() == 1 ? std::optional(all.front()) : std::nullopt;
}

Result<void> Cache::write_ref(std::string_view repo, std::string_view revision, std::string_view commit) const {
  const fs::path path = repo_folder(repo) / "refs" / revision;
  if (const Result<std::string> old = read_file(path, 1024); old.ok() && *old == commit) return {};
  FACET_TRY_VOID(make_folders(path.parent_path()));
  // Not beside its place: a file that a dying process leaves there would be taken for a reference.
  const fs::path temporary = scratch(repo);
  FACET_TRY_VOID(write_file_atomic(temporary, as_bytes(commit)));
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) return system_error("cannot write the reference", path, error);
  return {};
}

std::vector<std::string> Cache::refs_of(std::string_view repo, std::string_view commit) const {
  std::vector<std::string> found;
  const fs::path folder = repo_folder(repo) / "refs";
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(folder, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    const std::string name = it->path().lexically_relative(folder).generic_string();
    if (is_revision(name) && commit_of(repo, name) == commit) found.push_back(name);
  }
  std::ranges::sort(found);
  return found;
}

std::vector<std::string> Cache::commits(std::string_view repo) const {
  const fs::path folder = repo_folder(repo) / "snapshots";
  std::vector<std::string> all = names_in(folder);
  std::erase_if(all, [](const std::string& name) { return !is_commit(name); });
  std::ranges::stable_sort(all, std::greater(), [&](const std::string& name) { return changed(folder / name); });
  return all;
}

std::vector<std::string> Cache::repos() const {
  std::vector<std::string> found;
  for (const std::string& name : names_in(root_)) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string_view rest = std::string_view(name).substr(kPrefix.size());
    const size_t cut = rest.find("--");
    if (cut == rest.npos) continue;
    if (std::string repo = cat(rest.substr(0, cut), "/", rest.substr(cut + 2)); is_repo_id(repo)) found.push_back(repo);
  }
  return found;
}

std::vector<RepoFile> Cache::files(std::string_view repo, std::string_view commit) const {
  std::vector<RepoFile> found;
  const fs::path folder = snapshot_folder(repo, commit);
  std::error_code error;
  auto it = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && it != fs::recursive_directory_iterator() && found.size() < kSnapshotFilesMax; it.increment(error)) {
    const std::string path = it->path().lexically_relative(folder).generic_string();
    const int64_t size = file_bytes(it->path());
    if (size < 0 || !is_inner_path(path)) continue;
    std::error_code none;
    const std::string id =
        fs::is_symlink(it->path(), none) ? fs::read_symlink(it->path(), none).filename().string() : "";
    found.push_back({path, size, is_object_id(id) ? id : ""});
  }
  std::ranges::sort(found, {}, &RepoFile::path);
  return found;
}

bool Cache::in_snapshot(std::string_view repo, std::string_view commit, const RepoFile& file) const {
  return file_bytes(snapshot_folder(repo, commit) / file.path) == file.size;
}

bool Cache::has_blob(std::string_view repo, const RepoFile& file) const {
  return file_bytes(blob(repo, file.id)) == file.size;
}

int64_t Cache::partial_bytes(std::string_view repo, const RepoFile& file) const {
  return std::clamp<int64_t>(file_bytes(partial(repo, file.id)), 0, file.size);
}

Result<void> Cache::link(std::string_view repo, std::string_view commit, const RepoFile& file) const {
  const fs::path path = snapshot_folder(repo, commit) / file.path;
  FACET_TRY_VOID(make_folders(path.parent_path()));
  if (symlinks_) {
    const std::error_code error = link_atomic(link_target(file), path, scratch(repo));
    if (!error) return {};
    if (!has_no_links(error)) return system_error("cannot make the link", path, error);
  }
  std::error_code error;
  fs::rename(blob(repo, file.id), path, error);
  if (error) return system_error("cannot move the file to its place", path, error);
  return {};
}

Result<BlobLock> Cache::lock(std::string_view repo, std::string_view id, FunctionRef<bool()> on_wait) const {
  constexpr auto kStep = std::chrono::milliseconds(100);
  const fs::path path = lock_folder(repo) / cat(id, ".lock");
  for (;;) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
    if (file < 0) return system_error("cannot open the lock file", path, {errno, std::generic_category()});
    BlobLock lock(file);
    while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
      if (errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS) return BlobLock();
      if (errno != EWOULDBLOCK && errno != EINTR)
        return system_error("cannot lock", path, {errno, std::generic_category()});
      if (!on_wait()) return Error{.code = ErrorCode::cancelled, .what = "stopped", .where = {}};
      std::this_thread::sleep_for(kStep);
    }
    // The file may have been removed between open and lock; then somebody else can hold a lock of the same name.
    struct stat held, named;
    if (::fstat(file, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev)
      return lock;
  }
}

}  // namespace facet::hub
