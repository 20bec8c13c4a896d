// Rows of random numbers for tests of kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"

namespace facet::testing {

// n numbers from -size to size, the same for the same seed.
inline std::vector<float> random_row(int64_t n, float size, uint64_t seed) {
  Random random(seed);
  std::vector<float> row(static_cast<size_t>(n));
  for (float& x : row) x = static_cast<float>(2 * random.uniform() - 1) * size;
  return row;
}

}  // namespace facet::testing
