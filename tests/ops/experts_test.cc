// Mixture of experts: routing, and the grouped products against one token at a time in double precision.
#include "ops/experts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "ops/elementwise.h"
#include "ops/importance.h"
#include "ops/packed_linear.h"
#include "support/kernel_tables.h"

namespace facet::ops {
namespace {

using testing::OpsContext;
using testing::PackedLinear;

// kOut: a strip of panels and a part of another, whose last panel is not full.
constexpr int64_t kExperts = 8, kUsed = 3, kWidth = 96, kExpertWidth = 32, kOut = 150;

// An expert layer and its scratch.
struct Layer {
  PackedLinear router, gate_up, down;
  std::vector<float> scale, factors;

  Layer(const kernels::Table& table, DType type)
      : router(testing::random_linear(table, DType::f32, 1, kExperts, kWidth, 1)),
        gate_up(testing::random_linear(table, type, kExperts, 2 * kExpertWidth, kWidth, 2)),
        down(testing::random_linear(table, type, kExperts, kOut, kExpertWidth, 3)),
        scale(testing::random_floats(kWidth, 4)),
        factors(testing::random_floats(kExperts, 5)) {}
};

struct Routed {
  std::vector<int32_t> chosen;
  std::vector<float> weights, probabilities, y;
};

Routed run(OpsContext& on, const Layer& layer, const std::vector<float>& h, int64_t first, int64_t n) {
  const Linear* up = &layer.gate_up.linear;
  const Linear* down = &layer.down.linear;
  Operand operand = *Operand::allocate(n, kWidth, forms_read_by(on.ctx, {&up, 1}));
  ExpertScratch scratch = *ExpertScratch::allocate(n, kExperts, kUsed, kExpertWidth, forms_read_by(on.ctx, {&down, 1}));
  const Mat<const float> rows(h.data() + first * kWidth, n, kWidth);
  route(on.ctx, scratch, operand, rows, layer.router.linear, {.data = layer.scale.data(), .size = kWidth},
        {.data = layer.factors.data(), .size = kExperts}, 1e-6f, {});
  Routed out;
  out.chosen.resize(static_cast<size_t>(n * kUsed));
  out.weights.resize(static_cast<size_t>(n * kUsed));
  out.probabilities.resize(static_cast<size_t>(n * kExperts));
  out.y.resize(static_cast<size_t>(n * kOut), NAN);
  read(out.chosen, Mat<const int32_t>(scratch.chosen()));
  read(out.weights, Mat<const float>(scratch.weights()));
  read(out.probabilities, Mat<const float>(scratch.probabilities()));
  prepare(on.ctx, operand, rows);
  experts(on.ctx, Mat<float>(out.y.data(), n, kOut), scratch, operand, layer.gate_up.linear, layer.down.linear, {});
  return out;
}

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

// One expert on one row, in double precision.
std::vector<double> expert_output(const Layer& layer, int64_t expert, const float* x) {
  std::vector<double> hidden(kExpertWidth), y(kOut);
  for (int64_t f = 0; f < kExpertWidth; ++f) {
    double gate = 0, up = 0;
    for (int64_t k = 0; k < kWidth; ++k) {
      gate += layer.gate_up.value(expert, f, k) * static_cast<double>(x[k]);
      up += layer.gate_up.value(expert, kExpertWidth + f, k) * static_cast<double>(x[k]);
    }
    hidden[static_cast<size_t>(f)] = gelu(gate) * up;
  }
  for (int64_t d = 0; d < kOut; ++d)
    for (int64_t f = 0; f < kExpertWidth; ++f)
      y[static_cast<size_t>(d)] += layer.down.value(expert, d, f) * hidden[static_cast<size_t>(f)];
  return y;
}

TEST(Experts, RouterProbabilitiesAreTheSoftmaxOfTheScaledNorm) {
  const std::vector<float> h = testing::random_floats(4 * kWidth, 6, 0.2f);
  for (const kernels::Table& table : testing::kernel_tables()) {
    const Layer layer(table, DType::f32);
    OpsContext on(table, Arithmetic::f32);
    const Routed routed = run(on, layer, h, 0, 4);
    for (int64_t i = 0; i < 4; ++i) {
      const float* x = h.data() + i * kWidth;
      double square = 0, sum = 0;
      for (int64_t k = 0; k < kWidth; ++k) square += static_cast<double>(x[k]) * x[k];
      const double r = 1 / std::sqrt(square / kWidth + 1e-6) / std::sqrt(static_cast<double>(kWidth));
      std::vector<double> p(kExperts);
      for (int64_t e = 0; e < kExperts; ++e) {
        double z = 0;
        for (int64_t k = 0; k < kWidth; ++k)
          z += layer.router.value(0, e, k) * x[k] * r * static_cast<double>(layer.scale[static_cast<size_t>(k)]);
        sum += p[static_cast<size_t>(e)] = std::exp(z);
      }
      double chosen_sum = 0;
      for (int64_t j = 0; j < kUsed; ++j) {
        const size_t at = static_cast<size_t>(i * kUsed + j);
        chosen_sum += p[static_cast<size_t>(routed.chosen[at])] / sum;
        if (j > 0) {
          EXPECT_GE(p[static_cast<size_t>(routed.chosen[at - 1])], p[static_cast<size_t>(routed.chosen[at])]);
        }
      }
      for (int64_t e = 0; e < kExperts; ++e)
        EXPECT_NEAR(routed.probabilities[static_cast<size_t>(i * kExperts + e)], p[static_cast<size_t>(e)] / sum, 2e-6);
      for (int64_t j = 0; j < kUsed; ++j) {
        const size_t at = static_cast<size_t>(i * kUsed + j), e = static_cast<size_t>(routed.chosen[at]);
        EXPECT_NEAR(routed.weights[at], p[e] / sum / chosen_sum * layer.factors[e], 1e-5);
      }
    }
  }
}

TEST(Experts, TiesGoToTheLowerId) {
  const kernels::Table& table = kernels::usable_tables().front();
  Layer layer(table, DType::f32);
  const std::vector<float> nothing(2 * kWidth, 0.0f);  // all logits are 0
  OpsContext on(table, Arithmetic::f32);
  const Routed routed = run(on, layer, nothing, 0, 2);
  EXPECT_EQ(routed.chosen, (std::vector<int32_t>{0, 1, 2, 0, 1, 2}));
}

TEST(Experts, TheSumEqualsEachTokenAlone) {
  const std::vector<float> h = testing::random_floats(7 * kWidth, 7, 0.2f);
  for (const kernels::Table& table : testing::kernel_tables()) {
    const Layer layer(table, DType::f32);
    OpsContext on(table, Arithmetic::f32);
    const Routed routed = run(on, layer, h, 0, 7);
    for (int64_t i = 0; i < 7; ++i) {
      std::vector<double> expected(kOut), magnitude(kOut);
      for (int64_t j = 0; j < kUsed; ++j) {
        const size_t at = static_cast<size_t>(i * kUsed + j);
        const std::vector<double> y = expert_output(layer, routed.chosen[at], h.data() + i * kWidth);
        for (size_t d = 0; d < y.size(); ++d) {
          expected[d] += routed.weights[at] * y[d];
          magnitude[d] += std::abs(routed.weights[at] * y[d]) + std::abs(routed.weights[at]);
        }
      }
      for (size_t d = 0; d < expected.size(); ++d)
        EXPECT_NEAR(routed.y[static_cast<size_t>(i * kOut) + d], expected[d], 1e-4 * magnitude[d])
            << kernels::name(table.isa);
    }
  }
}

// W of one expert, as a weight of its own.
Linear of_expert(const kernels::Table& table, const Linear& all, int64_t expert) {
  Linear one = all;
  const int64_t panels = kernels::panel_count(all.weight.rows);
  const size_t bytes = static_cast<size_t>(panels * table.panel(all.weight.type)->panel_bytes(all.weight.cols));
  one.weight.groups = 1;
  one.weight.data = all.weight.data.subspan(static_cast<size_t>(expert) * bytes, bytes);
  return one;
}

TEST(Experts, AddUpByAscendingIdWithOneRoundingEach) {
  constexpr int64_t kRows = 5;
  const std::vector<float> h = testing::random_floats(kRows * kWidth, 10, 0.2f);
  for (const kernels::Table& table : testing::kernel_tables()) {
    const Layer layer(table, DType::q4_0);
    OpsContext on(table, Arithmetic::fast);
    const Routed routed = run(on, layer, h, 0, kRows);
    const Linear* const both[] = {&layer.gate_up.linear, &layer.down.linear};
    Operand x = *Operand::allocate(1, kWidth, forms_read_by(on.ctx, both));
    Operand hidden = *Operand::allocate(1, kExpertWidth, forms_read_by(on.ctx, both));
    for (int64_t i = 0; i < kRows; ++i) {
      prepare(on.ctx, x, Mat<const float>(h.data() + i * kWidth, 1, kWidth));
      std::vector<float> sum(kOut, 0.0f), gate_up(2 * kExpertWidth), y(kOut);
      for (int64_t expert = 0; expert < kExperts; ++expert) {
        const auto begin = routed.chosen.begin() + i * kUsed, found = std::find(begin, begin + kUsed, expert);
        if (found == begin + kUsed) continue;
        const Mat<float> parts(gate_up.data(), 1, 2 * kExpertWidth), out(y.data(), 1, kOut);
        linear(on.ctx, parts, x, of_expert(table, layer.gate_up.linear, expert), {});
        prepare_gelu(on.ctx, hidden, parts.col_range(0, kExpertWidth), parts.col_range(kExpertWidth, kExpertWidth));
        linear(on.ctx, out, hidden, of_expert(table, layer.down.linear, expert), {});
        const float weight = routed.weights[static_cast<size_t>(found - routed.chosen.begin())];
        for (size_t d = 0; d < sum.size(); ++d) sum[d] = std::fma(weight, y[d], sum[d]);
      }
      const std::vector<float> found(routed.y.begin() + i * kOut, routed.y.begin() + (i + 1) * kOut);
      EXPECT_EQ(found, sum) << kernels::name(table.isa) << " row " << i;
    }
  }
}

TEST(Experts, HaveTheSameBitsForAnyNumberOfThreadsAndRows) {
  constexpr int64_t kRows = 150;  // more pairs an expert than a tile has
  const std::vector<float> h = testing::random_floats(kRows * kWidth, 8, 0.2f);
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast}) {
      const Layer layer(table, DType::q4_0);
      OpsContext one(table, arithmetic, 1);
      const Routed whole = run(one, layer, h, 0, kRows);
      for (int n_threads : {2, 3}) {
        OpsContext several(table, arithmetic, n_threads);
        const Routed again = run(several, layer, h, 0, kRows);
        EXPECT_EQ(again.y, whole.y) << kernels::name(table.isa) << ' ' << n_threads;
        EXPECT_EQ(again.chosen, whole.chosen);
      }
      for (const int64_t chunk : {1, 7}) {
        std::vector<float> joined;
        for (int64_t first = 0; first < kRows; first += chunk) {
          const Routed part = run(one, layer, h, first, std::min(chunk, kRows - first));
          joined.insert(joined.end(), part.y.begin(), part.y.end());
        }
        EXPECT_EQ(joined, whole.y) << kernels::name(table.isa) << " in chunks of " << chunk;
      }
    }
  }
}

// Sums the squares of what each expert is given.
struct Squares : Observer {
  const Context* ctx = nullptr;
  std::map<std::pair<LinearRole, int64_t>, std::vector<double>> sums;
  std::map<std::pair<LinearRole, int64_t>, int64_t> counts, outputs;

  void tap(std::string_view, int, Mat<float>, std::span<const int32_t>) override {}
  void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
  void linear_input(const LinearInput& input) override {
    const std::pair key(input.id.role, input.group);
    std::vector<double>& sum = sums[key];
    sum.resize(static_cast<size_t>(input.values.cols()));
    add_squares(*ctx, sum, input);
    counts[key] += input.count();
    // The rows that are meant, by either way to them.
    std::vector<float> shown(static_cast<size_t>(input.values.cols())), prepared(shown.size());
    for (int64_t i = 0; i < input.count(); ++i) {
      const int64_t at = input.index.empty() ? i : input.index[static_cast<size_t>(i)];
      read(shown, input.values.row_range(at, 1));
      read({.f32 = prepared, .codes = {}, .scales = {}, .sums = {}, .bf16 = {}}, *input.operand, input.first + at);
      EXPECT_EQ(shown, prepared);
    }
  }
  void linear_output(const LinearOutput& output) override {
    outputs[{output.id.role, output.group}] += output.values.rows();
    EXPECT_TRUE(output.id.role != LinearRole::experts_gate_up || output.values.cols() == 2 * kExpertWidth);
  }
};

TEST(Experts, ShowObserversWhatEachExpertIsGiven) {
  const kernels::Table& table = kernels::best_table();
  constexpr int64_t kRows = 20;
  const std::vector<float> h = testing::random_floats(kRows * kWidth, 9);
  Layer layer(table, DType::f32);
  layer.gate_up.linear.id.role = LinearRole::experts_gate_up;
  layer.down.linear.id.role = LinearRole::experts_down;
  OpsContext on(table, Arithmetic::f32, 2);
  Squares squares;
  squares.ctx = &on.ctx;
  on.ctx.observer = &squares;
  const Routed routed = run(on, layer, h, 0, kRows);
  for (int64_t expert = 0; expert < kExperts; ++expert) {
    std::vector<double> expected(kWidth);
    int64_t count = 0;
    for (int64_t i = 0; i < kRows * kUsed; ++i) {
      if (routed.chosen[static_cast<size_t>(i)] != expert) continue;
      ++count;
      for (int64_t k = 0; k < kWidth; ++k) {
        const double x = static_cast<double>(h[static_cast<size_t>(i / kUsed * kWidth + k)]);
        expected[static_cast<size_t>(k)] += x * x;
      }
    }
    const std::pair up(LinearRole::experts_gate_up, expert), down(LinearRole::experts_down, expert);
    EXPECT_EQ(squares.counts[up], count);
    EXPECT_EQ(squares.counts[down], count);
    EXPECT_EQ(squares.outputs[up], count);
    if (count == 0) continue;
    EXPECT_EQ(squares.sums[up], expected) << "expert " << expert;
    EXPECT_EQ(squares.sums[down].size(), static_cast<size_t>(kExpertWidth));
    EXPECT_GT(squares.sums[down].front(), 0);
  }
}

}  // namespace
}  // namespace facet::ops
