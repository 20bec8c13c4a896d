// The quantisers, 16 blocks at a time.
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

FACET_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")

#include "kernels/quantize_types_simd.h"

namespace facet::kernels::avx512 {
namespace {

struct QuantizeTier {
  static constexpr int kLanes = 16;
  typedef float F __attribute__((vector_size(64)));
  typedef int32_t I __attribute__((vector_size(64)));
};

}  // namespace

std::span<const QuantizeType> quantize_types() { return simd::quantizers<QuantizeTier>(); }

}  // namespace facet::kernels::avx512

FACET_TARGET_END
