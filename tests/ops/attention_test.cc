// attend() against softmax attention in double, and the row law: the same bits however the rows are cut.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iostream>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"
#include "ops/access.h"
#include "support/expect.h"
#include "support/kernel_tables.h"
#include "tensor/half.h"

namespace facet::ops {
namespace {

float stored(DType type, float x) {
  if (type == DType::f16) return half_to_float(float_to_half(x));
  if (type == DType::bf16) return bf16_to_float(float_to_bf16(x));
  return x;
}

Matrix<float> random_matrix(int64_t rows, int64_t cols, uint64_t seed, float size = 1) {
  Random random(seed);
  auto m = Matrix<float>::allocate(rows, cols).value();
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) row(m.view(), i)[j] = static_cast<float>(2 * random.uniform() - 1) * size;
  return m;
}

struct Setup {
  const kernels::Table* table = &kernels::best_table();
  int64_t heads = 4, kv_heads = 2, head_dim = 16;
  std::vector<int64_t> lengths = {100};  // of each sequence
  int64_t window = 0;                    // 0: full
  DType type = DType::f32;
  Arithmetic arithmetic = Arithmetic::f32;
  float scale = 0.3f;
  float outlier = 1;  // what the third component of every key and value is multiplied by
};

// A cache with sequences in it, everything nobody may read poisoned.
class World {
 public:
  explicit World(const Setup& s) : s_(s), shape_{s.heads, s.kv_heads, s.head_dim, s.scale} {
    int64_t n_blocks = 1;
    for (int64_t length : s.lengths) n_blocks += (length + 63) / 64;
    const KvLayerShape layer{.pool = KvPool::full,
                             .kv_heads = static_cast<int32_t>(s.kv_heads),
                             .head_dim = static_cast<int32_t>(s.head_dim),
                             .k = s.type,
                             .v = s.type};
    blocks_ = KvBlocks::create(*s.table, {&layer, 1}, 0, n_blocks).value();
    for (BlockId id = 0; id < n_blocks; ++id) blocks_.poison(KvPool::full, id);
    BlockId next = static_cast<BlockId>(n_blocks);
    ThreadPool pool(1);
    Context ctx{.kernels = s.table, .pool = &pool};
    for (size_t i = 0; i < s.lengths.size(); ++i) {
      std::vector<BlockId>& table = tables_.emplace_back();
      for (int64_t p = 0; p < s.lengths[i]; p += 64) table.push_back(--next);  // blocks in falling order
      keys_.push_back(random_matrix(s.lengths[i], s.kv_heads * s.head_dim, 10 + i, 2));
      values_.push_back(random_matrix(s.lengths[i], s.kv_heads * s.head_dim, 20 + i));
      for (Matrix<float>* m : {&keys_.back(), &values_.back()})
        for (int64_t p = 0; p < s.lengths[i]; ++p)
          for (int64_t head = 0; head < s.kv_heads; ++head) row(m->view(), p)[head * s.head_dim + 2] *= s.outlier;
      write_kv(ctx, {.blocks = &blocks_, .layer = 0, .table = table, .first_position = 0}, keys_[i].view(),
               values_[i].view());
    }
    for (size_t i = 0; i < s.lengths.size(); ++i)
      views_.push_back({.blocks = &blocks_, .layer = 0, .table = tables_[i], .end = s.lengths[i]});
  }

  QueryRow sees(int32_t slot, int64_t position) const {
    const int64_t begin = s_.window == 0 ? 0 : std::max<int64_t>(0, position + 1 - s_.window);
    return {.slot = slot, .begin = static_cast<int32_t>(begin), .end = static_cast<int32_t>(position + 1)};
  }

  // Output of the given rows, `chunk` rows a call.
  Matrix<float> attend(Matrix<float>& q, const std::vector<QueryRow>& rows, int threads, int64_t chunk) {
    ThreadPool pool(threads);
    Context ctx{.kernels = s_.table, .pool = &pool, .arithmetic = s_.arithmetic};
    const int64_t t = static_cast<int64_t>(rows.size());
    AttentionScratch scratch = AttentionScratch::allocate(threads, t, s_.heads, s_.head_dim, 1 << 20).value();
    auto out = Matrix<float>::allocate(t, s_.heads * s_.head_dim).value();
    for (int64_t first = 0; first < t; first += chunk) {
      const int64_t n = std::min(chunk, t - first);
      ops::attend(ctx, out.view().row_range(first, n), q.view().row_range(first, n), views_,
                  std::span(rows).subspan(static_cast<size_t>(first), static_cast<size_t>(n)), shape_, scratch);
    }
    return out;
  }

  Matrix<float> attend(Matrix<float>& q, const std::vector<QueryRow>& rows) {
    return attend(q, rows, 1, static_cast<int64_t>(rows.size()));
  }

  // One output value by the formula.
  std::vector<double> expected(const float* q, const QueryRow& r, int64_t head) {
    const int64_t d = s_.head_dim, at = head / (s_.heads / s_.kv_heads) * d;
    const size_t slot = static_cast<size_t>(r.slot);
    std::vector<double> scores;
    double max = -HUGE_VAL, sum = 0;
    for (int64_t p = r.begin; p < r.end; ++p) {
      double score = 0;
      for (int64_t i = 0; i < d; ++i)
        score += static_cast<double>(q[head * d + i]) * stored(s_.type, row(keys_[slot].view(), p)[at + i]);
      scores.push_back(score * static_cast<double>(shape_.scale));
      max = std::max(max, scores.back());
    }
    std::vector<double> out(static_cast<size_t>(d));
    for (size_t k = 0; k < scores.size(); ++k) {
      const double e = std::exp(scores[k] - max);
      sum += e;
      for (int64_t i = 0; i < d; ++i)
        out[static_cast<size_t>(i)] +=
            e * stored(s_.type, row(values_[slot].view(), r.begin + static_cast<int64_t>(k))[at + i]);
    }
    for (double& x : out) x /= sum;
    return out;
  }

  // Scores reach |q| |k| d scale in size and carry float errors of that size; values are below 1.
  void check(Matrix<float>& q, const std::vector<QueryRow>& rows) { check(q, rows, 0); }
  // more: what the arithmetic adds to the bound.
  void check(Matrix<float>& q, const std::vector<QueryRow>& rows, double more) {
    Matrix<float> out = attend(q, rows);
    const double score = 2 * 2 * static_cast<double>(shape_.scale) * static_cast<double>(s_.head_dim);
    const double bound = more + 0x1p-24 * (score * 0.25 * static_cast<double>(s_.head_dim) + 600);
    for (size_t t = 0; t < rows.size(); ++t) {
      for (int64_t head = 0; head < s_.heads; ++head) {
        const std::vector<double> want = expected(row(q.view(), static_cast<int64_t>(t)), rows[t], head);
        for (size_t i = 0; i < want.size(); ++i)
          ASSERT_NEAR(row(out.view(), static_cast<int64_t>(t))[head * s_.head_dim + static_cast<int64_t>(i)], want[i],
                      bound)
              << "row " << t << " head " << head << " component " << i;
      }
    }
  }

  void check_reading(double bound) {
    std::vector<float> k(static_cast<size_t>(s_.head_dim)), v(k.size());
    for (int64_t position = 0; position < s_.lengths[0]; ++position) {
      for (int64_t head = 0; head < s_.kv_heads; ++head) {
        read_kv(k, v, views_[0], head, position);
        for (int64_t i = 0; i < s_.head_dim; ++i) {
          const int64_t at = head * s_.head_dim + i;
          ASSERT_NEAR(k[static_cast<size_t>(i)], row(keys_[0].view(), position)[at], bound) << name(s_.type);
          ASSERT_NEAR(v[static_cast<size_t>(i)], row(values_[0].view(), position)[at], bound) << name(s_.type);
        }
      }
    }
  }

  // |out - exact| / |exact|, exact being what keys and values would give that were stored as they are.
  double relative_error(Matrix<float>& q, const std::vector<QueryRow>& rows) {
    Matrix<float> out = attend(q, rows);
    double error = 0, size = 0;
    const DType type = std::exchange(s_.type, DType::f32);
    for (size_t t = 0; t < rows.size(); ++t) {
      for (int64_t head = 0; head < s_.heads; ++head) {
        const std::vector<double> want = expected(row(q.view(), static_cast<int64_t>(t)), rows[t], head);
        for (size_t i = 0; i < want.size(); ++i) {
          const double found = row(out.view(), static_cast<int64_t>(t))[head * s_.head_dim + static_cast<int64_t>(i)];
          error += (found - want[i]) * (found - want[i]);
          size += want[i] * want[i];
        }
      }
    }
    s_.type = type;
    return std::sqrt(error / size);
  }

  Matrix<float> queries(size_t rows) { return random_matrix(static_cast<int64_t>(rows), s_.heads * s_.head_dim, 5, 2); }

 private:
  Setup s_;
  AttentionShape shape_;
  KvBlocks blocks_;
  std::vector<std::vector<BlockId>> tables_;
  std::vector<Matrix<float>> keys_, values_;
  std::vector<KvView> views_;
};

void expect_same_bits(Matrix<float>& a, Matrix<float>& b) {
  ASSERT_EQ(a.rows(), b.rows());
  for (int64_t i = 0; i < a.rows(); ++i)
    ASSERT_EQ(std::memcmp(row(a.view(), i), row(b.view(), i), static_cast<size_t>(a.cols()) * sizeof(float)), 0)
        << "row " << i;
}

TEST(Attend, MatchesTheFormulaForAnyHeadWidthAndGrouping) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{1, 1}, {4, 4}, {6, 2}, {8, 1}}) {
      for (int64_t d : {8, 16, 40, 256, 512}) {
        if (d > 40 && (testing::is_emulated(table) || heads == 6)) continue;
        SCOPED_TRACE(::testing::Message() << name(table.isa) << " " << heads << "/" << kv_heads << " heads of " << d);
        World world({.table = &table, .heads = heads, .kv_heads = kv_heads, .head_dim = d, .lengths = {140}});
        const std::vector<QueryRow> rows = {world.sees(0, 0), world.sees(0, 63), world.sees(0, 64), world.sees(0, 139)};
        Matrix<float> q = world.queries(rows.size());
        world.check(q, rows);
      }
    }
  }
}

TEST(Attend, MatchesTheFormulaInEveryStorageType) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    World world({.lengths = {200}, .type = type});
    const std::vector<QueryRow> rows = {world.sees(0, 10), world.sees(0, 199)};
    Matrix<float> q = world.queries(rows.size());
    world.check(q, rows);
  }
}

// Fast arithmetic rounds queries and probabilities to bf16 where the tier multiplies pairs. Probabilities err by 2^-9
// of themselves, so an output by 2^-8 of the largest value; queries are bf16 here already.
TEST(Attend, FastArithmeticStaysWithinTheRoundingOfItsFactors) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      SCOPED_TRACE(::testing::Message() << name(table.isa) << ' ' << facet::name(type));
      World world({.table = &table,
                   .heads = 3,
                   .kv_heads = 1,
                   .head_dim = 7,
                   .lengths = {140},
                   .type = type,
                   .arithmetic = Arithmetic::fast});
      const std::vector<QueryRow> rows = {world.sees(0, 0), world.sees(0, 70), world.sees(0, 139)};
      Matrix<float> q = world.queries(rows.size());
      for (int64_t i = 0; i < q.rows(); ++i)
        for (int64_t j = 0; j < q.cols(); ++j) row(q.view(), i)[j] = stored(DType::bf16, row(q.view(), i)[j]);
      world.check(q, rows, table.kv(type)->scores_bf16 != nullptr ? 0x1p-8 : 0);
    }
  }
}

// Int8: half a step of the stored codes is what a key or a value may be off by, a step 1/127 of the largest of a turned
// head. Here keys are even in ±2 (1.16 rms) and turned ones near a Gaussian, whose largest of 512 is about 3.7 rms: an
// error of 1.16 * 3.7 / 127 / √12 = 0.0098 rms, of a score (scale 0.3, |q| = 1.16 √D) 0.0034 √D, of an output that
// times 0.58, the rms of a value; and 0.0049 from the values. Six times that is never reached.
TEST(Attend, Int8StaysWithinTheRoundingOfItsCodes) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{1, 1}, {4, 4}, {6, 2}, {8, 1}}) {
      for (int64_t d : {16, 32, 48, 64, 96, 128, 256, 512}) {
        if (d > 48 && (testing::is_emulated(table) || heads == 6 || table.isa == kernels::Isa::scalar)) continue;
        SCOPED_TRACE(::testing::Message() << name(table.isa) << " " << heads << "/" << kv_heads << " heads of " << d);
        for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast}) {
          World world({.table = &table,
                       .heads = heads,
                       .kv_heads = kv_heads,
                       .head_dim = d,
                       .lengths = {700},
                       .type = DType::i8,
                       .arithmetic = arithmetic});
          const std::vector<QueryRow> rows = {world.sees(0, 0), world.sees(0, 64), world.sees(0, 699)};
          Matrix<float> q = world.queries(rows.size());
          world.check(q, rows, 6 * (0.58 * 0.0034 * std::sqrt(static_cast<double>(d)) + 0.0049));
        }
      }
    }
  }
}

// The error of each type against double arithmetic on what was given, not on what was stored: what docs/kv-cache.md
// says.
TEST(Attend, ErrorsOfTheTypesAreWhatTheyAreSaidToBe) {
  struct Expected {
    DType type;
    double rms;
  };
  for (const int64_t d : {256, 512}) {
    for (const auto& [type, most] :
         {Expected{DType::f32, 3e-6}, {DType::f16, 7e-4}, {DType::bf16, 5e-3}, {DType::i8, 2.5e-2}}) {
      World world({.heads = 8, .kv_heads = 1, .head_dim = d, .lengths = {2048}, .type = type, .scale = 0.0625f});
      const std::vector<QueryRow> rows = {world.sees(0, 700), world.sees(0, 2047)};
      Matrix<float> q = world.queries(rows.size());
      const double rms = world.relative_error(q, rows);
      std::cout << "  " << name(type) << ", head of " << d << ": " << rms << " of the output, rms\n";
      EXPECT_LE(rms, most) << name(type);
      EXPECT_GE(rms, most / 30) << name(type);  // or the figures say nothing
    }
  }
}

// Half a step of a turned head, whose largest is below 5 rms here, spread over its components again.
TEST(Attend, ReadsKeysAndValuesBackAsTheyWereGiven) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::i8}) {
    World world({.head_dim = 48, .lengths = {70}, .type = type});
    const double bound = type == DType::f32 ? 0 : type == DType::f16 ? 0x1p-11 : type == DType::bf16 ? 0x1p-8 : 0.03;
    world.check_reading(2 * bound);
  }
}

TEST(Attend, RotationKeepsAnOutlierFromCoarseningTheRest) {
  kernels::Table plain = kernels::best_table();
  std::vector<kernels::KvType> types(plain.kv_types.begin(), plain.kv_types.end());
  for (kernels::KvType& type : types) type.rotates = false;
  plain.kv_types = types;
  const auto error = [](const kernels::Table& table) {
    World world({.table = &table,
                 .heads = 2,
                 .kv_heads = 1,
                 .head_dim = 256,
                 .lengths = {600},
                 .type = DType::i8,
                 .scale = 0.01f,
                 .outlier = 50});
    const std::vector<QueryRow> rows = {world.sees(0, 599)};
    Matrix<float> q = world.queries(rows.size());
    return world.relative_error(q, rows);
  };
  const double rotated = error(kernels::best_table()), unrotated = error(plain);
  EXPECT_LT(3 * rotated, unrotated) << rotated << ' ' << unrotated;
}

TEST(Attend, MatchesTheFormulaAcrossGroupsOfKeys) {
  for (const int64_t window : {0, 1, 64, 100, 512}) {
    World world({.lengths = {1100}, .window = window});
    std::vector<QueryRow> rows;
    for (int64_t p : {510, 511, 512, 513, 575, 576, 1023, 1024, 1099}) rows.push_back(world.sees(0, p));
    Matrix<float> q = world.queries(rows.size());
    world.check(q, rows);
  }
}

TEST(Attend, ARowMaySeeKeysBehindItself) {
  World world({.lengths = {700}});
  const std::vector<QueryRow> rows = {{.slot = 0, .begin = 490, .end = 530}, {.slot = 0, .begin = 495, .end = 530}};
  Matrix<float> q = world.queries(rows.size());
  world.check(q, rows);
}

// Rows of three sequences, some neighbours, some far apart, over up to five groups of keys.
std::vector<QueryRow> mixed_rows(const World& world) {
  std::vector<QueryRow> rows;
  for (int64_t p = 505; p < 525; ++p) rows.push_back(world.sees(0, p));
  for (int64_t p : {0, 1, 63, 64}) rows.push_back(world.sees(1, p));
  for (int64_t p = 2290; p < 2300; ++p) rows.push_back(world.sees(2, p));
  return rows;
}

TEST(Attend, BitsDoNotDependOnTheCut) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    if (testing::is_emulated(table)) continue;
    for (const auto& [type, arithmetic] : {std::pair{DType::bf16, Arithmetic::f32},
                                           {DType::bf16, Arithmetic::fast},
                                           {DType::i8, Arithmetic::f32},
                                           {DType::i8, Arithmetic::fast}}) {
      for (const auto& [heads, kv_heads, window] : {std::array<int64_t, 3>{8, 1, 0}, {8, 1, 200}, {4, 2, 200}}) {
        SCOPED_TRACE(::testing::Message()
                     << name(table.isa) << ' ' << facet::name(type) << " window " << window << " heads " << heads);
        World world({.table = &table,
                     .heads = heads,
                     .kv_heads = kv_heads,
                     .head_dim = 16,
                     .lengths = {600, 70, 2300},
                     .window = window,
                     .type = type,
                     .arithmetic = arithmetic});
        const std::vector<QueryRow> rows = mixed_rows(world);
        Matrix<float> q = world.queries(rows.size());
        Matrix<float> whole = world.attend(q, rows);
        for (int threads : {1, 2, 3}) {
          for (int64_t chunk : {1, 3, 7, 100}) {
            Matrix<float> cut = world.attend(q, rows, threads, chunk);
            expect_same_bits(whole, cut);
          }
        }
      }
    }
  }
}

// More than 32 groups: one row folds in rounds, many rows do not.
TEST(Attend, RoundsOfGroupsChangeNoBit) {
  const int64_t length = 33 * 512 + 100;
  World world({.heads = 2, .kv_heads = 1, .head_dim = 8, .lengths = {length}, .type = DType::bf16});
  std::vector<QueryRow> rows;
  for (int64_t i = 0; i < 320; ++i) rows.push_back(world.sees(0, length - 320 + i));
  Matrix<float> q = world.queries(rows.size());
  Matrix<float> whole = world.attend(q, rows, 2, 320), split = world.attend(q, rows, 2, 160);
  expect_same_bits(whole, split);
  const std::vector<QueryRow> last = {rows.back()};
  Matrix<float> one = random_matrix(1, 16, 77), many = random_matrix(1, 16, 77);
  Matrix<float> alone = world.attend(one, last, 2, 1), again = world.attend(many, last, 1, 1);
  expect_same_bits(alone, again);
  world.check(one, last);
}

}  // namespace
}  // namespace facet::ops
