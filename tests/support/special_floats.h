// Floats that are no numbers, by short names.
#pragma once

#include <limits>

namespace facet::testing {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

}  // namespace facet::testing
