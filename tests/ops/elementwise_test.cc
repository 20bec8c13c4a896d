// Norms, sums, lookups and results coming home, against plain double precision.
#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "ops/packed_linear.h"
#include "support/expect.h"
#include "support/kernel_tables.h"

namespace facet::ops {
namespace {

using testing::OpsContext;
using testing::random_floats;

constexpr float kEps = 1e-6f;

Mat<float> mat(std::vector<float>& values, int64_t cols) {
  return {values.data(), static_cast<int64_t>(values.size()) / cols, cols};
}
Mat<const float> mat(const std::vector<float>& values, int64_t cols) {
  return {values.data(), static_cast<int64_t>(values.size()) / cols, cols};
}
Vector vector_of(const std::vector<float>& values) {
  return {.data = values.data(), .size = static_cast<int64_t>(values.size())};
}

// rms(x) ⊙ w over pieces of `width` values.
std::vector<double> normed(const std::vector<float>& x, int64_t width, const std::vector<float>& w, double scale = 1) {
  std::vector<double> y(x.size());
  const size_t n = static_cast<size_t>(width);
  for (size_t first = 0; first < x.size(); first += n) {
    double square = 0;
    for (size_t k = 0; k < n; ++k) square += std::pow(scale * x[first + k], 2);
    const double r = 1 / std::sqrt(square / static_cast<double>(width) + static_cast<double>(kEps));
    for (size_t k = 0; k < n; ++k) y[first + k] = scale * x[first + k] * r * (w.empty() ? 1.0 : w[k]);
  }
  return y;
}

void expect_close(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 4e-6 * (1 + std::abs(expected[i]))) << i;
}

// A table of floats that can refuse a row.
class FloatTable : public RowSource {
 public:
  FloatTable(std::vector<float> values, int64_t cols, int64_t broken = -1)
      : values_(std::move(values)), cols_(cols), broken_(broken) {}
  DType type() const override { return DType::f32; }
  int64_t rows() const override { return static_cast<int64_t>(values_.size()) / cols_; }
  int64_t cols() const override { return cols_; }
  Result<const std::byte*> row(int64_t i) const override {
    if (i == broken_) return Error{.code = ErrorCode::io, .what = "row cannot be read", .where = "table"};
    return std::as_bytes(std::span(values_)).data() + i * cols_ * static_cast<int64_t>(sizeof(float));
  }
  void prefetch(int64_t) const override {}

 private:
  std::vector<float> values_;
  int64_t cols_, broken_;
};

TEST(Elementwise, NormsEqualTheirFormula) {
  const std::vector<float> x = random_floats(50 * 96, 1), w = random_floats(96, 2), head = random_floats(16, 3);
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (int n_threads : {1, 2}) {
      OpsContext on(table, Arithmetic::f32, n_threads);
      std::vector<float> y(x.size());
      rms_norm(on.ctx, mat(y, 96), mat(x, 96), vector_of(w), kEps);
      expect_close(y, normed(x, 96, w));
      rms_norm(on.ctx, mat(y, 96), mat(x, 96), Vector{}, kEps);
      expect_close(y, normed(x, 96, {}));
      y = x;  // in place, per head
      rms_norm_heads(on.ctx, mat(y, 96), mat(y, 96), vector_of(head), kEps, 16);
      expect_close(y, normed(x, 16, head));
    }
  }
}

TEST(Elementwise, NormedOutputsJoinTheResidualStream) {
  const std::vector<float> h = random_floats(7 * 96, 4), a = random_floats(7 * 96, 5), b = random_floats(7 * 96, 6);
  const std::vector<float> wa = random_floats(96, 7), wb = random_floats(96, 8);
  const std::vector<double> na = normed(a, 96, wa), nb = normed(b, 96, wb);
  for (const kernels::Table& table : testing::kernel_tables()) {
    OpsContext on(table, Arithmetic::f32);
    std::vector<float> sum = h, left = a, right = b;
    add_norm(on.ctx, mat(sum, 96), mat(left, 96), vector_of(wa), kEps);
    std::vector<double> expected(h.begin(), h.end());
    for (size_t i = 0; i < h.size(); ++i) expected[i] += na[i];
    expect_close(sum, expected);

    left = a;
    add_norms(on.ctx, mat(left, 96), mat(left, 96), vector_of(wa), mat(right, 96), vector_of(wb), kEps);
    for (size_t i = 0; i < h.size(); ++i) expected[i] = na[i] + nb[i];
    expect_close(left, expected);
    std::vector<float> apart(a.size());
    left = a;
    right = b;
    add_norms(on.ctx, mat(apart, 96), mat(left, 96), vector_of(wa), mat(right, 96), vector_of(wb), kEps);
    expect_close(apart, expected);
  }
}

TEST(Elementwise, PerLayerInputsCombineBothHalves) {
  constexpr int64_t kLayers = 3, kP = 8;
  const std::vector<float> token = random_floats(5 * kLayers * kP, 9), context = random_floats(5 * kLayers * kP, 10);
  const std::vector<float> w = random_floats(kP, 11);
  const std::vector<double> c = normed(context, kP, w, 1 / std::sqrt(96.0));
  for (const kernels::Table& table : testing::kernel_tables()) {
    OpsContext on(table, Arithmetic::f32);
    std::vector<float> t = token, scratch = context;
    combine_ple(on.ctx, mat(t, kLayers * kP), mat(scratch, kLayers * kP), vector_of(w), kEps, kP, 96);
    std::vector<double> expected(t.size());
    for (size_t i = 0; i < t.size(); ++i) expected[i] = (c[i] + token[i]) * std::sqrt(0.5);
    expect_close(t, expected);
  }
}

TEST(Elementwise, ScalesCapsCopiesAndGathers) {
  const std::vector<float> x = random_floats(3 * 20000, 12, 40);  // rows longer than a piece of work
  for (const kernels::Table& table : testing::kernel_tables()) {
    OpsContext on(table, Arithmetic::f32, 2);
    std::vector<float> y(x.size());
    copy(on.ctx, mat(y, 20000), mat(x, 20000));
    EXPECT_EQ(y, x);
    scale(on.ctx, mat(y, 20000), 0.5f);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], x[i] * 0.5f);
    y = x;
    softcap(on.ctx, mat(y, 20000), 30);
    std::vector<double> capped(x.size());
    for (size_t i = 0; i < x.size(); ++i) capped[i] = 30 * std::tanh(static_cast<double>(x[i]) / 30);
    expect_close(y, capped);
    const std::vector<int32_t> rows = {2, 0, 2};
    gather(on.ctx, mat(y, 20000), mat(x, 20000), rows);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_TRUE(std::equal(y.begin() + static_cast<int64_t>(i) * 20000,
                             y.begin() + static_cast<int64_t>(i + 1) * 20000, x.begin() + rows[i] * 20000));
  }
}

TEST(Elementwise, LookupScalesRowsOfTheTable) {
  OpsContext on(kernels::best_table(), Arithmetic::f32, 2);
  const std::vector<float> values = random_floats(10 * 33, 13);
  const FloatTable table(values, 33);
  const std::vector<Token> tokens = {9, 0, 9, 4};
  std::vector<float> y(4 * 33);
  ASSERT_OK(lookup(on.ctx, mat(y, 33), table, tokens, 2));
  for (size_t i = 0; i < 4; ++i)
    for (size_t k = 0; k < 33; ++k) EXPECT_EQ(y[i * 33 + k], 2 * values[static_cast<size_t>(tokens[i]) * 33 + k]);
}

TEST(Elementwise, LookupPassesOnTheErrorOfARow) {
  OpsContext on(kernels::best_table(), Arithmetic::f32, 2);
  const FloatTable table(random_floats(10 * 8, 14), 8, 7);
  const std::vector<Token> tokens = {1, 2, 7, 3};
  std::vector<float> y(4 * 8);
  const Result<void> found = lookup(on.ctx, mat(y, 8), table, tokens, 1);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ErrorCode::io);
}

TEST(Elementwise, LogProbabilitiesAddUpToOne) {
  const std::vector<float> logits = random_floats(2 * 515, 15, 6);
  for (const kernels::Table& table : testing::kernel_tables()) {
    OpsContext on(table, Arithmetic::f32);
    double total = 0, sum = 0;
    for (size_t k = 0; k < 515; ++k) sum += std::exp(static_cast<double>(logits[515 + k]));
    for (Token token = 0; token < 515; ++token) {
      const double value = logprob(on.ctx, mat(logits, 515), 1, token);
      EXPECT_NEAR(value, static_cast<double>(logits[515 + static_cast<size_t>(token)]) - std::log(sum), 1e-5);
      total += std::exp(value);
    }
    EXPECT_NEAR(total, 1, 1e-5);
  }
}

TEST(Elementwise, ReadingAndWritingRespectStrides) {
  std::vector<float> wide(3 * 10, 1.0f);
  const Mat<float> part = mat(wide, 10).col_range(2, 4);
  std::vector<float> values(12), back(12);
  std::iota(values.begin(), values.end(), 0.0f);
  write(part, values);
  read(back, part);
  EXPECT_EQ(back, values);
  EXPECT_EQ(wide[12 + 2 - 10], 2.0f);
  EXPECT_EQ(wide[1], 1.0f);
  EXPECT_EQ(wide[6], 1.0f);
}

}  // namespace
}  // namespace facet::ops
