#include "kernels/tiers.h"

namespace facet::kernels::avx512 {

std::span<const PanelType> panel_types() { return {}; }

}  // namespace facet::kernels::avx512
