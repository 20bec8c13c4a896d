#include "kernels/tiers.h"

namespace facet::kernels::scalar {

void add_attention_kernels(Table&) {}

}  // namespace facet::kernels::scalar
