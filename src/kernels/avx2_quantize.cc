// The quantisers, 8 blocks at a time.
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

#include "kernels/inline.h"
#include "kernels/quantize.h"
#include "kernels/target.h"
#include "kernels/tiers.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

FACET_TARGET_BEGIN("avx2,fma,f16c")

#include "kernels/quantize_types_simd.h"

namespace facet::kernels::avx2 {
namespace {

struct QuantizeTier {
  static constexpr int kLanes = 8;
  typedef float F __attribute__((vector_size(32)));
  typedef int32_t I __attribute__((vector_size(32)));
};

}  // namespace

std::span<const QuantizeType> quantize_types() { return simd::quantizers<QuantizeTier>(); }

}  // namespace facet::kernels::avx2

FACET_TARGET_END
