// The output head: logits, the largest of every block of them, and rows of them whose softcap waits until somebody
// looks.
#pragma once

#include <vector>

#include "ops/linear.h"
#include "tensor/logits.h"

namespace facet::ops {

// y = operand · linearᵀ, the bits of linear(), and maxima[i][b] = the largest of y[i][64 b … 64 b + 63], NaN where one
// of them is NaN: found while the values are in the cache. y: (T, linear.rows); maxima: (T, logit_blocks(linear.rows)).
void head(Context& ctx, Mat<float> y, Mat<float> maxima, const Operand& operand, const Linear& linear,
          std::span<const int32_t> rows);
// maxima of values that stand there already.
void block_maxima(Context& ctx, Mat<float> maxima, Mat<const float> y);

// Memory for one row of logits at a time.
struct LogitScratch {
  std::vector<float> values, bounds;  // (V), (logit_blocks(V))
};

// One row of what head() made. The softcap rises with its argument, so the largest values before it are the largest
// behind it, up to rounding, which the bounds allow for.
class LogitRow final : public Logits {
 public:
  // values, maxima: one row each; cap 0: none. All is borrowed; scratch has the sizes of the row.
  LogitRow(Context& ctx, Mat<const float> values, Mat<const float> maxima, float cap, LogitScratch& scratch);

  int64_t size() const override { return raw_.cols(); }
  std::span<const float> bounds() override;
  std::span<const float> block(int64_t b) override;
  std::span<const float> values() override;
  double total_weight(std::span<const uint64_t> set, float max, double scale) override;

 private:
  Context& ctx_;
  Mat<const float> raw_, maxima_;
  float cap_;
  LogitScratch& scratch_;
  bool bounded_ = false, whole_ = false;  // what of the scratch is filled
};

}  // namespace facet::ops
