// Int8 keys and values: what is stored against what was given, products against double arithmetic on the stored codes,
// and every tier against the scalar one, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "kernels/kv_layout.h"
#include "kernels/table.h"
#include "kernels/values.h"
#include "support/kernel_tables.h"
#include "support/random_row.h"

namespace facet::kernels {
namespace {

using testing::random_row;

const KvType& int8_of(const Table& table) { return *table.kv(DType::i8); }

// One head of a block of keys and one of values, with the rows they were made of.
struct Blocks {
  int64_t d;
  std::vector<std::byte> k, v;
  std::vector<std::vector<float>> keys, values;

  Blocks(int64_t head_dim, uint64_t seed)
      : d(head_dim), k(static_cast<size_t>(kv_block_bytes(DType::i8, head_dim))), v(k.size()) {
    const KvType& kv = int8_of(usable_tables().front());
    for (int position = 0; position < kKvBlockKeys; ++position) {
      const uint64_t row = seed + static_cast<uint64_t>(position);
      keys.push_back(random_row(d, static_cast<float>(position) / 8, row));
      values.push_back(random_row(d, 2, row + 1000));
      kv.store_k(k.data(), position, keys.back().data(), d);
      kv.store_v(v.data(), position, values.back().data(), d);
    }
  }
  std::vector<float> key(int position) const {
    std::vector<float> row(static_cast<size_t>(d));
    int8_of(usable_tables().front()).load_k(row.data(), k.data(), position, d);
    return row;
  }
  std::vector<float> value(int position) const {
    std::vector<float> row(static_cast<size_t>(d));
    int8_of(usable_tables().front()).load_v(row.data(), v.data(), position, d);
    return row;
  }
};

float largest(const std::vector<float>& row) {
  float max = 0;
  for (const float x : row) max = std::max(max, std::fabs(x));
  return max;
}

std::vector<std::byte> coded(const Table& table, const std::vector<float>& queries, int64_t d) {
  const int64_t n = static_cast<int64_t>(queries.size()) / d, bytes = coded_query_bytes(d);
  std::vector<std::byte> all(static_cast<size_t>(n * bytes));
  for (int64_t i = 0; i < n; ++i) int8_of(table).code_query(all.data() + i * bytes, queries.data() + i * d, d);
  return all;
}

std::vector<float> scores_of(const Table& table, const std::vector<float>& queries, const Blocks& blocks, float scale) {
  const int64_t n = static_cast<int64_t>(queries.size()) / blocks.d;
  const std::vector<std::byte> q = coded(table, queries, blocks.d);
  std::vector<float> scores(static_cast<size_t>(n * kKvBlockKeys) + 1, 77.0f);
  int8_of(table).scores_coded(scores.data(), q.data(), coded_query_bytes(blocks.d), n, blocks.k.data(), blocks.d,
                              scale);
  EXPECT_EQ(scores.back(), 77.0f);
  scores.pop_back();
  return scores;
}

std::vector<float> weights(int64_t n, uint64_t seed) {
  std::vector<float> p = random_row(n * kKvBlockKeys, 0.5f, seed);
  for (float& x : p) x = std::fabs(x) < 0.1f ? 0 : std::fabs(x);
  return p;
}

// Calls check(table, head_dim) for all tables and head widths.
template <class Check>
void for_every_int8_head(const Check& check) {
  for (const Table& table : testing::kernel_tables()) {
    for (const int64_t d : kHeadDims) {
      SCOPED_TRACE(::testing::Message() << name(table.isa) << (testing::is_emulated(table) ? " emulated" : "")
                                        << ", head of " << d);
      check(table, d);
    }
  }
}

TEST(Int8Attention, StoresEveryRowWithinHalfOfItsStep) {
  for (const int64_t d : kHeadDims) {
    const Blocks blocks(d, 100);
    for (int position = 0; position < kKvBlockKeys; ++position) {
      const size_t at = static_cast<size_t>(position);
      const std::vector<float> key = blocks.key(position), value = blocks.value(position);
      for (size_t i = 0; i < key.size(); ++i) {
        EXPECT_NEAR(key[i], blocks.keys[at][i], largest(blocks.keys[at]) / 127 * 0.5001);
        EXPECT_NEAR(value[i], blocks.values[at][i], largest(blocks.values[at]) / 127 * 0.5001);
      }
    }
  }
}

TEST(Int8Attention, ShowsARowThatIsNotFinite) {
  const KvType& kv = int8_of(usable_tables().front());
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    Blocks blocks(40, 200);
    blocks.keys[3][17] = blocks.values[3][39] = bad;
    kv.store_k(blocks.k.data(), 3, blocks.keys[3].data(), 40);
    kv.store_v(blocks.v.data(), 3, blocks.values[3].data(), 40);
    for (const float x : blocks.key(3)) EXPECT_TRUE(std::isnan(x));
    for (const float x : blocks.value(3)) EXPECT_TRUE(std::isnan(x));
    for (const Table& table : testing::kernel_tables()) {
      const std::vector<float> scores = scores_of(table, random_row(40, 1, 1), blocks, 1);
      for (size_t key = 0; key < kKvBlockKeys; ++key) EXPECT_EQ(std::isnan(scores[key]), key == 3);
      std::vector<float> q = random_row(40, 1, 1), acc(40), p = weights(1, 9);
      q[5] = bad;
      for (const float x : scores_of(table, q, blocks, 1)) EXPECT_TRUE(std::isnan(x));
      int8_of(table).accumulate(acc.data(), 40, p.data(), 1, blocks.v.data(), 40);
      for (const float x : acc) EXPECT_TRUE(std::isnan(x));
    }
  }
}

TEST(Int8Attention, HasZerosThatAreZero) {
  for (const Table& table : testing::kernel_tables()) {
    const KvType& kv = int8_of(table);
    Blocks blocks(48, 300);
    const std::vector<float> zeros(48, 0.0f);
    kv.store_k(blocks.k.data(), 7, zeros.data(), 48);
    kv.store_v(blocks.v.data(), 7, zeros.data(), 48);
    kv.zero_v(blocks.v.data(), 9, 48);
    EXPECT_EQ(blocks.key(7), zeros);
    EXPECT_EQ(blocks.value(7), zeros);
    EXPECT_NE(blocks.value(8), zeros);
    for (int position = 9; position < kKvBlockKeys; ++position) EXPECT_EQ(blocks.value(position), zeros);
    EXPECT_EQ(scores_of(table, random_row(48, 1, 2), blocks, 1)[7], 0.0f);
    for (const float score : scores_of(table, zeros, blocks, 1)) EXPECT_EQ(score, 0.0f);
    std::vector<float> p(kKvBlockKeys, 0.0f), acc = random_row(48, 3, 4);
    const std::vector<float> before = acc;
    kv.accumulate(acc.data(), 48, p.data(), 1, blocks.v.data(), 48);
    EXPECT_EQ(acc, before);
    std::ranges::fill(blocks.k, std::byte{0});  // a block as it is taken: nothing may be NaN
    for (const float score : scores_of(table, random_row(48, 1, 2), blocks, 1)) EXPECT_EQ(score, 0.0f);
  }
}

// A query's codes are 2^-15 of its largest value apart, at worst 2^-12 (the widest heads): half of that times Σ|key|.
TEST(Int8Attention, ScoresEveryKeyWithinTheStepOfTheQuery) {
  for_every_int8_head([](const Table& table, int64_t d) {
    if (testing::is_emulated(table) && d > 72) return;
    const Blocks blocks(d, 400);
    const std::vector<float> q = random_row(3 * d, 3, 500), scores = scores_of(table, q, blocks, 0.25f);
    for (int64_t i = 0; i < 3; ++i) {
      const std::vector<float> query(q.begin() + i * d, q.begin() + (i + 1) * d);
      const double step = static_cast<double>(largest(query)) / query_code_max(d);
      for (int key = 0; key < kKvBlockKeys; ++key) {
        const std::vector<float> row = blocks.key(key);
        double sum = 0, keys = 0, size = 0;
        for (size_t j = 0; j < row.size(); ++j) {
          sum += double{query[j]} * double{row[j]};
          size += std::fabs(double{query[j]} * double{row[j]});
          keys += std::fabs(row[j]);
        }
        ASSERT_NEAR(scores[static_cast<size_t>(i * kKvBlockKeys + key)], 0.25 * sum,
                    0.25 * (0.5001 * step * keys + 8 * kUnit * size));
      }
    }
  });
}

// A weight is off by half of 1/32767 of the largest weight of its block.
TEST(Int8Attention, AddsWeightedValuesWithinTheStepOfTheWeights) {
  for_every_int8_head([](const Table& table, int64_t d) {
    if (testing::is_emulated(table) && d > 72) return;
    const Blocks blocks(d, 600);
    const std::vector<float> p = weights(3, 700), before = random_row(3 * (d + 3), 1, 800);
    std::vector<float> acc = before;
    int8_of(table).accumulate(acc.data(), d + 3, p.data(), 3, blocks.v.data(), d);
    std::vector<std::vector<float>> values;
    for (int key = 0; key < kKvBlockKeys; ++key) values.push_back(blocks.value(key));
    for (size_t i = 0; i < 3; ++i) {
      double most = 0;
      for (size_t key = 0; key < kKvBlockKeys; ++key)
        most = std::max(most, double{p[i * kKvBlockKeys + key]} * double{largest(values[key])} / 127);
      for (size_t j = 0; j < static_cast<size_t>(d + 3); ++j) {
        const size_t at = i * static_cast<size_t>(d + 3) + j;
        if (j >= static_cast<size_t>(d)) {
          ASSERT_EQ(acc[at], before[at]) << "written between two rows";
          continue;
        }
        double sum = before[at], size = std::fabs(sum);
        for (size_t key = 0; key < kKvBlockKeys; ++key) {
          const double product = double{p[i * kKvBlockKeys + key]} * double{values[key][j]};
          sum += product;
          size += std::fabs(product);
        }
        ASSERT_NEAR(acc[at], sum, most / 32767 * 0.51 * 127 * kKvBlockKeys + 8 * kUnit * size);
      }
    }
  });
}

// Every number of queries takes other tiles; the scalar tier has none.
TEST(Int8Attention, GivesTheScalarBitsOnEveryTierAndInEveryTile) {
  const Table& scalar = usable_tables().front();
  for_every_int8_head([&](const Table& table, int64_t d) {
    const Blocks blocks(d, 900);
    for (const int64_t n : {0, 1, 2, 3, 4, 5, 7, 8, 13, 33}) {
      if (d > 72 && n != 7 && n != 13) continue;
      if (testing::is_emulated(table) && n * d > 13 * 72) continue;
      const std::vector<float> q = random_row(n * d, 3, 1000), p = weights(n, 1100);
      EXPECT_TRUE(same_bits(scores_of(table, q, blocks, 0.3f), scores_of(scalar, q, blocks, 0.3f))) << n;
      std::vector<float> acc = random_row(n * d, 1, 1200), expected = acc;
      int8_of(table).accumulate(acc.data(), d, p.data(), n, blocks.v.data(), d);
      int8_of(scalar).accumulate(expected.data(), d, p.data(), n, blocks.v.data(), d);
      EXPECT_TRUE(same_bits(acc, expected)) << n;
    }
  });
}

// All codes as large as they can be, of either sign: sums reach their bounds.
TEST(Int8Attention, HoldsItsLargestSums) {
  for (const Table& table : testing::kernel_tables()) {
    for (const int64_t d : {256, 512, 544, 4096}) {
      if (testing::is_emulated(table) && d > 544) continue;
      const KvType& kv = int8_of(table);
      std::vector<std::byte> k(static_cast<size_t>(kv.block_bytes(d))), v(k.size());
      const std::vector<float> up(static_cast<size_t>(d), 1.0f), down(static_cast<size_t>(d), -1.0f);
      for (int key = 0; key < kKvBlockKeys; ++key) {
        kv.store_k(k.data(), key, (key % 2 == 0 ? up : down).data(), d);
        kv.store_v(v.data(), key, down.data(), d);
      }
      std::vector<std::byte> q(static_cast<size_t>(coded_query_bytes(d)));
      std::vector<float> scores(kKvBlockKeys), p(kKvBlockKeys, 1.0f), acc(up.size());
      for (const float sign : {1.0f, -1.0f}) {
        kv.code_query(q.data(), (sign > 0 ? up : down).data(), d);
        kv.scores_coded(scores.data(), q.data(), coded_query_bytes(d), 1, k.data(), d, 1);
        for (size_t key = 0; key < kKvBlockKeys; ++key)
          EXPECT_NEAR(scores[key], (key % 2 == 0 ? sign : -sign) * static_cast<float>(d),
                      8 * kUnit * static_cast<double>(d));
      }
      kv.accumulate(acc.data(), d, p.data(), 1, v.data(), d);
      for (const float x : acc) EXPECT_NEAR(x, -64.0f, 64 * 8 * kUnit);
    }
  }
}

}  // namespace
}  // namespace facet::kernels
