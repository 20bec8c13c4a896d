// Buffer: owning, page-backed, zeroed memory aligned to 64 bytes (a cache line and an AVX-512 register).
// Large buffers come straight from the kernel, so untouched pages cost nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "facet/result.h"
#include "tensor/view.h"

namespace facet {

class Buffer {
 public:
  // Errors: exhausted.
  static Result<Buffer> allocate(int64_t bytes);

  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_, static_cast<size_t>(size_)}; }
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(size_)}; }

 private:
  std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

// An owning matrix of floats or integers. Rows are padded to whole cache lines.
template <class T>
class Matrix {
 public:
  static Result<Matrix> allocate(int64_t rows, int64_t cols) {
    Matrix made;
    made.rows_ = rows;
    made.cols_ = cols;
    constexpr int64_t kLine = 64 / sizeof(T);
    made.stride_ = (cols + kLine - 1) / kLine * kLine;
    FACET_TRY(made.buffer_, Buffer::allocate(rows * made.stride_ * static_cast<int64_t>(sizeof(T))));
    return made;
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t bytes() const { return buffer_.size(); }
  // The first `rows` rows, `cols` wide; by default all of it.
  Mat<T> view() { return view(rows_, cols_); }
  Mat<T> view(int64_t rows) { return view(rows, cols_); }
  Mat<T> view(int64_t rows, int64_t cols) {
    FACET_CHECK(rows <= rows_ && cols <= cols_);
    return {static_cast<T*>(static_cast<void*>(buffer_.data())), rows, cols, stride_};
  }

 private:
  Buffer buffer_;
  int64_t rows_ = 0, cols_ = 0, stride_ = 0;
};

}  // namespace facet
