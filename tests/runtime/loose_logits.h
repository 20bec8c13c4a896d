// A row of logits as a model gives it: bounds are a little larger than they must be, and it counts who looks where.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/logits.h"

namespace facet::runtime {

class LooseLogits final : public Logits {
 public:
  explicit LooseLogits(std::vector<float> values) : values_(std::move(values)) {
    for (int64_t b = 0; b < logit_blocks(size()); ++b) {
      float bound = -std::numeric_limits<float>::infinity();
      for (const float x : piece(b))
        if (std::isnan(x) || x > bound) bound = x;  // nothing is larger than NaN
      // A different slack for each block, so that their order is not that of their largest values.
      bounds_.push_back(std::isfinite(bound) && std::fabs(bound) < 1e38f
                            ? bound + std::fabs(bound) * 0x1p-19f * static_cast<float>(b % 3)
                            : bound);
    }
  }

  int64_t size() const override { return static_cast<int64_t>(values_.size()); }
  std::span<const float> bounds() override { return bounds_; }
  std::span<const float> block(int64_t b) override {
    ++blocks_looked_at;
    const std::span<const float> from = piece(b);
    return {std::copy(from.begin(), from.end(), made_) - from.size(), from.size()};
  }
  std::span<const float> values() override {
    looked_at_all = true;
    return values_;
  }

  int64_t blocks_looked_at = 0;
  bool looked_at_all = false;

 private:
  std::span<const float> piece(int64_t b) const {
    const size_t first = static_cast<size_t>(b * kLogitBlock);
    return std::span(values_).subspan(first, std::min(values_.size() - first, static_cast<size_t>(kLogitBlock)));
  }

  std::vector<float> values_, bounds_;
  float made_[kLogitBlock] = {};  // one block at a time: what was given before is gone
};

}  // namespace facet::runtime
