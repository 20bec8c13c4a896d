// The row kernels with AVX2: rows_simd.h on its registers.
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/hadamard.h"
#include "kernels/scalar_math.h"
#include "kernels/target.h"
#include "kernels/tiers.h"
#include "tensor/half.h"

FACET_TARGET_BEGIN("avx2,fma,f16c")

#include "kernels/avx2_lanes.h"
#include "kernels/rows_simd.h"

namespace facet::kernels::avx2 {

void add_row_kernels(Table& table) { simd::RowKernels<Lanes>::add_to(table); }

}  // namespace facet::kernels::avx2

FACET_TARGET_END
