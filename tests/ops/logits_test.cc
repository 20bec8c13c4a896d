// The head against linear(), and rows whose softcap waits against rows that are capped.
#include "ops/logits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"
#include "ops/packed_linear.h"
#include "support/kernel_tables.h"
#include "support/special_floats.h"

namespace facet::ops {
namespace {

using testing::kInfinity;
using testing::kNaN;

using testing::OpsContext;
using testing::PackedLinear;

constexpr float kCap = 30;

TEST(Head, EqualsLinearAndKnowsTheLargestOfEveryBlock) {
  constexpr int64_t kHeadWidth = 64;
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const int64_t vocab : {17, 64, 65, 130, 1000}) {
      for (const int64_t rows : {1, 3, 100}) {
        if (testing::is_emulated(table) && rows * vocab > 5000) continue;
        const PackedLinear head_linear = testing::random_linear(table, DType::q4_0, 1, vocab, kHeadWidth, 1);
        const Linear* const linears[] = {&head_linear.linear};
        for (const int n_threads : {1, 2}) {
          OpsContext on(table, Arithmetic::fast, n_threads);
          const std::vector<float> x = testing::random_floats(rows * kHeadWidth, 2);
          Operand operand = *Operand::allocate(rows, kHeadWidth, forms_read_by(on.ctx, linears));
          prepare(on.ctx, operand, Mat<const float>(x.data(), rows, kHeadWidth));
          std::vector<float> expected(static_cast<size_t>(rows * vocab)), found = expected;
          std::vector<float> maxima(static_cast<size_t>(rows * logit_blocks(vocab)));
          linear(on.ctx, Mat<float>(expected.data(), rows, vocab), operand, head_linear.linear, {});
          head(on.ctx, Mat<float>(found.data(), rows, vocab), Mat<float>(maxima.data(), rows, logit_blocks(vocab)),
               operand, head_linear.linear, {});
          ASSERT_EQ(found, expected) << kernels::name(table.isa) << ' ' << vocab << ' ' << rows;
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t b = 0; b < logit_blocks(vocab); ++b) {
              const auto first = expected.begin() + i * vocab + b * kLogitBlock;
              ASSERT_EQ(maxima[static_cast<size_t>(i * logit_blocks(vocab) + b)],
                        *std::max_element(first, first + std::min(kLogitBlock, vocab - b * kLogitBlock)));
            }
          }
        }
      }
    }
  }
}

TEST(Head, ShowsObserversWhatAnyLinearShows) {
  struct Recorder : Observer {
    std::vector<float> inputs, outputs;
    std::vector<int32_t> rows;
    const Operand* operand = nullptr;
    void tap(std::string_view, int, Mat<float>, std::span<const int32_t>) override {}
    void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
    void linear_input(const LinearInput& input) override {
      EXPECT_EQ(input.id.role, LinearRole::head);
      inputs.resize(static_cast<size_t>(input.values.rows() * input.values.cols()));
      read(inputs, input.values);
      rows.assign(input.rows.begin(), input.rows.end());
      operand = input.operand;
    }
    void linear_output(const LinearOutput& output) override {
      EXPECT_EQ(output.id.role, LinearRole::head);
      outputs.resize(static_cast<size_t>(output.values.rows() * output.values.cols()));
      read(outputs, output.values);
    }
  };
  constexpr int64_t kHeadRows = 3, kVocab = 100, kHeadWidth = 64;
  const kernels::Table& table = kernels::best_table();
  OpsContext on(table, Arithmetic::fast);
  PackedLinear w = testing::random_linear(table, DType::q8_0, 1, kVocab, kHeadWidth, 3);
  w.linear.id.role = LinearRole::head;
  const Linear* const linears[] = {&w.linear};
  const std::vector<float> x = testing::random_floats(kHeadRows * kHeadWidth, 4);
  Operand operand = *Operand::allocate(kHeadRows, kHeadWidth, forms_read_by(on.ctx, linears));
  prepare(on.ctx, operand, Mat<const float>(x.data(), kHeadRows, kHeadWidth));
  std::vector<float> y(kHeadRows * kVocab), maxima(static_cast<size_t>(kHeadRows * logit_blocks(kVocab)));
  const std::vector<int32_t> rows = {4, 7, 9};
  Recorder of_linear, of_head;
  on.ctx.observer = &of_linear;
  linear(on.ctx, Mat<float>(y.data(), kHeadRows, kVocab), operand, w.linear, rows);
  on.ctx.observer = &of_head;
  head(on.ctx, Mat<float>(y.data(), kHeadRows, kVocab), Mat<float>(maxima.data(), kHeadRows, logit_blocks(kVocab)),
       operand, w.linear, rows);
  EXPECT_EQ(of_head.inputs, of_linear.inputs);
  EXPECT_EQ(of_head.outputs, of_linear.outputs);
  EXPECT_EQ(of_head.outputs, y);
  EXPECT_EQ(of_head.rows, rows);
  EXPECT_EQ(of_head.operand, &operand);
}

// A row of logits and all that belongs to it.
struct Row {
  OpsContext on;
  std::vector<float> raw, maxima;
  LogitScratch scratch;

  Row(const kernels::Table& table, std::vector<float> values) : on(table, Arithmetic::fast, 2), raw(std::move(values)) {
    maxima.resize(static_cast<size_t>(logit_blocks(size())));
    scratch.values.resize(raw.size());
    scratch.bounds.resize(maxima.size());
    block_maxima(on.ctx, Mat<float>(maxima.data(), 1, logit_blocks(size())), Mat<const float>(raw.data(), 1, size()));
  }
  int64_t size() const { return static_cast<int64_t>(raw.size()); }
  LogitRow logits(float cap) {
    return {on.ctx, Mat<const float>(raw.data(), 1, size()), Mat<const float>(maxima.data(), 1, logit_blocks(size())),
            cap, scratch};
  }
};

TEST(LogitRow, GivesBlocksAndValuesAsTheSoftcapMakesThem) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const int64_t n : {1, 63, 64, 500, 20000}) {
      if (testing::is_emulated(table) && n > 500) continue;
      Row row(table, testing::random_floats(n, 3, 20));
      for (const float cap : {0.0f, kCap}) {
        std::vector<float> expected = row.raw;
        if (cap > 0) softcap(row.on.ctx, Mat<float>(expected.data(), 1, n), cap);
        for (const bool whole_first : {false, true}) {
          LogitRow logits = row.logits(cap);
          ASSERT_EQ(logits.size(), n);
          if (whole_first) logits.values();
          std::vector<float> joined;
          for (int64_t b = 0; b < logit_blocks(n); ++b) {
            const std::span<const float> block = logits.block(b);
            joined.insert(joined.end(), block.begin(), block.end());
          }
          ASSERT_EQ(joined, expected) << kernels::name(table.isa);
          const std::span<const float> values = logits.values();
          ASSERT_TRUE(std::ranges::equal(values, expected));
        }
      }
    }
  }
}

// Where the kernels' tanh is put together from pieces its last digits need not rise: sweeps in small steps, with the
// largest of a block in front.
TEST(LogitRow, BoundsAreNotExceededAndHardlyTooLarge) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    const int64_t sweeps = testing::is_emulated(table) ? 20 : 20000;
    std::vector<float> raw;
    const std::vector<float> starts = testing::random_floats(sweeps, 4, 30);
    for (int64_t i = 0; i < sweeps; ++i) {
      float x = i % 2 == 0 ? starts[static_cast<size_t>(i)] : 1e-3f * starts[static_cast<size_t>(i)];
      for (int64_t j = 0; j < kLogitBlock; ++j) {
        raw.push_back(x);
        x = std::nextafter(x, -kInfinity);
      }
    }
    raw.insert(raw.end(), {0.0f, -0.0f, 1e-44f, -1e-44f, 400, 401, -kInfinity});
    Row row(table, raw);
    LogitRow logits = row.logits(kCap);
    const std::span<const float> bounds = logits.bounds(), values = logits.values();
    for (size_t b = 0; b < bounds.size(); ++b) {
      const size_t first = b * kLogitBlock;
      const float largest =
          *std::ranges::max_element(values.subspan(first, std::min<size_t>(kLogitBlock, values.size() - first)));
      ASSERT_GE(bounds[b], largest) << kernels::name(table.isa);
      ASSERT_LE(bounds[b], largest + 1e-5f * std::fabs(largest) + 1e-37f) << kernels::name(table.isa);
    }
  }
}

TEST(LogitRow, ShowsWhatIsNotANumber) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    std::vector<float> raw = testing::random_floats(300, 5, 20);
    raw[70] = kNaN;
    raw[130] = kInfinity;  // becomes the cap
    raw[200] = -kInfinity;
    Row row(table, raw);
    LogitRow logits = row.logits(kCap);
    const std::span<const float> bounds = logits.bounds();
    for (size_t b = 0; b < bounds.size(); ++b) EXPECT_EQ(std::isnan(bounds[b]), b == 1) << b;
    EXPECT_TRUE(std::isnan(logits.block(1)[6]));
    EXPECT_EQ(logits.block(2)[2], kCap);
    EXPECT_EQ(logits.block(3)[8], -kCap);
    LogitRow uncapped = row.logits(0);
    EXPECT_TRUE(std::isnan(uncapped.bounds()[1]));
    EXPECT_EQ(uncapped.bounds()[2], kInfinity);
  }
}

}  // namespace
}  // namespace facet::ops
