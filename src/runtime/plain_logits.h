// PlainLogits: a row of logits that lies in memory, and bounds made from it.
#pragma once

#include <vector>

#include "tensor/logits.h"

namespace facet::runtime {

class PlainLogits final : public Logits {
 public:
  PlainLogits() = default;
  explicit PlainLogits(std::span<const float> values) { set(values); }
  // Another row; borrowed.
  void set(std::span<const float> values);

  int64_t size() const override { return static_cast<int64_t>(values_.size()); }
  std::span<const float> bounds() override { return bounds_; }
  std::span<const float> block(int64_t b) override;
  std::span<const float> values() override { return values_; }

 private:
  std::span<const float> values_;
  std::vector<float> bounds_;
};

}  // namespace facet::runtime
