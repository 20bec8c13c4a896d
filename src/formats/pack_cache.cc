#include "formats/pack_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/hash.h"
#include "base/strings.h"

namespace facet::formats {
namespace {

namespace fs = std::filesystem;

// A pack is HASH.pack; while NewFile writes it, it may be .HASH.pack.part. Nothing else in the folder is ours.
constexpr std::string_view kExtension = ".pack";
constexpr size_t kHashDigits = 16;

bool is_pack(std::string_view name) {
  return name.size() == kHashDigits + kExtension.size() && name.ends_with(kExtension) &&
         name.find_first_not_of("0123456789abcdef") == kHashDigits;
}
bool is_part(std::string_view name) {
  constexpr std::string_view kEnd = ".part";
  return name.starts_with('.') && name.ends_with(kEnd) && is_pack(name.substr(1, name.size() - 1 - kEnd.size()));
}

Error refused(std::string what, const fs::path& where, const std::error_code& problem) {
  return {.code = problem == std::errc::no_space_on_device ? ErrorCode::exhausted : ErrorCode::io,
          .what = cat(what, ": ", problem.message()),
          .where = where.string()};
}

// The regular files of a folder that have such names; none where there is no folder. Errors: io.
Result<std::vector<fs::path>> files_in(const fs::path& folder, bool (*wanted)(std::string_view name)) {
  std::vector<fs::path> files;
  std::error_code problem, unknown;
  for (fs::directory_iterator at(folder, problem), end; !problem && at != end; at.increment(problem))
    if (wanted(at->path().filename().string()) && at->is_regular_file(unknown) && !at->is_symlink(unknown))
      files.push_back(at->path());
  if (problem && problem != std::errc::no_such_file_or_directory && problem != std::errc::not_a_directory)
    return refused("cannot list the folder", folder, problem);
  return files;
}

// The time of a pack's last use is that of its file: file systems are often told not to note who reads.
void mark_used(const fs::path& path) { ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }

}  // namespace

PackCache::PackCache(fs::path folder, int64_t bytes_max, int64_t disk_free_min)
    : folder_(std::move(folder)), bytes_max_(bytes_max), disk_free_min_(disk_free_min) {}

fs::path PackCache::path_of(std::string_view identity) const {
  Hash64 hash;
  hash.add(identity);
  return folder_ / cat(hash.text(), kExtension);
}

Result<std::shared_ptr<const PackFile>> PackCache::open(std::string_view identity) const {
  const fs::path path = path_of(identity);
  FACET_TRY(std::shared_ptr<const PackFile> pack, PackFile::open(path));
  if (pack->head().identity != identity)
    return Error{.code = ErrorCode::corrupt, .what = "pack is of another model", .where = path.string()};
  mark_used(path);
  return pack;
}

Result<void> PackCache::keep(const std::string& identity, const std::string& source,
                             std::span<const PackedMatrix> matrices, Progress* progress) const {
  const PackHead head = PackHead::of(identity, source, matrices);
  if (head.file_bytes > bytes_max_)
    return Error{.code = ErrorCode::exhausted,
                 .what = "packed weights are larger than the cache may be",
                 .where = folder_.string(),
                 .expected = cat("at most ", bytes_max_, " bytes"),
                 .found = cat(head.file_bytes)};
  std::error_code problem;
  if (folder_.has_parent_path()) fs::create_directories(folder_.parent_path(), problem);
  // For its owner alone: others may not be allowed to read the model.
  if (!problem && ::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) problem.assign(errno, std::system_category());
  if (problem) return refused("cannot create the folder", folder_, problem);
  sweep();
  const fs::path path = path_of(identity);
  FACET_TRY_VOID(make_room(head.file_bytes, path));
  return write_pack(path, head, matrices, progress);
}

// replaced: a pack that is overwritten, and whose room is free afterwards.
Result<void> PackCache::make_room(int64_t bytes, const fs::path& replaced) const {
  FACET_TRY(std::vector<Kept> kept, list());
  std::erase_if(kept, [&](const Kept& pack) { return pack.path == replaced; });
  int64_t held = 0;
  for (const Kept& pack : kept) held += pack.bytes;
  std::error_code unknown;
  const fs::space_info disk = fs::space(folder_, unknown);
  int64_t available = unknown ? bytes + disk_free_min_ : static_cast<int64_t>(disk.available);
  if (available + held < bytes + disk_free_min_)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the disk has no room for packed weights",
                 .where = folder_.string(),
                 .expected = cat(bytes, " bytes, and ", disk_free_min_, " more that stay free"),
                 .found = cat(available)};
  for (; !kept.empty() && (held + bytes > bytes_max_ || available < bytes + disk_free_min_); kept.pop_back()) {
    std::error_code problem;
    fs::remove(kept.back().path, problem);
    if (problem) return refused("cannot remove", kept.back().path, problem);
    held -= kept.back().bytes;
    available += kept.back().bytes;
  }
  return {};
}

Result<std::vector<PackCache::Kept>> PackCache::list() const {
  FACET_TRY(const std::vector<fs::path> paths, files_in(folder_, is_pack));
  std::vector<Kept> kept;
  for (const fs::path& path : paths) {
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) continue;  // gone meanwhile
    const Result<std::shared_ptr<const PackFile>> pack = PackFile::open(path);
    kept.push_back({.path = path,
                    .bytes = status.st_size,
                    .last_used = status.st_mtime,
                    .source = pack.ok() ? (*pack)->head().source : std::string()});
  }
  std::ranges::sort(kept, [](const Kept& a, const Kept& b) {
    return a.last_used != b.last_used ? a.last_used > b.last_used : a.path < b.path;
  });
  return kept;
}

Result<std::vector<PackCache::Kept>> PackCache::clear() const {
  sweep();
  FACET_TRY(std::vector<Kept> kept, list());
  for (const Kept& pack : kept) {
    std::error_code problem;
    fs::remove(pack.path, problem);
    if (problem) return refused("cannot remove", pack.path, problem);
  }
  return kept;
}

// Where NewFile has to give a file a name while it writes, a killed process leaves it: nobody holds its lock any more.
void PackCache::sweep() const {
  const Result<std::vector<fs::path>> paths = files_in(folder_, is_part);
  if (!paths.ok()) return;  // list() says so
  for (const fs::path& path : *paths) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) continue;
    if (::flock(file, LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
    ::close(file);
  }
}

}  // namespace facet::formats
