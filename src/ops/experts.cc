#include "ops/experts.h"

#include <cmath>

#include "ops/operand_access.h"
#include "ops/panel_product.h"
#include "ops/rows.h"

namespace facet::ops {

// The lists of a routed layer. A pair is one row together with one of its experts; pairs are sorted by expert, within
// an expert by row.
struct ExpertAccess {
  static float* probabilities(ExpertScratch& s, int64_t i) { return row(s.probabilities(), i); }
  static int32_t* chosen(ExpertScratch& s, int64_t i) { return row(s.chosen(), i); }
  static float* weights(ExpertScratch& s, int64_t i) { return row(s.weights(), i); }
  static void set_rows(ExpertScratch& s, int64_t rows) { s.rows_ = rows; }
  static int64_t rows(const ExpertScratch& s) { return s.rows_; }
  static int64_t experts(const ExpertScratch& s) { return s.probabilities_.cols(); }
  static int64_t used(const ExpertScratch& s) { return s.chosen_.cols(); }
  static int32_t* pair_row(ExpertScratch& s) { return data(s.pair_row_.view()); }
  static float* pair_weight(ExpertScratch& s) { return data(s.pair_weight_.view()); }
  static int32_t* first(ExpertScratch& s) { return data(s.first_.view()); }
  static int32_t* order(ExpertScratch& s) { return data(s.order_.view()); }
  static Mat<float> gate_up(ExpertScratch& s, int64_t pairs) { return s.gate_up_.view(pairs); }
  static Operand& hidden(ExpertScratch& s) { return s.hidden_; }
};

namespace {

// What a unit of down-projections has at most: the products stand on its stack until they are added.
constexpr int64_t kDownPanels = 8, kDownRows = 48;

// The n_used largest of n probabilities, in falling order; ties go to the lower id. Their weights add up to one before
// each expert's own factor.
void choose(int32_t* chosen, float* weights, const float* probabilities, int64_t n, int64_t n_used,
            const float* factors) {
  float sum = 0;
  for (int64_t j = 0; j < n_used; ++j) {
    int32_t best = -1;
    for (int32_t e = 0; e < n; ++e) {
      if (std::find(chosen, chosen + j, e) != chosen + j) continue;
      if (best < 0 || probabilities[e] > probabilities[best]) best = e;
    }
    chosen[j] = best;
    weights[j] = probabilities[best];
    sum += weights[j];
  }
  for (int64_t j = 0; j < n_used; ++j) weights[j] = weights[j] / sum * factors[chosen[j]];
}

// Counting sort of the pairs by expert; rows stay in order.
void sort_pairs(ExpertScratch& scratch) {
  const int64_t n_experts = ExpertAccess::experts(scratch), n_used = ExpertAccess::used(scratch),
                rows = ExpertAccess::rows(scratch);
  int32_t* first = ExpertAccess::first(scratch);
  std::fill_n(first, n_experts + 1, 0);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < n_used; ++j) ++first[ExpertAccess::chosen(scratch, i)[j] + 1];
  for (int64_t e = 0; e < n_experts; ++e) first[e + 1] += first[e];
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < n_used; ++j) {
      const int32_t at = first[ExpertAccess::chosen(scratch, i)[j]]++;  // ends as the beginning of the next expert
      ExpertAccess::pair_row(scratch)[at] = static_cast<int32_t>(i);
      ExpertAccess::pair_weight(scratch)[at] = ExpertAccess::weights(scratch, i)[j];
    }
  }
  for (int64_t e = n_experts; e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;
}

// The experts that have pairs, those with most first: with the longest work begun first, threads end together.
std::span<const int32_t> busiest_first(ExpertScratch& scratch) {
  const int32_t* first = ExpertAccess::first(scratch);
  int32_t* order = ExpertAccess::order(scratch);
  int64_t n = 0;
  for (int32_t e = 0; e < ExpertAccess::experts(scratch); ++e)
    if (first[e] < first[e + 1]) order[n++] = e;
  std::sort(order, order + n, [&](int32_t a, int32_t b) {
    const int32_t of_a = first[a + 1] - first[a], of_b = first[b + 1] - first[b];
    return of_a != of_b ? of_a > of_b : a < b;
  });
  return {order, static_cast<size_t>(n)};
}

// gate_up[pair] = W_gate_up[expert of the pair] x[row of the pair]; a unit is a strip of one expert's panels.
void gate_up(Context& ctx, ExpertScratch& scratch, const Operand& x, const Linear& linear, int64_t pairs) {
  const PanelProduct product(ctx, linear.weight, x);
  const int64_t strips = product.strips(), strip_panels = product.strip_panels();
  const Mat<float> out = ExpertAccess::gate_up(scratch, pairs);
  const int32_t* first = ExpertAccess::first(scratch);
  const std::span<const int32_t> order = busiest_first(scratch);
  parallel(ctx, static_cast<int64_t>(order.size()) * strips, [&](int64_t unit, int) {
    const int64_t expert = order[static_cast<size_t>(unit / strips)], begin = unit % strips * strip_panels;
    const int64_t n_panels = std::min(product.panels() - begin, strip_panels);
    for (int64_t at = first[expert]; at < first[expert + 1]; at += kTileRows) {
      const int64_t n = std::min<int64_t>(kTileRows, first[expert + 1] - at);
      product.multiply(row(out, at) + begin * kernels::kPanelRows, out.stride(), expert, begin, n_panels,
                       ExpertAccess::pair_row(scratch) + at, n);
    }
  });
}

// y[row] = Σ weight W_down hidden[pair]: whoever claims a strip of outputs walks all experts in ascending order.
void down(Context& ctx, Mat<float> y, ExpertScratch& scratch, const Linear& linear) {
  const PanelProduct product(ctx, linear.weight, ExpertAccess::hidden(scratch));
  const int64_t strip_panels = std::min(product.strip_panels(), kDownPanels);
  const int32_t* first = ExpertAccess::first(scratch);
  parallel(ctx, (product.panels() + strip_panels - 1) / strip_panels, [&](int64_t strip, int) {
    const int64_t panel = strip * strip_panels, n_panels = std::min(product.panels() - panel, strip_panels);
    const int64_t column = panel * kernels::kPanelRows;
    const int64_t width = (n_panels - 1) * kernels::kPanelRows + product.width(panel + n_panels - 1);
    for (int64_t i = 0; i < y.rows(); ++i) std::fill_n(row(y, i) + column, width, 0.0f);
    constexpr int64_t kStride = kDownPanels * kernels::kPanelRows;
    alignas(64) float part[kDownRows * kStride];
    for (int64_t expert = 0; expert < linear.weight.groups; ++expert) {
      for (int64_t at = first[expert]; at < first[expert + 1]; at += kDownRows) {
        const int64_t n = std::min<int64_t>(kDownRows, first[expert + 1] - at);
        product.multiply(part, kStride, expert, panel, n_panels, at, n);
        for (int64_t m = 0; m < n; ++m)
          ctx.kernels->add_scaled(row(y, ExpertAccess::pair_row(scratch)[at + m]) + column, part + m * kStride,
                                  ExpertAccess::pair_weight(scratch)[at + m], width);
      }
    }
  });
}

// Tells the observer what each expert is given.
enum class RowsAre : uint8_t { routed_rows, pairs };
void show_inputs(Context& ctx, ExpertScratch& scratch, const LinearId& id, const Operand& operand, RowsAre what,
                 std::span<const int32_t> rows) {
  if (ctx.observer == nullptr) return;
  const Mat<const float> values = Operand::Access::f32(operand);
  const int32_t* first = ExpertAccess::first(scratch);
  for (int64_t expert = 0; expert < ExpertAccess::experts(scratch); ++expert) {
    const int64_t n = first[expert + 1] - first[expert];
    if (n == 0) continue;
    LinearInput input{.id = id, .group = expert, .values = values, .index = {}, .rows = {}, .operand = &operand};
    if (what == RowsAre::pairs) {
      input.values = values.row_range(first[expert], n);
      input.first = first[expert];
    } else {
      input.index = {ExpertAccess::pair_row(scratch) + first[expert], static_cast<size_t>(n)};
      input.rows = rows;
    }
    ctx.observer->linear_input(input);
  }
}

// And what it made of it; values are by pair.
void show_outputs(Context& ctx, ExpertScratch& scratch, const LinearId& id, Mat<const float> values) {
  if (ctx.observer == nullptr) return;
  const int32_t* first = ExpertAccess::first(scratch);
  for (int64_t expert = 0; expert < ExpertAccess::experts(scratch); ++expert) {
    const int64_t n = first[expert + 1] - first[expert];
    if (n > 0) ctx.observer->linear_output({.id = id, .group = expert, .values = values.row_range(first[expert], n)});
  }
}

}  // namespace

int64_t ExpertScratch::bytes() const {
  return chosen_.bytes() + weights_.bytes() + probabilities_.bytes() + pair_row_.bytes() + pair_weight_.bytes() +
         first_.bytes() + order_.bytes() + gate_up_.bytes() + hidden_.bytes();
}

Result<ExpertScratch> ExpertScratch::allocate(int64_t max_rows, int64_t n_experts, int64_t n_used, int64_t expert_width,
                                              uint8_t down_forms) {
  ExpertScratch scratch;
  FACET_TRY(scratch.chosen_, Matrix<int32_t>::allocate(max_rows, n_used));
  FACET_TRY(scratch.weights_, Matrix<float>::allocate(max_rows, n_used));
  FACET_TRY(scratch.probabilities_, Matrix<float>::allocate(max_rows, n_experts));
  FACET_TRY(scratch.pair_row_, Matrix<int32_t>::allocate(1, max_rows * n_used));
  FACET_TRY(scratch.pair_weight_, Matrix<float>::allocate(1, max_rows * n_used));
  FACET_TRY(scratch.first_, Matrix<int32_t>::allocate(1, n_experts + 1));
  FACET_TRY(scratch.order_, Matrix<int32_t>::allocate(1, n_experts));
  FACET_TRY(scratch.gate_up_, Matrix<float>::allocate(max_rows * n_used, 2 * expert_width));
  FACET_TRY(scratch.hidden_, Operand::allocate(max_rows * n_used, expert_width, down_forms));
  return scratch;
}

void route(Context& ctx, ExpertScratch& scratch, Operand& operand, Mat<const float> h, const Linear& router,
           const Vector& scale, const Vector& per_expert_scale, float eps, std::span<const int32_t> rows) {
  const int64_t n_experts = ExpertAccess::experts(scratch), n_used = ExpertAccess::used(scratch);
  FACET_CHECK(router.weight.rows == n_experts && scale.size == h.cols() && per_expert_scale.size == n_experts);
  ExpertAccess::set_rows(scratch, h.rows());
  const float from_model = 1 / std::sqrt(static_cast<float>(h.cols()));
  Operand::Access::reshape(operand, h.rows(), h.cols());
  for_rows(ctx, h.rows(), h.cols(), [&](int64_t i) {
    float* r = Operand::Access::f32_row(operand, i);
    ctx.kernels->rms_norm(r, row(h, i), nullptr, h.cols(), eps);
    ctx.kernels->multiply(r, scale.data, h.cols());
    ctx.kernels->scale(r, from_model, h.cols());
    Operand::Access::make_forms(ctx, operand, i);
  });
  linear(ctx, scratch.probabilities(), operand, router, rows);
  for_rows(ctx, h.rows(), n_experts * n_used, [&](int64_t i) {
    float* p = ExpertAccess::probabilities(scratch, i);
    ctx.kernels->softmax(p, n_experts);
    choose(ExpertAccess::chosen(scratch, i), ExpertAccess::weights(scratch, i), p, n_experts, n_used,
           per_expert_scale.data);
  });
  sort_pairs(scratch);
}

void experts(Context& ctx, Mat<float> y, ExpertScratch& scratch, const Operand& x, const Linear& gate_up_linear,
             const Linear& down_linear, std::span<const int32_t> rows) {
  const int64_t pairs = ExpertAccess::rows(scratch) * ExpertAccess::used(scratch), width = down_linear.weight.cols;
  FACET_CHECK(y.rows() == ExpertAccess::rows(scratch) && gate_up_linear.weight.rows == 2 * width);
  FACET_CHECK(gate_up_linear.weight.groups == ExpertAccess::experts(scratch) &&
              down_linear.weight.groups == ExpertAccess::experts(scratch));
  show_inputs(ctx, scratch, gate_up_linear.id, x, RowsAre::routed_rows, rows);
  gate_up(ctx, scratch, x, gate_up_linear, pairs);
  const Mat<float> both = ExpertAccess::gate_up(scratch, pairs);
  show_outputs(ctx, scratch, gate_up_linear.id, both);
  prepare_gelu(ctx, ExpertAccess::hidden(scratch), both.col_range(0, width), both.col_range(width, width));
  show_inputs(ctx, scratch, down_linear.id, ExpertAccess::hidden(scratch), RowsAre::pairs, rows);
  down(ctx, y, scratch, down_linear);
}

}  // namespace facet::ops
