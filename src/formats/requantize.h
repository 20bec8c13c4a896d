// Tensors in another type than the file has them: for files that are quantised, and for models that are quantised while
// they load. Both take the same way, so that they hold the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "kernels/table.h"

namespace facet::formats {

// What tensors become while a model loads, by name; those that are not in it stay as they are.
using TypeMap = std::unordered_map<std::string, DType>;

// How one tensor becomes another type. Made once a tensor; any thread may convert.
class Requantizer {
 public:
  // importance: [groups][cols] or empty. Q4_0 without importance looks at a sample of blocks first: weights that were
  // trained on that grid keep it (kernels/quantize.h). Requires can_requantize().
  Requantizer(const kernels::Table& kernels, const Checkpoint& checkpoint, const TensorInfo& tensor, DType to,
              std::vector<float> importance = {});

  const TensorInfo& tensor() const { return tensor_; }
  DType type() const { return to_; }
  int64_t rows() const { return rows_; }  // of all groups
  int64_t cols() const { return cols_; }
  int64_t row_bytes() const { return facet::row_bytes(to_, cols_); }
  bool keeps_trained_grid() const { return trained_; }

  // Rows first … first + count - 1, one after the other, to `out`. scratch: cols() floats. Errors: non_finite, naming
  // the tensor and the row.
  Result<void> rows(std::byte* out, int64_t first, int64_t count, float* scratch) const;
  // Rows that were read; their pages may be dropped.
  void release(int64_t first, int64_t count) const;

 private:
  bool looks_trained() const;

  const kernels::Table& kernels_;
  const Checkpoint& checkpoint_;
  TensorInfo tensor_;
  DType to_;
  std::vector<float> importance_;
  int64_t rows_ = 0, cols_ = 0, rows_per_group_ = 0;
  bool trained_ = false;
};

bool can_requantize(const kernels::Table& kernels, DType from, DType to);

// The whole tensor in slabs: calls write(bytes) with consecutive rows, some megabytes at a time, converted by all
// threads of the pool. Pages of the source are given back as it goes. Errors: non_finite, and those of write.
Result<void> for_slabs(const Requantizer& tensor, ThreadPool& pool, FunctionRef<Result<void>(Bytes)> write);

}  // namespace facet::formats
