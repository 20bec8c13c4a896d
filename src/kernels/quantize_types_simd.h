// The quantisers of a tier, by type. To be included between FACET_TARGET_BEGIN and FACET_TARGET_END, behind <cstring>,
// <limits>, <span>, kernels/inline.h, kernels/quantize.h, tensor/half.h and tensor/quant_blocks.h.
#pragma once

#include "kernels/quantize_blocks_simd.h"
#include "kernels/quantize_grids_simd.h"
#include "kernels/quantize_k_simd.h"

namespace facet::kernels::simd {

template <class Tier>
std::span<const QuantizeType> quantizers() {
  using Small = SmallBlockQuantizers<Tier>;
  using K = KQuantizers<Tier>;
  using Grid = GridQuantizers<Tier>;
  static constexpr QuantizeType kAll[] = {
      {DType::f32, false, Small::f32},
      {DType::f16, false, Small::f16},
      {DType::bf16, false, Small::bf16},
      {DType::q4_0, true, Small::template zero_in_the_middle<BlockQ4_0, 8>},
      {DType::q4_1, true, Small::template with_minimum<BlockQ4_1, 15>},
      {DType::q5_0, true, Small::template zero_in_the_middle<BlockQ5_0, 16>},
      {DType::q5_1, true, Small::template with_minimum<BlockQ5_1, 31>},
      {DType::q8_0, false, Small::q8_0},
      {DType::q2_k, true, K::q2_k},
      {DType::q3_k, true, K::q3_k},
      {DType::q4_k, true, K::template affine_k<BlockQ4K, 15>},
      {DType::q5_k, true, K::template affine_k<BlockQ5K, 31>},
      {DType::q6_k, true, K::q6_k},
      {DType::iq4_nl, true, Grid::iq4_nl},
      {DType::iq4_xs, true, Grid::iq4_xs},
      {DType::mxfp4, false, Grid::mxfp4},
      {DType::tq1_0, false, Grid::tq1_0},
      {DType::tq2_0, false, Grid::tq2_0},
  };
  return kAll;
}

}  // namespace facet::kernels::simd
