// Quantisers: rows of floats to the blocks of model files (quantization.md 2-4, 6). All tiers give the same bytes:
// those of the reference quantiser of llama.cpp v0.5.0 in strict single precision.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace facet::kernels {

struct QuantizeType {
  DType type;
  bool reads_importance;
  // One row of cols values (a multiple of the block). importance: one weight a column, from 0 up; null: none. Values
  // that are not finite give some block, never a fault.
  void (*row)(std::byte* out, const float* x, const float* importance, int64_t cols);
};

// Q4_0 for weights that were trained on its grid: the block's largest value need not stand at -8 there, so every step
// that puts it on a code is tried (quantization.md 6, "QAT checkpoints"). Returns how many of the row's blocks lie on
// such a grid up to the rounding of BF16.
int64_t quantize_q4_0_trained(std::byte* out, const float* x, int64_t cols);

}  // namespace facet::kernels
