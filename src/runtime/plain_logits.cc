#include "runtime/plain_logits.h"

#include <algorithm>
#include <limits>

namespace facet::runtime {
namespace {

// The largest; NaN where one is NaN. In lanes, so that it becomes a vector loop.
float bound_of(std::span<const float> block) {
  constexpr size_t kLanes = 16;
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  float max[kLanes];
  std::fill(std::begin(max), std::end(max), kNothing);
  int32_t nans = 0;
  size_t i = 0;
  for (; i + kLanes <= block.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float x = block[i + j];
      max[j] = x > max[j] ? x : max[j];
      nans += x != x ? 1 : 0;
    }
  }
  for (; i < block.size(); ++i) {
    max[0] = block[i] > max[0] ? block[i] : max[0];
    nans += block[i] != block[i] ? 1 : 0;
  }
  return nans != 0 ? std::numeric_limits<float>::quiet_NaN() : *std::max_element(std::begin(max), std::end(max));
}

}  // namespace

void PlainLogits::set(std::span<const float> values) {
  values_ = values;
  bounds_.resize(static_cast<size_t>(logit_blocks(size())));
  for (size_t b = 0; b < bounds_.size(); ++b) bounds_[b] = bound_of(block(static_cast<int64_t>(b)));
}

std::span<const float> PlainLogits::block(int64_t b) {
  const size_t first = static_cast<size_t>(b * kLogitBlock);
  return values_.subspan(first, std::min(values_.size() - first, static_cast<size_t>(kLogitBlock)));
}

}  // namespace facet::runtime
