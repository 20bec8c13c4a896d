// The attention kernels with AVX2: attention_simd.h on its registers.
#include <immintrin.h>

#include <array>
#include <cstring>
#include <limits>

#include "kernels/kv_layout.h"
#include "kernels/target.h"
#include "kernels/tiers.h"

FACET_TARGET_BEGIN("avx2,fma,f16c")

#include "kernels/attention_simd.h"
#include "kernels/avx2_lanes.h"

namespace facet::kernels::avx2 {

void add_attention_kernels(Table& table) {
  static const std::array<KvType, 3> types = simd::kv_table<Lanes>();
  table.kv_types = types;
  table.softmax_step = simd::SoftmaxKernels<Lanes>::step;
  table.softmax_fold = simd::SoftmaxKernels<Lanes>::fold;
}

}  // namespace facet::kernels::avx2

FACET_TARGET_END
