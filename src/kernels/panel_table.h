// Puts a tier's multiplications beside the packing that all tiers share.
#pragma once

#include <array>

#include "base/check.h"
#include "kernels/panel_layout.h"

namespace facet::kernels {

// Row m of a call.
inline int64_t row_of(const ActivationRows& x, int64_t m) { return x.index == nullptr ? m : x.index[m]; }

inline constexpr size_t kPanelTypes = 28;
using PanelTypes = std::array<PanelType, kPanelTypes>;

inline void set_multiply(PanelTypes& all, DType type, PanelType::Multiply multiply_f32,
                         PanelType::Multiply multiply_fast) {
  for (PanelType& one : all) {
    if (one.type != type) continue;
    one.multiply_f32 = multiply_f32;
    one.multiply_fast = multiply_fast;
  }
}

template <template <class> class Block, class... P>
void set_blocks(PanelTypes& all) {
  (set_multiply(all, P::kType, Block<P>::multiply_f32, Block<P>::multiply_fast), ...);
}

// Block<P>: multiply_f32 and multiply_fast of block type P. Float: f32, f16, bf16 in float arithmetic and fast_bf16.
template <template <class> class Block, class Float>
PanelTypes panel_table() {
  PanelTypes all{};
  FACET_CHECK(packings().size() == all.size());
  std::copy(packings().begin(), packings().end(), all.begin());
  set_multiply(all, DType::f32, Float::f32, Float::f32);
  set_multiply(all, DType::f16, Float::f16, Float::f16);
  set_multiply(all, DType::bf16, Float::bf16, Float::fast_bf16);
  set_blocks<Block, PanelQ4_0, PanelQ4_1, PanelQ5_0, PanelQ5_1, PanelQ8_0>(all);
  set_blocks<Block, PanelQ2K, PanelQ3K, PanelQ4K, PanelQ5K, PanelQ6K>(all);
  for (PanelType& type : all) {  // the rest
    if (type.multiply_f32 != nullptr) continue;
    const bool by_16 = type.panel_bytes == PanelCoded16::panel_bytes;
    type.multiply_f32 = by_16 ? Block<PanelCoded16>::multiply_f32 : Block<PanelCoded32>::multiply_f32;
    type.multiply_fast = by_16 ? Block<PanelCoded16>::multiply_fast : Block<PanelCoded32>::multiply_fast;
  }
  return all;
}

}  // namespace facet::kernels
