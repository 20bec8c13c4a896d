// Every tier's attention kernels against plain double arithmetic; those of int8: int8_attention_test.cc. kUnit is half
// an ulp of 1, one rounding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/kv_layout.h"
#include "kernels/table.h"
#include "kernels/values.h"
#include "support/kernel_tables.h"
#include "support/random_row.h"
#include "tensor/half.h"

namespace facet::kernels {
namespace {

using testing::random_row;

constexpr SoftmaxState kEmpty{.max = -kInfinity, .sum = 0};

// A sum of products in double, and of their magnitudes, which bounds what rounding does to it.
struct Sum {
  double value = 0, size = 0;
  void add(double product) {
    value += product;
    size += std::fabs(product);
  }
};

float stored(DType type, float x) {
  if (type == DType::f16) return half_to_float(float_to_half(x));
  if (type == DType::bf16) return bf16_to_float(float_to_bf16(x));
  return x;
}

// A block of 64 keys or values, and what it holds.
struct Block {
  std::vector<std::byte> bytes;
  std::vector<float> cells;  // [position][d]

  Block(const KvType& kv, int64_t d, bool keys, uint64_t seed) : bytes(static_cast<size_t>(kv.block_bytes(d))) {
    for (int position = 0; position < kKvBlockKeys; ++position) {
      const std::vector<float> row = random_row(d, 2, seed + static_cast<uint64_t>(position));
      (keys ? kv.store_k : kv.store_v)(bytes.data(), position, row.data(), d);
      for (float x : row) cells.push_back(stored(kv.type, x));
    }
  }
};

// Calls check(table, kv, head_dim) for all tables, float storage types and head widths.
template <class Check>
void for_every_head(const Check& check) {
  for (const Table& table : testing::kernel_tables()) {
    for (const KvType& kv : table.kv_types) {
      if (kv.type == DType::i8) continue;
      for (int64_t d : kHeadDims) {
        SCOPED_TRACE(::testing::Message() << name(table.isa) << (testing::is_emulated(table) ? " emulated, " : ", ")
                                          << facet::name(kv.type) << ", head of " << d);
        check(table, kv, d);
      }
    }
  }
}

TEST(AttentionKernels, StoreEveryTypeOfCache) {
  for (const Table& table : testing::kernel_tables()) {
    for (DType type : {DType::f32, DType::f16, DType::bf16, DType::i8}) EXPECT_NE(table.kv(type), nullptr);
    EXPECT_EQ(table.kv(DType::q8_0), nullptr);
  }
}

TEST(AttentionKernels, GiveBackWhatWasStored) {
  for_every_head([](const Table&, const KvType& kv, int64_t d) {
    const Block k(kv, d, true, 100), v(kv, d, false, 200);
    std::vector<float> row(static_cast<size_t>(d));
    for (int position = 0; position < kKvBlockKeys; ++position) {
      const auto place = static_cast<std::ptrdiff_t>(position * d);
      kv.load_k(row.data(), k.bytes.data(), position, d);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), k.cells.begin() + place)) << "key " << position;
      kv.load_v(row.data(), v.bytes.data(), position, d);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), v.cells.begin() + place)) << "value " << position;
    }
  });
}

TEST(AttentionKernels, ScoreEveryKey) {
  for_every_head([](const Table& table, const KvType& kv, int64_t d) {
    const Block k(kv, d, true, 300);
    for (int64_t n : {0, 1, 2, 3, 7, 8, 13, 32}) {
      if (testing::is_emulated(table) && n > 13) continue;
      const int64_t stride = d + 5;
      const std::vector<float> q = random_row(n * stride, 3, 400);
      std::vector<float> scores(static_cast<size_t>(n * kKvBlockKeys) + 1, 77.0f);
      kv.scores(scores.data(), q.data(), stride, n, k.bytes.data(), d, 0.25f);
      EXPECT_EQ(scores.back(), 77.0f);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t key = 0; key < kKvBlockKeys; ++key) {
          Sum sum;
          for (int64_t j = 0; j < d; ++j)
            sum.add(double{q[static_cast<size_t>(i * stride + j)]} * double{k.cells[static_cast<size_t>(key * d + j)]});
          ASSERT_NEAR(scores[static_cast<size_t>(i * kKvBlockKeys + key)], 0.25 * sum.value,
                      0.25 * kUnit * static_cast<double>(d + 1) * sum.size)
              << "query " << i << " key " << key;
        }
      }
    }
  });
}

TEST(AttentionKernels, AddWeightedValues) {
  for_every_head([](const Table& table, const KvType& kv, int64_t d) {
    const Block v(kv, d, false, 500);
    for (int64_t n : {0, 1, 2, 3, 7, 8, 13}) {
      const int64_t stride = d + 3;
      const std::vector<float> before = random_row(n * stride, 1, 600);
      std::vector<float> p = random_row(n * kKvBlockKeys, 0.5f, 700), acc = before;
      for (float& x : p) x = std::fabs(x);
      kv.accumulate(acc.data(), stride, p.data(), n, v.bytes.data(), d);
      for (int64_t i = 0; i < n * stride; ++i) {
        const size_t at = static_cast<size_t>(i);
        Sum sum;
        sum.add(before[at]);
        if (i % stride >= d) {
          ASSERT_EQ(acc[at], before[at]) << "written between two rows";
          continue;
        }
        for (int64_t key = 0; key < kKvBlockKeys; ++key)
          sum.add(double{p[static_cast<size_t>(i / stride * kKvBlockKeys + key)]} *
                  double{v.cells[static_cast<size_t>(key * d + i % stride)]});
        ASSERT_NEAR(acc[at], sum.value, kUnit * (kKvBlockKeys + 1) * sum.size) << i;
      }
    }
    static_cast<void>(table);
  });
}

std::vector<uint16_t> rounded(const std::vector<float>& values) {
  std::vector<uint16_t> bf16;
  for (float x : values) bf16.push_back(float_to_bf16(x));
  return bf16;
}

// Products of bf16 in twos: exact sums of rounded factors, within the rounding of the sums.
TEST(AttentionKernels, MultiplyPairsOfBf16) {
  bool some = false;
  for_every_head([&](const Table& table, const KvType& kv, int64_t d) {
    EXPECT_EQ(kv.scores_bf16 == nullptr, kv.accumulate_bf16 == nullptr);
    EXPECT_EQ(kv.scores_bf16 != nullptr, table.isa == Isa::avx512 && kv.type == DType::bf16);
    if (kv.scores_bf16 == nullptr) return;
    some = true;
    const Block k(kv, d, true, 1100), v(kv, d, false, 1200);
    const int64_t n = 15, stride = padded_head(d);
    std::vector<float> q = random_row(n * stride, 3, 1300), p = random_row(n * kKvBlockKeys, 1, 1400);
    for (int64_t i = 0; i < n * stride; ++i)
      if (i % stride >= d) q[static_cast<size_t>(i)] = 0;
    for (float& x : p) x = std::fabs(x);
    const std::vector<uint16_t> q16 = rounded(q), p16 = rounded(p);
    std::vector<float> scores(static_cast<size_t>(n * kKvBlockKeys)), acc(static_cast<size_t>(n * stride), 1.0f);
    kv.scores_bf16(scores.data(), q16.data(), stride, n, k.bytes.data(), d, 0.5f);
    kv.accumulate_bf16(acc.data(), stride, p16.data(), n, v.bytes.data(), d);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t key = 0; key < kKvBlockKeys; ++key) {
        Sum sum;
        for (int64_t j = 0; j < d; ++j)
          sum.add(double{bf16_to_float(q16[static_cast<size_t>(i * stride + j)])} *
                  double{k.cells[static_cast<size_t>(key * d + j)]});
        ASSERT_NEAR(scores[static_cast<size_t>(i * kKvBlockKeys + key)], 0.5 * sum.value,
                    kUnit * static_cast<double>(d + 2) * sum.size);
      }
      for (int64_t j = 0; j < d; ++j) {
        Sum sum;
        sum.add(1);
        for (int64_t key = 0; key < kKvBlockKeys; ++key)
          sum.add(double{bf16_to_float(p16[static_cast<size_t>(i * kKvBlockKeys + key)])} *
                  double{v.cells[static_cast<size_t>(key * d + j)]});
        ASSERT_NEAR(acc[static_cast<size_t>(i * stride + j)], sum.value, kUnit * (kKvBlockKeys + 2) * sum.size);
      }
      // The row law: a query alone gets the same bits.
      std::vector<float> one(kKvBlockKeys), one_acc(static_cast<size_t>(stride), 1.0f);
      kv.scores_bf16(one.data(), q16.data() + i * stride, stride, 1, k.bytes.data(), d, 0.5f);
      EXPECT_EQ(std::memcmp(one.data(), scores.data() + i * kKvBlockKeys, sizeof(float) * kKvBlockKeys), 0);
      kv.accumulate_bf16(one_acc.data(), stride, p16.data() + i * kKvBlockKeys, 1, v.bytes.data(), d);
      EXPECT_EQ(std::memcmp(one_acc.data(), acc.data() + i * stride, sizeof(float) * static_cast<size_t>(d)), 0);
    }
  });
  if (!some) GTEST_SKIP() << "no tier here multiplies pairs";
}

TEST(AttentionKernels, GiveAQueryTheSameBitsInEveryTile) {
  for_every_head([](const Table&, const KvType& kv, int64_t d) {
    const int64_t n = 15;  // tiles of eight, four, two and one
    const Block k(kv, d, true, 800), v(kv, d, false, 900);
    const std::vector<float> q = random_row(n * d, 3, 1000);
    std::vector<float> scores(static_cast<size_t>(n * kKvBlockKeys)), one(kKvBlockKeys);
    std::vector<float> acc(static_cast<size_t>(n * d)), one_acc(static_cast<size_t>(d));
    kv.scores(scores.data(), q.data(), d, n, k.bytes.data(), d, 1);
    kv.accumulate(acc.data(), d, scores.data(), n, v.bytes.data(), d);
    for (int64_t i = 0; i < n; ++i) {
      kv.scores(one.data(), q.data() + i * d, d, 1, k.bytes.data(), d, 1);
      EXPECT_EQ(std::memcmp(one.data(), scores.data() + i * kKvBlockKeys, sizeof(float) * kKvBlockKeys), 0);
      std::fill(one_acc.begin(), one_acc.end(), 0.0f);
      kv.accumulate(one_acc.data(), d, one.data(), 1, v.bytes.data(), d);
      EXPECT_EQ(std::memcmp(one_acc.data(), acc.data() + i * d, sizeof(float) * static_cast<size_t>(d)), 0);
    }
  });
}

struct Step {
  std::vector<float> scores = random_row(kKvBlockKeys, 8, 42);
  SoftmaxState state = kEmpty;
  std::vector<float> acc = std::vector<float>(40, 0.0f);

  void run(const Table& table, int begin, int end) {
    table.softmax_step(scores.data(), &state, acc.data(), 40, &begin, &end, 1, 40);
  }
};

TEST(SoftmaxStep, MatchesDoubleArithmeticInsideTheMask) {
  for (const Table& table : testing::kernel_tables()) {
    for (const auto& [begin, end] :
         std::vector<std::pair<int, int>>{{0, 64}, {0, 1}, {63, 64}, {5, 17}, {16, 48}, {31, 33}}) {
      Step step;
      const std::vector<float> scores = step.scores;
      step.state = {.max = 3.0f, .sum = 2.5f};
      std::fill(step.acc.begin(), step.acc.end(), 7.0f);
      step.run(table, begin, end);
      double max = 3;
      for (int key = begin; key < end; ++key) max = std::max<double>(max, scores[static_cast<size_t>(key)]);
      double sum = 2.5 * std::exp(3 - max);
      for (int key = 0; key < kKvBlockKeys; ++key) {
        const size_t at = static_cast<size_t>(key);
        const double p = key >= begin && key < end ? std::exp(scores[at] - max) : 0;
        EXPECT_NEAR(step.scores[at], p, 20 * kUnit * p) << key;  // a difference of at most 16 in size, exp
        sum += p;
      }
      EXPECT_EQ(step.state.max, static_cast<float>(max));
      EXPECT_NEAR(step.state.sum, sum, 30 * kUnit * sum);
      const double shrunk = 7 * std::exp(3 - max);
      for (float x : step.acc) EXPECT_NEAR(x, shrunk, 20 * kUnit * shrunk);
    }
  }
}

TEST(SoftmaxStep, LeavesAQueryWithoutVisibleKeysAlone) {
  for (const Table& table : testing::kernel_tables()) {
    Step step;
    step.state = {.max = -2.0f, .sum = 3.0f};
    std::fill(step.acc.begin(), step.acc.end(), -0.0f);
    step.scores[5] = kNaN;
    step.run(table, 9, 9);
    EXPECT_EQ(step.state.max, -2.0f);
    EXPECT_EQ(step.state.sum, 3.0f);
    for (float p : step.scores) EXPECT_EQ(p, 0.0f);
    for (float x : step.acc) EXPECT_TRUE(x == 0 && std::signbit(x));
  }
}

TEST(SoftmaxStep, NeverLetsAMaskedScoreThrough) {
  for (const Table& table : testing::kernel_tables()) {
    for (const float bad : {kNaN, kInfinity, -kInfinity, 1e38f}) {
      Step clean, dirty;
      for (size_t key = 0; key < kKvBlockKeys; ++key)
        if (key < 10 || key >= 50) dirty.scores[key] = bad;
      clean.run(table, 10, 50);
      dirty.run(table, 10, 50);
      EXPECT_EQ(clean.scores, dirty.scores);
      EXPECT_EQ(clean.state.max, dirty.state.max);
      EXPECT_EQ(clean.state.sum, dirty.state.sum);
    }
  }
}

TEST(SoftmaxStep, ShowsAVisibleNaN) {
  for (const Table& table : testing::kernel_tables()) {
    for (size_t key = 0; key < kKvBlockKeys; ++key) {
      Step step;
      step.scores[key] = kNaN;
      step.run(table, 0, 64);
      EXPECT_TRUE(std::isnan(step.state.sum)) << key;
    }
  }
}

TEST(SoftmaxStep, SurvivesHugeScores) {
  for (const Table& table : testing::kernel_tables()) {
    Step step;
    std::fill(step.scores.begin(), step.scores.end(), -3e38f);
    step.scores[20] = step.scores[40] = 3e38f;
    step.run(table, 0, 64);
    EXPECT_EQ(step.state.sum, 2.0f);
    EXPECT_EQ(step.scores[20], 1.0f);
    EXPECT_EQ(step.scores[0], 0.0f);
  }
}

TEST(SoftmaxFold, IsOneSoftmaxOverBothGroups) {
  for (const Table& table : testing::kernel_tables()) {
    for (int64_t d : {1, 8, 17, 256}) {
      const std::vector<float> acc_a = random_row(d, 2, 1), acc_b = random_row(d, 2, 2);
      for (const float max_b : {-5.0f, 1.5f, 4.0f, 300.0f}) {
        SoftmaxState a{.max = 1.5f, .sum = 3}, b{.max = max_b, .sum = 2};
        std::vector<float> acc = acc_a;
        table.softmax_fold(&a, acc.data(), &b, acc_b.data(), d);
        const double max = std::max(1.5f, max_b), of_a = std::exp(1.5 - max), of_b = std::exp(max_b - max);
        EXPECT_EQ(a.max, static_cast<float>(max));
        EXPECT_NEAR(a.sum, 3 * of_a + 2 * of_b, 16 * kUnit * a.sum);
        for (size_t i = 0; i < acc.size(); ++i) {
          const double first = acc_a[i] * of_a, second = acc_b[i] * of_b;
          EXPECT_NEAR(acc[i], first + second, 16 * kUnit * (std::fabs(first) + std::fabs(second)) + 0x1p-140);
        }
      }
    }
  }
}

TEST(SoftmaxFold, IgnoresAGroupWithoutVisibleKeys) {
  for (const Table& table : testing::kernel_tables()) {
    SoftmaxState a{.max = 1.5f, .sum = 3}, b = kEmpty;
    std::vector<float> acc = {1, -0.0f, 3}, acc_b(3, 0.0f);
    table.softmax_fold(&a, acc.data(), &b, acc_b.data(), 3);
    EXPECT_EQ(a.max, 1.5f);
    EXPECT_EQ(a.sum, 3.0f);
    EXPECT_TRUE(acc[0] == 1 && std::signbit(acc[1]) && acc[2] == 3);
  }
}

TEST(SoftmaxFold, StartsFromNothing) {
  for (const Table& table : testing::kernel_tables()) {
    SoftmaxState a = kEmpty, b{.max = -7, .sum = 2};
    std::vector<float> acc(5, 0.0f);
    const std::vector<float> acc_b = {1, 2, -3, 4, 0.1f};
    table.softmax_fold(&a, acc.data(), &b, acc_b.data(), 5);
    EXPECT_EQ(a.max, -7.0f);
    EXPECT_EQ(a.sum, 2.0f);
    EXPECT_EQ(acc, acc_b);
  }
}

}  // namespace
}  // namespace facet::kernels
