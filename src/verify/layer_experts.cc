// The mixture of experts: routing, and the sum over a row's experts.
#include <algorithm>
#include <cmath>

#include "verify/layer.h"

namespace facet::verify {

namespace names = model::tensors;

// f = norm_1(dense) + norm_2(experts(norm(h))), the router reading raw h
void PartCheck::experts(int index) {
  route(index);
  const Copied<float>& h = record_.tap("after_attention");
  const std::vector<double> w = setup_.source.norm(names::kExpertNorm, index);
  const std::vector<CopiedLinear>&gates = record_.linears.at(LinearRole::experts_gate_up),
        &downs = record_.linears.at(LinearRole::experts_down);
  for (size_t e = 0; e < gates.size(); ++e) {
    const CopiedLinear& gate = gates[e];
    Copied<float> of_rows{.rows = gate.input.f32.rows, .cols = h.cols, .values = {}};
    for (const int32_t row : gate.rows)
      of_rows.values.insert(of_rows.values.end(), h.row(row).begin(), h.row(row).end());
    expect_norm("expert_norm", gate.input.f32, of_rows, w);
    expect_forms("expert_norm, rounded", gate.input, gate.rows);
    expect_product("experts_gate_up", setup_.source.linear(LinearRole::experts_gate_up, index, gate.group), gate);
    Copied<float> halves[2];
    for (size_t half = 0; half < 2; ++half) {
      halves[half] = {.rows = gate.output.rows, .cols = config_.expert_width, .values = {}};
      for (int64_t i = 0; i < gate.output.rows; ++i) {
        const auto part = gate.output.row(i).subspan(half * static_cast<size_t>(config_.expert_width),
                                                     static_cast<size_t>(config_.expert_width));
        halves[half].values.insert(halves[half].values.end(), part.begin(), part.end());
      }
    }
    expect_gelu("expert_gelu", downs[e].input, halves[0], halves[1], 0, gate.rows);
    expect_forms("expert_gelu, rounded", downs[e].input, gate.rows);
  }
  expert_sums(index);

  Step& step = part_.step("ffn_out");
  const Copied<float>&dense = record_.linear(LinearRole::ffn_down).output, &routed = record_.tap("experts_out"),
        &out = record_.tap("ffn_out");
  const std::vector<double> w_dense = setup_.source.norm(names::kPostDenseNorm, index),
                            w_expert = setup_.source.norm(names::kPostExpertNorm, index);
  for (int64_t i = 0; i < out.rows; ++i) {
    const std::vector<Bounded> a = norm(dense.row(i), w_dense, config_.norm_eps),
                               b = norm(routed.row(i), w_expert, config_.norm_eps);
    for (size_t j = 0; j < a.size(); ++j) {
      const double sum = a[j].value + b[j].value;
      step.compare(place(i, static_cast<int64_t>(j)), static_cast<double>(out.row(i)[j]),
                   {sum, a[j].bound + b[j].bound + kU * std::abs(sum)});
    }
  }
}

// r = rms(h) ⊙ scale * D^(-1/2);  p = softmax(W_router r);  the largest, renormalised, times each expert's factor
void PartCheck::route(int index) {
  const CopiedLinear& router = record_.linear(LinearRole::router);
  const Copied<float>& h = record_.tap("after_attention");
  std::vector<double> w = setup_.source.vector(names::kRouterScale, index);
  for (double& value : w) value /= std::sqrt(static_cast<double>(config_.width));
  expect_norm("router_norm", router.input.f32, h, w);
  expect_forms("router_norm, rounded", router.input);
  expect_product(LinearRole::router, "router", index);

  const std::vector<double> factors = setup_.source.vector(names::kExpertScale, index);
  const Copied<float>&probabilities = record_.tap("router"), &weights = record_.tap("expert_weights");
  for (int64_t i = 0; i < h.rows; ++i) {
    const std::vector<Bounded> expected = softmax(router.output.row(i));
    const std::span<const float> p = probabilities.row(i);
    Step& softmaxed = part_.step("router probabilities");
    for (size_t e = 0; e < expected.size(); ++e)
      softmaxed.compare(place(i, static_cast<int64_t>(e)), static_cast<double>(p[e]), expected[e]);

    // The choice among the fast path's own probabilities is exact: falling, ties to the lower id.
    std::vector<int32_t> order(p.size());
    for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int32_t>(e);
    std::ranges::stable_sort(
        order, [&](int32_t a, int32_t b) { return p[static_cast<size_t>(a)] > p[static_cast<size_t>(b)]; });
    const size_t used = static_cast<size_t>(config_.experts_used);
    double sum = 0;
    for (size_t j = 0; j < used; ++j) sum += static_cast<double>(p[static_cast<size_t>(order[j])]);
    Step& chosen = part_.step("experts");
    for (size_t j = 0; j < used; ++j)
      chosen.compare(place(i, static_cast<int64_t>(j)), record_.experts.row(i)[j], {static_cast<double>(order[j]), 0});
    Step& weighed = part_.step("expert_weights");
    for (size_t j = 0; j < used; ++j) {  // the sum of `used`, the quotient, the product
      const size_t e = static_cast<size_t>(order[j]);
      const double weight = static_cast<double>(p[e]) / sum * factors[e];
      weighed.compare(place(i, static_cast<int64_t>(j)), static_cast<double>(weights.row(i)[j]),
                      {weight, static_cast<double>(used + 2) * kU * std::abs(weight) + kTiny});
    }
  }
}

// y = Σ weight W_down hidden over a row's experts, in ascending order
void PartCheck::expert_sums(int index) {
  const std::vector<CopiedLinear>&gates = record_.linears.at(LinearRole::experts_gate_up),
        &downs = record_.linears.at(LinearRole::experts_down);
  const Copied<float>&out = record_.tap("experts_out"), &weights = record_.tap("expert_weights");
  std::vector<SourceMatrix> matrices;
  std::vector<ProductInput> inputs;
  for (const CopiedLinear& down : downs) {
    matrices.push_back(setup_.source.linear(LinearRole::experts_down, index, down.group));
    inputs.push_back(product_input(down.input, form_of(matrices.back().type())));
  }
  const std::vector<int64_t> columns = rows_to_check(out.cols, config_.expert_width, setup_.rows);
  std::vector<Bounded> sums(columns.size() * static_cast<size_t>(out.rows));
  std::vector<SourceRow> scratch(static_cast<size_t>(setup_.pool.n_threads()));
  setup_.pool.parallel(static_cast<int64_t>(columns.size()), [&](int64_t at, int thread) {
    SourceRow& w = scratch[static_cast<size_t>(thread)];
    for (size_t e = 0; e < downs.size(); ++e) {
      matrices[e].read(w, columns[static_cast<size_t>(at)]);
      for (size_t pair = 0; pair < gates[e].rows.size(); ++pair) {
        const int64_t row = gates[e].rows[pair];
        const std::span<const int32_t> chosen = record_.experts.row(row);
        const auto slot = std::ranges::find(chosen, static_cast<int32_t>(downs[e].group)) - chosen.begin();
        const double weight = static_cast<double>(weights.row(row)[static_cast<size_t>(slot)]);
        const Bounded part = product(w, inputs[e], static_cast<int64_t>(pair));
        Bounded& sum = sums[static_cast<size_t>(at * out.rows + row)];
        sum.value += weight * part.value;
        sum.bound += std::abs(weight) * part.bound + kU * std::abs(sum.value);
      }
    }
  });
  Step& step = part_.step("experts_down");
  for (int64_t row = 0; row < out.rows; ++row)
    for (size_t at = 0; at < columns.size(); ++at) {
      const Bounded& sum = sums[at * static_cast<size_t>(out.rows) + static_cast<size_t>(row)];
      step.compare(place(row, columns[at]), static_cast<double>(out.row(row)[static_cast<size_t>(columns[at])]),
                   {sum.value, kHigherOrder * sum.bound + kTiny});
    }
}

}  // namespace facet::verify
