#include "kernels/tiers.h"

namespace facet::kernels::avx512 {

void add_row_kernels(Table&) {}

}  // namespace facet::kernels::avx512
