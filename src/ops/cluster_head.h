// The sparse head of small drafters: only tokens of the nearest clusters are scored (text-decoder.md 4.3).
#pragma once

#include <span>

#include "ops/context.h"
#include "tensor/buffer.h"
#include "tensor/token.h"

namespace facet::ops {

// Scratch for one row.
class ClusterScratch {
 public:
  static Result<ClusterScratch> allocate(int n_threads, int64_t used, int64_t width);
  int64_t bytes() const { return chosen_.bytes() + row_.bytes(); }

 private:
  friend struct ClusterAccess;
  Matrix<int32_t> chosen_;  // (1, used)
  Matrix<float> row_;       // (threads, D)
};

// For each row y: of the C clusters, the `used` with the largest scores (ties: the lower number) give their tokens the
// logit table[token] · y; every other token gets the least of those minus one. scores: (T, C); y: (T, D); logits: (T,
// V); ordering: (C, V / C), the tokens of each cluster. Errors: io (a table row could not be read).
Result<void> cluster_head(Context& ctx, Mat<float> logits, Mat<const float> y, Mat<const float> scores,
                          std::span<const Token> ordering, const RowSource& table, ClusterScratch& scratch);

}  // namespace facet::ops
