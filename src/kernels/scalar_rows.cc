#include "kernels/tiers.h"

namespace facet::kernels::scalar {

void add_row_kernels(Table&) {}

}  // namespace facet::kernels::scalar
