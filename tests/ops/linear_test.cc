// Products: what they equal, what never changes their bits, and what observers see.
#include "ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ops/access.h"
#include "ops/elementwise.h"
#include "ops/operand_access.h"
#include "ops/packed_linear.h"
#include "support/expect.h"
#include "support/kernel_tables.h"

namespace facet::ops {
namespace {

using testing::OpsContext;
using testing::PackedLinear;

constexpr Arithmetic kBoth[] = {Arithmetic::f32, Arithmetic::fast};
// More rows than a tile, more outputs than a strip of panels, and no multiple of a panel.
constexpr int64_t kRows = 70, kOutputs = 151, kCols = 288;

const char* name(Arithmetic arithmetic) { return arithmetic == Arithmetic::f32 ? "f32" : "fast"; }

// y = W x for the rows first … first + n - 1 of x, in one call.
std::vector<float> product(OpsContext& on, const PackedLinear& w, std::vector<float> x, int64_t first, int64_t n) {
  const int64_t cols = w.linear.weight.cols, outputs = w.linear.weight.rows;
  const Linear* reader = &w.linear;
  Operand operand = *Operand::allocate(n, cols, forms_read_by(on.ctx, {&reader, 1}));
  prepare(on.ctx, operand, Mat<const float>(x.data() + first * cols, n, cols));
  std::vector<float> y(static_cast<size_t>(n * outputs), NAN);
  linear(on.ctx, Mat<float>(y.data(), n, outputs), operand, w.linear, {});
  return y;
}

// The activation as the kernel of this type reads it.
double as_read(const kernels::ActivationRows& x, kernels::Form form, int64_t m, int64_t k) {
  if (form == kernels::kFormQ8)
    return static_cast<double>(x.q8[m * x.stride_q8 + k]) *
           static_cast<double>(x.scale[m * x.stride_scale + k / kernels::kBlock]);
  if (form == kernels::kFormBf16) return bf16_to_float(x.bf16[m * x.stride_bf16 + k]);
  return x.f32[m * x.stride_f32 + k];
}

TEST(Linear, EqualsAPlainSumInDoublePrecision) {
  const std::vector<float> x = testing::random_floats(3 * kCols, 1);
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const Arithmetic arithmetic : kBoth) {
      OpsContext on(table, arithmetic);
      for (const DType type : {DType::f32, DType::bf16, DType::q8_0, DType::q4_0}) {
        const PackedLinear w = testing::random_linear(table, type, 1, 37, kCols, 2);
        const std::vector<float> y = product(on, w, x, 0, 3);
        Operand operand = *Operand::allocate(3, kCols, kernels::kFormQ8 | kernels::kFormBf16);
        prepare(on.ctx, operand, Mat<const float>(x.data(), 3, kCols));
        const kernels::Form form = arithmetic == Arithmetic::fast ? table.panel(type)->fast_form : kernels::kFormF32;
        for (int64_t m = 0; m < 3; ++m) {
          for (int64_t r = 0; r < 37; ++r) {
            double sum = 0, magnitude = 0;
            for (int64_t k = 0; k < kCols; ++k) {
              const double term = w.value(0, r, k) * as_read(Operand::Access::rows(operand), form, m, k);
              sum += term;
              magnitude += std::abs(term);
            }
            // One rounding of at most half an ulp a step, each below the sum of magnitudes.
            EXPECT_NEAR(y[static_cast<size_t>(m * 37 + r)], sum, magnitude * kCols * 0x1p-24)
                << kernels::name(table.isa) << ' ' << facet::name(type) << ' ' << name(arithmetic);
          }
        }
      }
    }
  }
}

TEST(Linear, HasTheSameBitsForAnyNumberOfThreadsAndRows) {
  const std::vector<float> x = testing::random_floats(kRows * kCols, 3);
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const Arithmetic arithmetic : kBoth) {
      for (const DType type : {DType::f32, DType::bf16, DType::q4_0}) {
        const PackedLinear w = testing::random_linear(table, type, 1, kOutputs, kCols, 4);
        OpsContext one(table, arithmetic, 1);
        const std::vector<float> whole = product(one, w, x, 0, kRows);
        for (int n_threads : {2, 3}) {
          OpsContext several(table, arithmetic, n_threads);
          EXPECT_EQ(product(several, w, x, 0, kRows), whole) << kernels::name(table.isa) << ' ' << n_threads;
        }
        for (const int64_t chunk : {1, 3, 65}) {
          std::vector<float> joined;
          for (int64_t first = 0; first < kRows; first += chunk) {
            const std::vector<float> part = product(one, w, x, first, std::min(chunk, kRows - first));
            joined.insert(joined.end(), part.begin(), part.end());
          }
          EXPECT_EQ(joined, whole) << kernels::name(table.isa) << ' ' << facet::name(type) << ' ' << name(arithmetic)
                                   << " in chunks of " << chunk;
        }
      }
    }
  }
}

TEST(Linear, WritesOnlyItsOwnColumns) {
  const kernels::Table& table = kernels::usable_tables().front();
  OpsContext on(table, Arithmetic::f32);
  const PackedLinear w = testing::random_linear(table, DType::f32, 1, 37, 24, 5);
  const std::vector<float> x = testing::random_floats(2 * 24, 6);
  Operand operand = *Operand::allocate(2, 24, 0);
  prepare(on.ctx, operand, Mat<const float>(x.data(), 2, 24));
  std::vector<float> wide(2 * 64, 7.0f);
  linear(on.ctx, Mat<float>(wide.data(), 2, 64).col_range(5, 37), operand, w.linear, {});
  const std::vector<float> alone = product(on, w, x, 0, 2);
  for (size_t i = 0; i < wide.size(); ++i) {
    const size_t row = i / 64, col = i % 64;
    if (col < 5 || col >= 42) {
      EXPECT_EQ(wide[i], 7.0f) << i;
    } else {
      EXPECT_EQ(wide[i], alone[row * 37 + col - 5]) << i;
    }
  }
}

TEST(Linear, SeveralInOneRegionEqualEachAlone) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    OpsContext on(table, Arithmetic::fast, 2);
    const PackedLinear a = testing::random_linear(table, DType::q4_0, 1, 40, 64, 7);
    const PackedLinear b = testing::random_linear(table, DType::bf16, 1, 150, 64, 8);
    const PackedLinear c = testing::random_linear(table, DType::f32, 1, 5, 64, 9);
    const std::vector<float> x = testing::random_floats(9 * 64, 10);
    const std::array readers = {&a.linear, &b.linear, &c.linear};
    Operand operand = *Operand::allocate(9, 64, forms_read_by(on.ctx, readers));
    prepare(on.ctx, operand, Mat<const float>(x.data(), 9, 64));
    std::vector<float> ya(9 * 40), yb(9 * 150), yc(9 * 5);
    const std::array ys = {Mat<float>(ya.data(), 9, 40), Mat<float>(yb.data(), 9, 150), Mat<float>(yc.data(), 9, 5)};
    linears(on.ctx, ys, operand, readers, {});
    EXPECT_EQ(ya, product(on, a, x, 0, 9));
    EXPECT_EQ(yb, product(on, b, x, 0, 9));
    EXPECT_EQ(yc, product(on, c, x, 0, 9));
  }
}

TEST(Linear, PreparesNormsAndGatesBeforeAnyRounding) {
  const std::vector<float> x = testing::random_floats(5 * 96, 11), up = testing::random_floats(5 * 96, 12);
  const std::vector<float> weight = testing::random_floats(96, 13);
  for (const kernels::Table& table : testing::kernel_tables()) {
    OpsContext on(table, Arithmetic::fast);
    const Mat<const float> rows(x.data(), 5, 96);
    const Vector norm{.data = weight.data(), .size = 96};
    Operand operand = *Operand::allocate(8, 128, kernels::kFormQ8);
    prepare(on.ctx, operand, rows, norm, 1e-6f);
    std::vector<float> expected(x.size()), found(x.size());
    rms_norm(on.ctx, Mat<float>(expected.data(), 5, 96), rows, norm, 1e-6f);
    read(found, operand.f32());
    EXPECT_EQ(found, expected) << kernels::name(table.isa);
    const kernels::ActivationRows forms = Operand::Access::rows(operand);
    for (int64_t m = 0; m < 5; ++m) {
      for (int64_t k = 0; k < 96; ++k) {
        const double scale = forms.scale[m * forms.stride_scale + k / kernels::kBlock];
        EXPECT_NEAR(scale * forms.q8[m * forms.stride_q8 + k], expected[static_cast<size_t>(m * 96 + k)],
                    scale * 0.5001);
      }
    }
    prepare_gelu(on.ctx, operand, rows, Mat<const float>(up.data(), 5, 96));
    read(found, operand.f32());
    for (size_t i = 0; i < x.size(); ++i) {
      const double g = x[i], inner = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
      EXPECT_NEAR(found[i], 0.5 * g * (1 + std::tanh(inner)) * up[i], 1e-5 * (1 + std::abs(up[i])));
    }
  }
}

TEST(Linear, ShowsObserversItsInputAndItsOutput) {
  struct Recorder : Observer {
    LinearId id;
    std::vector<float> values, outputs;
    std::vector<int32_t> rows;
    const Operand* operand = nullptr;
    void tap(std::string_view, int, Mat<float>, std::span<const int32_t>) override {}
    void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
    void linear_input(const LinearInput& input) override {
      id = input.id;
      values.resize(static_cast<size_t>(input.values.rows() * input.values.cols()));
      read(values, input.values);
      rows.assign(input.rows.begin(), input.rows.end());
      operand = input.operand;
      EXPECT_TRUE(input.index.empty() && input.group == 0 && input.first == 0);
    }
    void linear_output(const LinearOutput& output) override {
      EXPECT_EQ(output.id.layer, id.layer);
      outputs.resize(static_cast<size_t>(output.values.rows() * output.values.cols()));
      read(outputs, output.values);
    }
  };
  const kernels::Table& table = kernels::best_table();
  OpsContext on(table, Arithmetic::fast);
  Recorder recorder;
  on.ctx.observer = &recorder;
  PackedLinear w = testing::random_linear(table, DType::q8_0, 1, 16, 32, 14);
  w.linear.id = {.role = LinearRole::ffn_down, .layer = 3};
  const std::vector<float> x = testing::random_floats(2 * 32, 15);
  const Linear* reader = &w.linear;
  Operand operand = *Operand::allocate(2, 32, forms_read_by(on.ctx, {&reader, 1}));
  prepare(on.ctx, operand, Mat<const float>(x.data(), 2, 32));
  std::vector<float> y(2 * 16);
  const std::vector<int32_t> rows = {4, 9};
  linear(on.ctx, Mat<float>(y.data(), 2, 16), operand, w.linear, rows);
  EXPECT_EQ(recorder.values, x);
  EXPECT_EQ(recorder.rows, rows);
  EXPECT_EQ(recorder.id.role, LinearRole::ffn_down);
  EXPECT_EQ(recorder.id.layer, 3);
  EXPECT_EQ(recorder.operand, &operand);
  EXPECT_EQ(recorder.outputs, y);
}

TEST(Linear, AnOperandsRowsComeHomeInEveryForm) {
  constexpr int64_t kOperandWidth = 40;  // one block and a part of another
  const kernels::Table& table = kernels::best_table();
  OpsContext on(table, Arithmetic::fast);
  const std::vector<float> x = testing::random_floats(2 * kOperandWidth, 21);
  Operand operand = *Operand::allocate(2, kOperandWidth, kernels::kFormQ8 | kernels::kFormBf16);
  prepare(on.ctx, operand, Mat<const float>(x.data(), 2, kOperandWidth));
  EXPECT_EQ(operand.forms(), kernels::kFormQ8 | kernels::kFormBf16);

  std::vector<int8_t> expected_codes(64), codes(64);
  std::vector<float> expected_scales(2), scales(2), values(kOperandWidth);
  std::vector<int32_t> expected_sums(4), sums(4);
  std::vector<uint16_t> expected_bf16(kOperandWidth), bf16(kOperandWidth);
  table.quantize_q8(expected_codes.data(), expected_scales.data(), expected_sums.data(), x.data() + kOperandWidth,
                    kOperandWidth);
  table.round_bf16(expected_bf16.data(), x.data() + kOperandWidth, kOperandWidth);
  read({.f32 = values, .codes = codes, .scales = scales, .sums = sums, .bf16 = bf16}, operand, 1);
  EXPECT_EQ(values, std::vector<float>(x.begin() + kOperandWidth, x.end()));
  EXPECT_EQ(codes, expected_codes);
  EXPECT_EQ(scales, expected_scales);
  EXPECT_EQ(sums, expected_sums);
  EXPECT_EQ(bf16, expected_bf16);
}

TEST(Linear, TheFormsDependOnTypeAndArithmetic) {
  const kernels::Table& table = kernels::usable_tables().front();
  const PackedLinear q4 = testing::random_linear(table, DType::q4_0, 1, 16, 32, 16);
  const PackedLinear bf16 = testing::random_linear(table, DType::bf16, 1, 16, 32, 17);
  const PackedLinear f32 = testing::random_linear(table, DType::f32, 1, 16, 32, 18);
  const std::array all = {&q4.linear, &bf16.linear, &f32.linear};
  OpsContext exact(table, Arithmetic::f32), fast(table, Arithmetic::fast);
  EXPECT_EQ(forms_read_by(exact.ctx, all), 0);
  EXPECT_EQ(forms_read_by(fast.ctx, all), kernels::kFormQ8 | kernels::kFormBf16);
  const std::array last = {&f32.linear};
  EXPECT_EQ(forms_read_by(fast.ctx, last), 0);
}

}  // namespace
}  // namespace facet::ops
