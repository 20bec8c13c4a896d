// Writing files so that nobody ever sees half of one.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/system_error.h"

namespace facet {
namespace {

namespace fs = std::filesystem;

// Bytes go to the kernel in blocks of this size at multiples of it: those are the large pages in which it then keeps
// them (where it can), and maps them for whoever reads the file next.
constexpr size_t kBlockBytes = size_t{2} << 20;

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

Result<void> write_all(int file, Bytes bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot write", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

bool is_file(int file, const fs::path& path) {
  struct stat opened, named;
  return ::fstat(file, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

// Holds the lock of a folder, as all do that are about to name a file in it: for a moment. Goes without where folders
// cannot be locked.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder) : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    constexpr int kTries = 2000;  // somebody else may have stopped with it, or lock folders for other reasons
    for (int i = 0; i < kTries && ::flock(folder_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~FolderLock() {
    if (folder_ >= 0) ::close(folder_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int folder_;
};

// A rename is on the disk when its folder is. Where folders cannot be flushed there is nothing to be done.
void flush_folder(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

}  // namespace

Result<NewFile> NewFile::create(const fs::path& path, uint64_t size, Until until) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    return Error{.code = ErrorCode::io,
                 .what = S_ISDIR(status.st_mode) ? "is a folder, not a file" : "is not a regular file",
                 .where = path.string()};
  // What a link points to is replaced, not the link.
  std::error_code ignored;
  const fs::path target = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path, ignored) : path;
  NewFile made(target.empty() ? path : target);
  FACET_TRY_VOID(made.open(until));
  FACET_TRY_VOID(made.take_room(size));
  return made;
}

fs::path NewFile::part() const { return folder_of(path_) / cat(".", path_.filename(), ".part"); }

Result<void> NewFile::open(Until until) {
  if (until == Until::nameless) {
    file_ = ::open(folder_of(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    nameless_ = file_ >= 0;
    if (nameless_) {
      ::flock(file_, LOCK_EX | LOCK_NB);  // tells others that what gets the hidden name for a moment is in use
      return {};
    }
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return system_error("cannot create a file", path_);
  }
  // Whoever held the hidden file may name it between our opening it and our locking it: then it is theirs, and whole.
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    file_ = ::open(part().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file_ < 0) return system_error("cannot create a file", part());
    const bool locked = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
    if (locked && is_file(file_, part())) {
      if (::ftruncate(file_, 0) != 0) return system_error("cannot empty", part());
      return {};
    }
    ::close(std::exchange(file_, -1));  // not ours to remove
    if (!locked) break;
  }
  return Error{.code = ErrorCode::unavailable, .what = "another process is writing this file", .where = path_.string()};
}

Result<void> NewFile::take_room(uint64_t size) const {
  if (size == 0) return {};
  struct statvfs disk;
  if (::fstatvfs(file_, &disk) == 0 && static_cast<uint64_t>(disk.f_bavail) < size / disk.f_frsize)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the disk has no room for the file",
                 .where = path_.string(),
                 .expected = cat(size, " bytes free"),
                 .found = cat(static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize)};
  // A file system that cannot take room ahead will say so when it is written to.
  if (::fallocate(file_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)) != 0 && errno == ENOSPC)
    return system_error(cat("the disk has no room for ", size, " bytes"), path_);
  return {};
}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      nameless_(other.nameless_),
      written_(other.written_),
      buffer_(std::move(other.buffer_)) {}

NewFile& NewFile::operator=(NewFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(nameless_, other.nameless_);
  std::swap(written_, other.written_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

NewFile::~NewFile() { abandon(); }

void NewFile::abandon() {
  if (file_ < 0) return;
  if (!nameless_) ::unlink(part().c_str());
  ::close(std::exchange(file_, -1));
}

Result<void> NewFile::write(Bytes more) {
  FACET_CHECK(file_ >= 0);
  while (!more.empty()) {
    const size_t room = kBlockBytes - written_ % kBlockBytes;
    const bool whole = room == kBlockBytes && more.size() >= kBlockBytes;
    const Bytes part = more.first(whole ? more.size() / kBlockBytes * kBlockBytes : std::min(room, more.size()));
    if (whole) {
      FACET_TRY_VOID(write_all(file_, part, path_));
    } else {
      buffer_.insert(buffer_.end(), part.begin(), part.end());
    }
    written_ += part.size();
    more = more.subspan(part.size());
    if (part.size() < room) continue;  // the block is not full
    FACET_TRY_VOID(write_all(file_, buffer_, path_));
    buffer_.clear();
  }
  return {};
}

Result<void> NewFile::flush() {
  FACET_CHECK(file_ >= 0);
  FACET_TRY_VOID(write_all(file_, buffer_, path_));
  buffer_.clear();
  return ::fsync(file_) == 0 ? Result<void>() : system_error("cannot write", path_);
}

Result<void> NewFile::commit() {
  FACET_TRY_VOID(flush());
  // Gives back what was taken and not written.
  if (::ftruncate(file_, static_cast<off_t>(written_)) != 0) return system_error("cannot write", path_);
  struct stat old;
  if (::stat(path_.c_str(), &old) == 0 && ::fchmod(file_, old.st_mode & 0777) != 0)
    return system_error("cannot keep the permissions", path_);
  if (nameless_) {
    FACET_TRY_VOID(name_it());
  } else if (::rename(part().c_str(), path_.c_str()) != 0) {
    return system_error("cannot replace", path_);
  }
  flush_folder(folder_of(path_));
  ::close(std::exchange(file_, -1));
  return {};
}

// A link cannot replace a file, but a rename can, from a hidden name. It is one name for all: a file that lost it to
// another could not be linked again. What has it while the folder is locked was left by a process that died here.
Result<void> NewFile::name_it() {
  const FolderLock lock(folder_of(path_));
  const std::string self = cat("/proc/self/fd/", file_);
  const auto link = [&] { return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, part().c_str(), AT_SYMLINK_FOLLOW) == 0; };
  if (!link() && (errno != EEXIST || ::unlink(part().c_str()) != 0 || !link()))
    return system_error("cannot name the file", part());
  if (::rename(part().c_str(), path_.c_str()) == 0) return {};
  const Error error = system_error("cannot replace", path_);
  ::unlink(part().c_str());
  return error;
}

Result<void> write_file_atomic(const fs::path& path, Bytes contents) {
  FACET_TRY(NewFile file, NewFile::create(path));
  FACET_TRY_VOID(file.write(contents));
  return file.commit();
}

}  // namespace facet
