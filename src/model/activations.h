// Activations: all scratch of a forward pass, sized at load for the largest batch. A pass allocates nothing.
#pragma once

#include <vector>

#include "model/weights.h"
#include "ops/attention.h"
#include "ops/experts.h"
#include "ops/linear.h"
#include "ops/logits.h"

namespace facet::model {

// T rows; the letters are those of model/weights.h.
struct Activations {
  static Result<Activations> allocate(const Context& ctx, const Config& config, const Plan& plan,
                                      const Weights& weights, int64_t max_rows, int64_t max_context,
                                      std::span<const Linear* const> readers);
  // Of all buffers, those that no pass has touched yet too.
  int64_t bytes() const;

  Matrix<float> h, kept;             // residual stream (T, D); and the rows that go on after the last storing layer
  Matrix<float> y, z;                // outputs of sub-layers (T, D)
  Matrix<float> q, k, v;             // (T, H d), (T, K d)
  Matrix<float> attended;            // (T, H d)
  Matrix<float> gate, up;            // (T, F)
  Matrix<float> ple, ple_context;    // (T, L P)
  Matrix<float> ple_gate, ple_kept;  // (T, P), (T, L P)
  Matrix<float> cos_sliding, sin_sliding, cos_full, sin_full;  // (T, d / 2)
  Matrix<float> logits, maxima;                                // (16, V); the largest of every block (16, V / 64)

  ops::Operand x;                          // normed input of a sub-layer (T, D)
  ops::Operand attention, ffn, ple_input;  // inputs of the output, down and per-layer projections
  ops::ExpertScratch experts;
  ops::AttentionScratch scores;

  std::vector<Token> tokens, ple_tokens;  // (T)
  std::vector<int32_t> rows, positions;   // (T): batch row and position of each current row
  std::vector<ops::QueryRow> sees_sliding, sees_full;
  std::vector<int32_t> output_rows;  // batch rows with outputs, each once
  std::vector<int32_t> picked;       // scratch of gathers
  std::vector<KvView> views;         // one per sequence
  std::vector<float> hidden;         // (D) one row on its way to the sink
  ops::LogitScratch logit_row;       // another
};

// Logits are made and handed over in slices of so many rows: a row takes a MiB, and the head is read once a slice.
inline constexpr int64_t kLogitRows = 16;

}  // namespace facet::model
