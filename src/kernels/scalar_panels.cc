#include "kernels/tiers.h"

namespace facet::kernels::scalar {

std::span<const PanelType> panel_types() { return {}; }

}  // namespace facet::kernels::scalar
