// Mixture of experts: routing, and the experts' gated MLP with work grouped by expert (26B-A4B; text-decoder.md 2.9).
#pragma once

#include "ops/linear.h"

namespace facet::ops {

// Lists and buffers of one expert layer, sized at load for the largest batch.
class ExpertScratch {
 public:
  static Result<ExpertScratch> allocate(int64_t max_rows, int64_t n_experts, int64_t n_used, int64_t expert_width,
                                        uint8_t down_forms);

  int64_t bytes() const;

  // (T, n_used) of the rows routed last, in order of falling probability; (T, E) probabilities.
  Mat<int32_t> chosen() { return chosen_.view(rows_); }
  Mat<float> weights() { return weights_.view(rows_); }
  Mat<float> probabilities() { return probabilities_.view(rows_); }

 private:
  friend struct ExpertAccess;
  Matrix<int32_t> chosen_;       // (T, k)
  Matrix<float> weights_;        // (T, k)
  Matrix<float> probabilities_;  // (T, E)
  // Pairs of a row and one of its experts, sorted by expert.
  Matrix<int32_t> pair_row_;   // (1, T k)
  Matrix<float> pair_weight_;  // (1, T k)
  Matrix<int32_t> first_;      // (1, E + 1): where each expert's pairs begin
  Matrix<int32_t> order_;      // (1, E): those that have pairs, most first
  Matrix<float> gate_up_;      // (T k, 2 Fe), by pair
  Operand hidden_;             // (T k, Fe), by pair
  int64_t rows_ = 0;
};

// r = rms(h, no weight) ⊙ scale * D^(-1/2); p = softmax(W_router r); the n_used largest (ties: lower id), renormalised,
// times per_expert_scale. h: (T, D). operand is scratch of width D.
void route(Context& ctx, ExpertScratch& scratch, Operand& operand, Mat<const float> h, const Linear& router,
           const Vector& scale, const Vector& per_expert_scale, float eps, std::span<const int32_t> rows);

// y = Σ over a row's experts, ascending id, of weight * W_down (gelu(W_gate x) ⊙ W_up x), each sum step an fma.
// gate_up: groups E, rows 2 Fe (gate first); down: groups E. y: (T, D).
void experts(Context& ctx, Mat<float> y, ExpertScratch& scratch, const Operand& x, const Linear& gate_up,
             const Linear& down, std::span<const int32_t> rows);

}  // namespace facet::ops
