#include "tensor/logits.h"

#include <algorithm>

#include "base/exponential.h"

namespace facet {

double Logits::total_weight(std::span<const uint64_t> set, float max, double scale) {
  return facet::total_weight(values(), set, max, scale);
}

double total_weight(std::span<const float> values, std::span<const uint64_t> set, float max, double scale) {
  double sums[4] = {};
  for (size_t i = 0; i < values.size(); ++i)
    if ((set[i / kLogitBlock] >> (i % kLogitBlock) & 1) != 0)
      sums[i % 4] += exp_nonpositive((static_cast<double>(values[i]) - max) * scale);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace facet
