#include "hub/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/strings.h"
#include "base/system_error.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = size_t{1} << 20;

}  // namespace

PartialFile::PartialFile(int file, fs::path path, std::string id, int64_t size)
    : file_(file), path_(std::move(path)), id_(std::move(id)), size_(size), digest_(id_, size) {}

PartialFile::PartialFile(PartialFile&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      path_(std::move(other.path_)),
      id_(std::move(other.id_)),
      size_(other.size_),
      length_(other.length_),
      digest_(std::move(other.digest_)) {}

PartialFile& PartialFile::operator=(PartialFile&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  std::swap(id_, other.id_);
  std::swap(size_, other.size_);
  std::swap(length_, other.length_);
  std::swap(digest_, other.digest_);
  return *this;
}

PartialFile::~PartialFile() {
  if (file_ >= 0) ::close(file_);
}

Result<PartialFile> PartialFile::open(const fs::path& path, std::string id, int64_t size,
                                      FunctionRef<bool(int64_t)> on_read) {
  // A link in its place would write into somebody else's file.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
  if (file < 0) return system_error("cannot open the partial file", path);
  PartialFile partial(file, path, std::move(id), size);
  struct stat status;
  if (::fstat(file, &status) != 0) return system_error("cannot read the partial file's status", path);
  if (!S_ISREG(status.st_mode))
    return Error{.code = ErrorCode::io, .what = "is not a regular file", .where = path.string()};
  if (status.st_size > size) {
    FACET_TRY_VOID(partial.restart());
  } else {
    FACET_TRY_VOID(partial.hash_existing(on_read));
  }
  return partial;
}

Result<void> PartialFile::hash_existing(FunctionRef<bool(int64_t)> on_read) {
  std::vector<std::byte> buffer(kReadBytes);
  for (;;) {
    const ssize_t n = ::pread(file_, buffer.data(), buffer.size(), length_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read the partial file", path_);
    if (n == 0) return {};
    digest_.update(Bytes(buffer).first(static_cast<size_t>(n)));
    length_ += n;
    if (!on_read(length_)) return Error{.code = ErrorCode::cancelled, .what = "stopped", .where = {}};
  }
}

Result<void> PartialFile::append(Bytes bytes) {
  FACET_CHECK(static_cast<int64_t>(bytes.size()) <= size_ - length_);
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(file_, bytes.data(), bytes.size(), length_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
      return Error{.code = ErrorCode::exhausted,
                   .what = "the disk is full; what has arrived is kept, and the same command continues",
                   .where = path_.string(),
                   .expected = cat("room for ", size_ - length_, " more bytes"),
                   .found = std::strerror(errno)};
    if (n < 0) return system_error("cannot write", path_);
    digest_.update(bytes.first(static_cast<size_t>(n)));
    bytes = bytes.subspan(static_cast<size_t>(n));
    length_ += n;
  }
  return {};
}

Result<void> PartialFile::restart() {
  if (::ftruncate(file_, 0) != 0) return system_error("cannot empty the partial file", path_);
  digest_ = Digest(id_, size_);
  length_ = 0;
  return {};
}

Result<void> PartialFile::finish(const fs::path& target) {
  FACET_CHECK(whole());
  if (const std::string found = digest_.finish(); found != id_) {
    remove();
    return Error{.code = ErrorCode::corrupt,
                 .what = "what has arrived is not the file that the hub lists; it was thrown away",
                 .where = target.string(),
                 .expected = cat(id_.size() == 64 ? "SHA-256 " : "git SHA-1 ", id_),
                 .found = found};
  }
  if (::fsync(file_) != 0) return system_error("cannot flush to the disk", path_);
  if (::rename(path_.c_str(), target.c_str()) != 0) return system_error("cannot move to its place", target);
  flush_folder(target.parent_path());
  return {};
}

void PartialFile::remove() { ::unlink(path_.c_str()); }

void flush_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace facet::hub
