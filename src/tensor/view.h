// Mat: a handle to a matrix in memory, passed by value. It says shapes but has no element access: whoever stands above
// ops/ (the model, the runtime) cannot read or write values, only pass handles on, so that a device could lie beneath.
// Elements are reached through ops/access.h, inside ops/ and in tests.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/check.h"

namespace facet {

struct MatAccess;  // ops/access.h

// rows x cols elements, rows `stride` elements apart. Never owns.
template <class T>
class Mat {
 public:
  Mat() = default;
  Mat(T* data, int64_t rows, int64_t cols, int64_t stride) : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
  Mat(T* data, int64_t rows, int64_t cols) : Mat(data, rows, cols, cols) {}

  operator Mat<const T>() const  // NOLINT(google-explicit-constructor)
      requires(!std::is_const_v<T>) {
    return {data_, rows_, cols_, stride_};
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t stride() const { return stride_; }
  bool empty() const { return rows_ == 0 || cols_ == 0; }

  // Rows first … first + count - 1.
  Mat row_range(int64_t first, int64_t count) const {
    FACET_DCHECK(first >= 0 && count >= 0 && first + count <= rows_);
    return {data_ + first * stride_, count, cols_, stride_};
  }
  // Columns first … first + count - 1 of every row.
  Mat col_range(int64_t first, int64_t count) const {
    FACET_DCHECK(first >= 0 && count >= 0 && first + count <= cols_);
    return {data_ + first, rows_, count, stride_};
  }

 private:
  friend struct MatAccess;
  T* data_ = nullptr;
  int64_t rows_ = 0, cols_ = 0, stride_ = 0;
};

}  // namespace facet
