#include "kernels/tiers.h"

namespace facet::kernels::avx2 {

std::span<const PanelType> panel_types() { return scalar::panel_types(); }

}  // namespace facet::kernels::avx2
