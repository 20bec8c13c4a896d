#include "kernels/tiers.h"

namespace facet::kernels::avx512 {

void add_row_kernels(Table& table) { scalar::add_row_kernels(table); }

}  // namespace facet::kernels::avx512
