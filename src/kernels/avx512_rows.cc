// The row kernels with AVX-512: rows_simd.h on its registers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 means its own _mm512_undefined_ps
#endif
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/hadamard.h"
#include "kernels/scalar_math.h"
#include "kernels/target.h"
#include "kernels/tiers.h"
#include "tensor/half.h"

FACET_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")

#include "kernels/avx512_lanes.h"
#include "kernels/rows_simd.h"

namespace facet::kernels::avx512 {

void add_row_kernels(Table& table) { simd::RowKernels<Lanes>::add_to(table); }

}  // namespace facet::kernels::avx512

FACET_TARGET_END
