// The quantisers, one block at a time.
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

#include "kernels/quantize_types_simd.h"

namespace facet::kernels::scalar {
namespace {

struct QuantizeTier {
  static constexpr int kLanes = 1;
  typedef float F __attribute__((vector_size(4)));
  typedef int32_t I __attribute__((vector_size(4)));
};

}  // namespace

std::span<const QuantizeType> quantize_types() { return simd::quantizers<QuantizeTier>(); }

}  // namespace facet::kernels::scalar
