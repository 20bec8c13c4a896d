// The attention kernels with AVX-512: attention_simd.h on its registers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 means its own _mm512_undefined_ps
#endif
#include <immintrin.h>

#include <array>
#include <cstring>
#include <limits>

#include "kernels/kv_layout.h"
#include "kernels/target.h"
#include "kernels/tiers.h"

FACET_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")

#include "kernels/attention_simd.h"
#include "kernels/avx512_lanes.h"

namespace facet::kernels::avx512 {

void add_attention_kernels(Table& table) {
  static const std::array<KvType, 3> types = simd::kv_table<Lanes>();
  table.kv_types = types;
  table.softmax_step = simd::SoftmaxKernels<Lanes>::step;
  table.softmax_fold = simd::SoftmaxKernels<Lanes>::fold;
}

}  // namespace facet::kernels::avx512

FACET_TARGET_END
