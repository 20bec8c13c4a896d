// Logits: one row of logits on its way to whoever chooses a token. A vocabulary has 262,144 entries and few of them
// matter, so values can be had block by block, and bounds say beforehand which blocks need a look. What remains to be
// done to a value, a softcap, is done then.
#pragma once

#include <cstdint>
#include <span>

namespace facet {

inline constexpr int64_t kLogitBlock = 64;  // values that share one bound

class Logits {
 public:
  virtual ~Logits() = default;
  virtual int64_t size() const = 0;
  // For each block a number that none of its values exceeds, and that is hardly larger than the largest; NaN where one
  // of them is NaN.
  virtual std::span<const float> bounds() = 0;
  // Values 64 b … 64 b + 63; the last block may have fewer. Valid until the next call.
  virtual std::span<const float> block(int64_t b) = 0;
  // All of them. Valid as long as the row.
  virtual std::span<const float> values() = 0;
  // total_weight() of the values.
  virtual double total_weight(std::span<const uint64_t> set, float max, double scale);
};

// Σ exp((value - max) · scale) over the values whose bit in `set` is on: bit i % 64 of word i / 64. Requires that none
// of them exceeds max. Exponentials of base/exponential.h, added in four sums by i % 4: the same bits wherever it is
// done.
double total_weight(std::span<const float> values, std::span<const uint64_t> set, float max, double scale);

inline int64_t logit_blocks(int64_t size) { return (size + kLogitBlock - 1) / kLogitBlock; }

}  // namespace facet
