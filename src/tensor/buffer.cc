#include "tensor/buffer.h"

#include <sys/mman.h>

#include <utility>

#include "base/strings.h"

namespace facet {

Result<Buffer> Buffer::allocate(int64_t bytes) {
  FACET_CHECK(bytes >= 0);
  Buffer made;
  if (bytes == 0) return made;
  void* data = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return Error{.code = ErrorCode::exhausted,
                 .what = "out of memory",
                 .where = {},
                 .expected = cat(bytes, " bytes"),
                 .found = {}};
  if (bytes >= int64_t{4} << 20) ::madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  made.data_ = static_cast<std::byte*>(data);
  made.size_ = bytes;
  return made;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
}

}  // namespace facet
