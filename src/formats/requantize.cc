#include "formats/requantize.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/strings.h"

namespace facet::formats {
bool can_requantize(const kernels::Table& kernels, DType from, DType to) {
  return kernels::can_dequantize(from) && kernels.quantizer(to) != nullptr;
}

Requantizer::Requantizer(const kernels::Table& kernels, const Checkpoint& checkpoint, const TensorInfo& tensor,
                         DType to, std::vector<float> importance)
    : kernels_(kernels), checkpoint_(checkpoint), tensor_(tensor), to_(to), importance_(std::move(importance)) {
  cols_ = tensor.shape.empty() ? 1 : tensor.shape.back();
  rows_ = cols_ == 0 ? 0 : tensor.elements() / cols_;
  const size_t dims = tensor.shape.size();
  rows_per_group_ = dims >= 3 ? tensor.shape[dims - 2] : rows_;
  trained_ = to == DType::q4_0 && importance_.empty() && looks_trained();
}

// Whether nearly all blocks of some rows lie on a grid of 16 steps.
bool Requantizer::looks_trained() const {
  constexpr int64_t kSample = 32;
  constexpr double kShare = 0.95;
  if (rows_ == 0 || cols_ % info(DType::q4_0).block != 0) return false;
  std::vector<float> row(static_cast<size_t>(cols_));
  std::vector<std::byte> out(static_cast<size_t>(facet::row_bytes(DType::q4_0, cols_)));
  const std::byte* bytes = checkpoint_.bytes(tensor_).data();
  const int64_t stride = facet::row_bytes(tensor_.type, cols_), step = std::max<int64_t>(1, rows_ / kSample);
  int64_t on_grid = 0, blocks = 0;
  for (int64_t i = 0; i < rows_; i += step) {
    kernels::dequantize(tensor_.type, row.data(), bytes + i * stride, cols_);
    on_grid += kernels::quantize_q4_0_trained(out.data(), row.data(), cols_);
    blocks += cols_ / info(DType::q4_0).block;
  }
  return static_cast<double>(on_grid) > kShare * static_cast<double>(blocks);
}

Result<void> Requantizer::rows(std::byte* out, int64_t first, int64_t count, float* scratch) const {
  const kernels::QuantizeType& type = *kernels_.quantizer(to_);
  const int64_t from_bytes = facet::row_bytes(tensor_.type, cols_), to_bytes = row_bytes();
  const std::byte* bytes = checkpoint_.bytes(tensor_).data();
  for (int64_t i = first; i < first + count; ++i, out += to_bytes) {
    kernels::dequantize(tensor_.type, scratch, bytes + i * from_bytes, cols_);
    float sum = 0;  // NaN or infinite as soon as one value is
    for (int64_t k = 0; k < cols_; ++k) sum += scratch[k] * 0.0f;
    if (sum != 0.0f)
      return Error{.code = ErrorCode::non_finite,
                   .what = "a weight is not a finite number",
                   .where = cat(checkpoint_.path(), ": ", tensor_.name, ", row ", i)};
    if (trained_) {
      kernels::quantize_q4_0_trained(out, scratch, cols_);
      continue;
    }
    const float* importance = nullptr;
    if (!importance_.empty()) importance = importance_.data() + i / rows_per_group_ * cols_;
    type.row(out, scratch, importance, cols_);
  }
  return {};
}

void Requantizer::release(int64_t first, int64_t count) const {
  TensorInfo part = tensor_;
  part.offset += first * facet::row_bytes(tensor_.type, cols_);
  part.bytes = count * facet::row_bytes(tensor_.type, cols_);
  checkpoint_.release(part);
}

Result<void> for_slabs(const Requantizer& tensor, ThreadPool& pool, FunctionRef<Result<void>(Bytes)> write) {
  constexpr int64_t kSlabValues = int64_t{4} << 20, kBlockValues = int64_t{64} << 10;
  if (tensor.rows() == 0) return {};
  const int64_t cols = tensor.cols(), slab_rows = std::clamp<int64_t>(kSlabValues / cols, 1, tensor.rows());
  const int64_t block_rows = std::max<int64_t>(1, kBlockValues / cols);
  std::vector<std::byte> slab(static_cast<size_t>(slab_rows * tensor.row_bytes()));
  std::vector<float> scratch(static_cast<size_t>(cols * pool.n_threads()));
  for (int64_t first = 0; first < tensor.rows(); first += slab_rows) {
    const int64_t count = std::min(slab_rows, tensor.rows() - first), blocks = (count + block_rows - 1) / block_rows;
    std::vector<Result<void>> results(static_cast<size_t>(blocks));
    pool.parallel(blocks, [&](int64_t block, int thread) {
      const int64_t row = block * block_rows;
      results[static_cast<size_t>(block)] =
          tensor.rows(slab.data() + row * tensor.row_bytes(), first + row, std::min(block_rows, count - row),
                      scratch.data() + thread * cols);
    });
    for (const Result<void>& result : results)
      if (!result.ok()) return result;
    FACET_TRY_VOID(write(Bytes(slab).first(static_cast<size_t>(count * tensor.row_bytes()))));
    tensor.release(first, count);
  }
  return {};
}

}  // namespace facet::formats
