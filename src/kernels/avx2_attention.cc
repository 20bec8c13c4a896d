#include "kernels/tiers.h"

namespace facet::kernels::avx2 {

void add_attention_kernels(Table& table) { scalar::add_attention_kernels(table); }

}  // namespace facet::kernels::avx2
