#include "kernels/tiers.h"

namespace facet::kernels::avx2 {

void add_attention_kernels(Table&) {}

}  // namespace facet::kernels::avx2
