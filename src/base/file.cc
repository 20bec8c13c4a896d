#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "base/strings.h"
#include "base/system_error.h"

namespace facet {
namespace {

namespace fs = std::filesystem;

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

FileStamp stamp_of(const struct stat& status) {
  constexpr int64_t kTimeStep = 2'000'000'000;
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {.size = status.st_size,
          .modified = nanoseconds(status.st_mtim),
          .changed = nanoseconds(status.st_ctim),
          .settled = nanoseconds(now) - nanoseconds(status.st_ctim) > kTimeStep};
}

Result<FileStamp> regular_stamp(const Descriptor& file, const fs::path& path) {
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return system_error("cannot read the file's status", path);
  if (!S_ISREG(status.st_mode))
    return Error{.code = ErrorCode::io,
                 .what = S_ISDIR(status.st_mode) ? "is a folder, not a file" : "is not a regular file",
                 .where = path.string()};
  return stamp_of(status);
}

// madvise wants whole pages. Advice only: what the kernel answers changes nothing.
void advise(Bytes pages, int advice) {
  if (!pages.empty()) ::madvise(const_cast<std::byte*>(pages.data()), pages.size(), advice);
}

}  // namespace

Bytes pages_of(Bytes part, Pages which) {
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = std::bit_cast<uintptr_t>(part.data()), end = begin + part.size();
  const auto down = [&](uintptr_t at) { return at / page * page; };
  const auto up = [&](uintptr_t at) { return (at + page - 1) / page * page; };
  const uintptr_t first = which == Pages::touched ? down(begin) : up(begin);
  const uintptr_t last = which == Pages::touched ? up(end) : down(end);
  if (part.empty() || first >= last) return {};
  return {std::bit_cast<const std::byte*>(first), last - first};
}

Result<FileStamp> FileStamp::of(const fs::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return system_error("cannot read the file's status", path);
  return stamp_of(status);
}

Result<MappedFile> MappedFile::open(const fs::path& path) {
  // Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.ok()) return system_error("cannot open", path);
  MappedFile mapped;
  FACET_TRY(mapped.stamp_, regular_stamp(file, path));
  mapped.path_ = path;
  const auto size = static_cast<size_t>(mapped.stamp_.size);
  if (size == 0) return mapped;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) return system_error("cannot map", path);
  mapped.data_ = static_cast<const std::byte*>(data);
  mapped.size_ = size;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)),
      stamp_(other.stamp_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  std::swap(stamp_, other.stamp_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::will_need(Bytes part) const { advise(pages_of(part, Pages::touched), MADV_WILLNEED); }
void MappedFile::prefer_large_pages() const { advise(bytes(), MADV_HUGEPAGE); }
void MappedFile::populate(Bytes part) const {
  const Bytes pages = pages_of(part, Pages::touched);
  if (pages.empty()) return;
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, since Linux 5.14; headers may be older
  if (::madvise(const_cast<std::byte*>(pages.data()), pages.size(), kPopulateRead) == 0 || errno != EINVAL) return;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (size_t at = 0; at < pages.size(); at += page) {
    const volatile std::byte* byte = pages.data() + at;
    static_cast<void>(*byte);
  }
}
void MappedFile::release(Bytes part) const { advise(pages_of(part, Pages::inside), MADV_DONTNEED); }

Result<std::string> read_file(const fs::path& path, uint64_t max_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return system_error("cannot open", path);
  std::string contents;
  char buffer[1 << 16];
  for (;;) {  // not by size: pipes and /proc have none
    const ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read", path);
    if (n == 0) return contents;
    contents.append(buffer, static_cast<size_t>(n));
    if (contents.size() > max_bytes)
      return Error{.code = ErrorCode::exhausted,
                   .what = "file is too large",
                   .where = path.string(),
                   .expected = cat("at most ", max_bytes, " bytes"),
                   .found = "more"};
  }
}

}  // namespace facet
