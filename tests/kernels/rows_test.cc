// Every tier's row kernels against plain double arithmetic. Bounds follow from the operations: kUnit is half an ulp of
// 1, one rounding; exp is promised within 2 ulp, that is 4 kUnit.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/table.h"
#include "kernels/values.h"
#include "support/kernel_tables.h"
#include "support/random_row.h"
#include "tensor/half.h"

namespace facet::kernels {
namespace {

using testing::random_row;

constexpr double kTiny = 0x1p-149;  // rounding among the subnormals
constexpr int64_t kLengths[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 255, 4099};

// Calls check(table, n, offset) for all tables, lengths and a few alignments.
template <class Check>
void for_every_length(const Check& check) {
  for (const Table& table : testing::kernel_tables()) {
    for (int64_t n : kLengths) {
      SCOPED_TRACE(::testing::Message() << name(table.isa) << (testing::is_emulated(table) ? " emulated" : "")
                                        << ", n = " << n);
      check(table, n);
    }
  }
}

// A row of n floats `offset` floats behind an aligned place, with a guard behind it that must not change.
class Row {
 public:
  explicit Row(const std::vector<float>& values, size_t offset = 3) : n_(values.size()), offset_(offset) {
    memory_.assign(n_ + offset + kGuard, 12345.0f);
    std::copy(values.begin(), values.end(), memory_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  explicit Row(int64_t n) : Row(std::vector<float>(static_cast<size_t>(n))) {}
  ~Row() {
    for (size_t i = 0; i < offset_; ++i) EXPECT_EQ(memory_[i], 12345.0f) << "written in front of the row";
    for (size_t i = offset_ + n_; i < memory_.size(); ++i) EXPECT_EQ(memory_[i], 12345.0f) << "written behind the row";
  }
  float* data() { return memory_.data() + offset_; }
  float operator[](size_t i) const { return memory_[offset_ + i]; }
  std::vector<float> values() { return {data(), data() + n_}; }

 private:
  static constexpr size_t kGuard = 19;
  size_t n_, offset_;
  std::vector<float> memory_;
};

TEST(Rows, HadamardTurnsEveryBlockBySylvestersMatrix) {
  for_every_length([](const Table& table, int64_t n) {
    if (n > 300) n = 512 + 40;
    const std::vector<float> x = random_row(n, 4, 7);
    Row y(x);
    table.hadamard(y.data(), n);
    for (int64_t first = 0; first < n;) {
      const int64_t size = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n - first)));
      for (int64_t i = 0; i < size; ++i) {
        double sum = 0, magnitudes = 0;
        for (int64_t j = 0; j < size; ++j) {
          const double value = x[static_cast<size_t>(first + j)];
          sum += std::popcount(static_cast<uint64_t>(i & j)) % 2 == 0 ? value : -value;
          magnitudes += std::fabs(value);
        }
        const double root = std::sqrt(static_cast<double>(size));
        EXPECT_NEAR(y[static_cast<size_t>(first + i)], sum / root, 11 * kUnit * magnitudes / root);
      }
      first += size;
    }
    Row again(x), scalar(x);
    table.hadamard(again.data(), n);
    usable_tables().front().hadamard(scalar.data(), n);
    EXPECT_EQ(again.values(), scalar.values());  // bit for bit: sums and differences in one order
    table.hadamard(again.data(), n);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(again[i], x[i], 22 * kUnit * 4 * std::sqrt(512.0));
  });
}

TEST(Rows, RmsNormIsAccurateForAnyLength) {
  for_every_length([](const Table& table, int64_t n) {
    for (const bool weighted : {true, false}) {
      const std::vector<float> x = random_row(n, 30, 1), w = random_row(n, 2, 2);
      Row y(n), from(x, 1);
      table.rms_norm(y.data(), from.data(), weighted ? w.data() : nullptr, n, 1e-6f);
      double squares = 0;
      for (float value : x) squares += static_cast<double>(value) * value;
      const double r = 1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(1e-6f));
      for (size_t i = 0; i < x.size(); ++i) {
        const double expected = x[i] * r * (weighted ? w[i] : 1);
        EXPECT_NEAR(y[i], expected, 4 * kUnit * std::fabs(expected)) << i;
      }
    }
  });
}

TEST(Rows, RmsNormOfZerosIsZero) {
  for (const Table& table : testing::kernel_tables()) {
    std::vector<float> x(20, 0.0f);
    table.rms_norm(x.data(), x.data(), nullptr, 20, 1e-6f);
    for (float value : x) EXPECT_EQ(value, 0.0f);
  }
}

double gelu(double g) {
  const double u = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
  return g / (1 + std::exp(-2 * u));  // the tanh form, without its cancellation
}

TEST(Rows, GeluIsAccurateRelativeToItsValue) {
  for_every_length([](const Table& table, int64_t n) {
    std::vector<float> gate = random_row(n, 12, 3);
    const std::vector<float> up = random_row(n, 3, 4);
    if (n > 8) std::copy_n(std::vector<float>{0, -0.0f, 1e-30f, 1e30f, -1e30f, 1e-6f, -11.5f, 40}.data(), 8, &gate[0]);
    Row y(gate);  // in place
    table.gelu_times(y.data(), y.data(), up.data(), n);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double expected = gelu(gate[i]) * up[i];
      // exp, a sum, a quotient and a product; subnormal steps lose at most a few of their units times `up`.
      EXPECT_NEAR(y[i], expected, 8 * kUnit * std::fabs(expected) + 0x1p-123) << gate[i] << " " << up[i];
    }
  });
}

TEST(Rows, GeluShowsNaN) {
  for (const Table& table : testing::kernel_tables()) {
    std::vector<float> x(33, 1.0f), up(33, 1.0f);
    x[7] = x[32] = std::numeric_limits<float>::quiet_NaN();
    table.gelu_times(x.data(), x.data(), up.data(), 33);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(x[i]), i == 7 || i == 32) << i;
  }
}

TEST(Rows, SoftcapIsAccurateNearZeroAndFlatFarAway) {
  for_every_length([](const Table& table, int64_t n) {
    std::vector<float> x = random_row(n, 100, 5);
    if (n > 8)
      std::copy_n(std::vector<float>{0, 1e-20f, -1e-5f, 0.3f, -15, 1e10f, -kInfinity, kInfinity}.data(), 8, &x[0]);
    Row y(x);
    table.softcap(y.data(), y.data(), n, 30);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = 30 * std::tanh(x[i] / 30.0);
      EXPECT_NEAR(y[i], expected, kSoftcapError * std::fabs(expected)) << x[i];
      EXPECT_LE(std::fabs(y[i]), 30.0f);
    }
  });
}

TEST(Rows, BlockMaximaAreTheLargestOf64AndShowNaN) {
  for_every_length([](const Table& table, int64_t n) {
    std::vector<float> x = random_row(n, 100, 21);
    for (size_t i = 70; i < x.size(); i += 90) x[i] = i % 4 == 0 ? std::numeric_limits<float>::quiet_NaN() : kInfinity;
    if (n > 200) std::fill_n(x.begin() + 128, 64, -kInfinity);
    Row from(x), maxima((n + kLogitBlock - 1) / kLogitBlock);
    table.block_maxima(maxima.data(), from.data(), n);
    for (size_t first = 0; first < x.size(); first += kLogitBlock) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(first);
      const auto end = begin + std::min<std::ptrdiff_t>(kLogitBlock, x.end() - begin);
      const float found = maxima[first / kLogitBlock];
      if (std::any_of(begin, end, [](float value) { return std::isnan(value); }))
        EXPECT_TRUE(std::isnan(found)) << first;
      else
        EXPECT_EQ(found, *std::max_element(begin, end)) << first;
    }
  });
}

TEST(Rows, TotalWeightHasTheSameBitsInEveryTier) {
  for (const float size : {0.0f, 1.0f, 40.0f, 5000.0f}) {
    for (const int64_t n : {1, 15, 16, 17, 63, 64, 65, 200, 1000}) {
      std::vector<float> x = random_row(n, size, 22);
      if (n > 60) x[5] = -kInfinity;
      const float max = *std::max_element(x.begin(), x.end());
      Random random(23);
      std::vector<uint64_t> set(static_cast<size_t>(logit_blocks(n)), 0);
      for (const int kind : {0, 1, 2}) {  // all, half of them, whole blocks
        std::fill(set.begin(), set.end(), 0);
        for (size_t i = 0; i < x.size(); ++i)
          if (kind == 0 || (kind == 1 ? random.below(2) == 0 : i / 64 % 2 == 0)) set[i / 64] |= uint64_t{1} << (i % 64);
        for (const double scale : {1.0, 1.7, 1e-3}) {
          const double expected = total_weight(x, set, max, scale);
          double sum = 0;
          for (size_t i = 0; i < x.size(); ++i)
            if ((set[i / 64] >> (i % 64) & 1) != 0) sum += std::exp((static_cast<double>(x[i]) - max) * scale);
          EXPECT_NEAR(expected, sum, 1e-12 * sum);
          for (const Table& table : testing::kernel_tables())
            EXPECT_EQ(table.total_weight(x.data(), set.data(), n, max, scale), expected) << name(table.isa) << ' ' << n;
        }
      }
    }
  }
}

TEST(Rows, SoftmaxMatchesDoubleArithmetic) {
  for_every_length([](const Table& table, int64_t n) {
    for (const float size : {0.0f, 1.0f, 50.0f, 1e30f}) {
      std::vector<float> x = random_row(n, size, 6);
      if (n > 8) x[3] = -kInfinity;
      Row y(x);
      table.softmax(y.data(), n);
      double max = -HUGE_VAL, sum = 0;
      for (float value : x) max = std::max<double>(max, value);
      for (float value : x) sum += std::exp(value - max);
      for (size_t i = 0; i < x.size(); ++i) {
        const double expected = std::exp(x[i] - max) / sum;
        const double argument = std::isinf(x[i]) ? 0 : std::fabs(x[i] - max) * kUnit;  // the difference is rounded once
        EXPECT_NEAR(y[i], expected, (8 * kUnit + argument) * expected + 2 * kTiny) << x[i];
      }
      EXPECT_TRUE(n <= 8 || y[3] == 0.0f);
    }
  });
}

TEST(Rows, SoftmaxOfOneLargestIsExactlyOne) {
  for (const Table& table : testing::kernel_tables()) {
    std::vector<float> x(40, -1000.0f);
    x[21] = 5;
    table.softmax(x.data(), 40);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], i == 21 ? 1.0f : 0.0f);
  }
}

// softmax of (0, x) is (1, e^x) / (1 + e^x): for x < -17 the sum rounds to 1 and the second is e^x itself.
TEST(Rows, ExpIsWithinTwoUlp) {
  for (const Table& table : testing::kernel_tables()) {
    const int steps = testing::is_emulated(table) ? 3000 : 100000;
    for (int i = 0; i < steps; ++i) {
      const float x = -17.5f - 69.0f * static_cast<float>(i) / static_cast<float>(steps);
      std::vector<float> row = {0, x};
      table.softmax(row.data(), 2);
      ASSERT_EQ(row[0], 1.0f);
      const double expected = std::exp(static_cast<double>(x));
      const double ulp = std::ldexp(1.0, std::ilogb(expected) - 23);
      ASSERT_NEAR(row[1], expected, 2 * ulp) << name(table.isa) << " exp(" << x << ")";
    }
  }
}

TEST(Rows, LogSumExpMatchesDoubleArithmetic) {
  for_every_length([](const Table& table, int64_t n) {
    for (const float size : {0.0f, 1.0f, 50.0f}) {
      const std::vector<float> x = random_row(n, size, 7);
      double max = -HUGE_VAL, sum = 0;
      for (float value : x) max = std::max<double>(max, value);
      for (float value : x) sum += std::exp(value - max);
      const double expected = n == 0 ? -HUGE_VAL : max + std::log(sum);
      const float found = table.log_sum_exp(x.data(), n);
      if (n == 0) {
        EXPECT_EQ(found, -kInfinity);
      } else {
        EXPECT_NEAR(found, expected, 8 * kUnit + kUnit * std::fabs(expected));
      }
    }
  });
}

TEST(Rows, LogSumExpOfImpossibleLogitsIsMinusInfinity) {
  const std::vector<float> x(37, -kInfinity);
  for (const Table& table : testing::kernel_tables()) EXPECT_EQ(table.log_sum_exp(x.data(), 37), -kInfinity);
}

TEST(Rows, RopeRotatesPairsHalfAHeadApart) {
  for_every_length([](const Table& table, int64_t any) {
    const int64_t half = any, n = 2 * half;
    const std::vector<float> x = random_row(n, 5, 8), angle = random_row(half, 3, 9);
    std::vector<float> cosine, sine;
    for (float a : angle) cosine.push_back(std::cos(a)), sine.push_back(std::sin(a));
    Row y(x);
    table.rope(y.data(), y.data(), cosine.data(), sine.data(), n);
    for (size_t j = 0; j < angle.size(); ++j) {
      const size_t k = j + static_cast<size_t>(half);
      const double a = x[j], b = x[k], c = cosine[j], s = sine[j];
      const double bound = 2 * kUnit * (std::fabs(a) + std::fabs(b));
      EXPECT_NEAR(y[j], a * c - b * s, bound);
      EXPECT_NEAR(y[k], b * c + a * s, bound);
    }
  });
}

TEST(Rows, ElementwiseWorkRoundsOnce) {
  for_every_length([](const Table& table, int64_t n) {
    const std::vector<float> a = random_row(n, 3, 10), b = random_row(n, 5, 11);
    Row sum(a), fused(a), scaled(a), product(a);
    table.add(sum.data(), b.data(), n);
    table.add_scaled(fused.data(), b.data(), 0.3f, n);
    table.scale(scaled.data(), 0.3f, n);
    table.multiply(product.data(), b.data(), n);
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(sum[i], a[i] + b[i]);
      EXPECT_EQ(fused[i], std::fma(0.3f, b[i], a[i]));
      EXPECT_EQ(scaled[i], a[i] * 0.3f);
      EXPECT_EQ(product[i], a[i] * b[i]);
    }
  });
}

TEST(Rows, DotAddsInDouble) {
  for_every_length([](const Table& table, int64_t n) {
    const std::vector<float> a = random_row(n, 3, 12), b = random_row(n, 5, 13);
    double sum = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      sum += static_cast<double>(a[i]) * b[i];
      size += std::fabs(static_cast<double>(a[i]) * b[i]);
    }
    const double bound = kUnit * std::fabs(sum) + static_cast<double>(n) * 0x1p-53 * size;
    EXPECT_NEAR(table.dot(a.data(), b.data(), n), sum, bound);
  });
}

struct Quantised {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  Quantised(const Table& table, const std::vector<float>& x) {
    const size_t blocks = (x.size() + kBlock - 1) / kBlock;
    codes.assign(blocks * kBlock + 1, 99);  // the last is a guard
    scales.assign(blocks, -1);
    sums.assign(2 * blocks, -1);
    table.quantize_q8(codes.data(), scales.data(), sums.data(), x.data(), static_cast<int64_t>(x.size()));
  }
};

TEST(Rows, QuantisedCodesAreTheSameOnEveryTier) {
  for_every_length([](const Table& table, int64_t n) {
    for (const float size : {1.0f, 1e-44f, 1e30f, 0.0f}) {
      std::vector<float> x = random_row(n, size, 14);
      if (n > 20) x[17] = 0.5f * size, x[18] = -size;
      const Quantised found(table, x), expected(usable_tables().front(), x);
      EXPECT_EQ(found.codes, expected.codes);
      EXPECT_EQ(found.sums, expected.sums);
      ASSERT_EQ(found.scales.size(), expected.scales.size());
      for (size_t i = 0; i < found.scales.size(); ++i) EXPECT_EQ(found.scales[i], expected.scales[i]);
    }
  });
}

TEST(Rows, CodesAreNearestAndPaddedWithZeros) {
  for_every_length([](const Table& table, int64_t n) {
    const std::vector<float> x = random_row(n, 4, 15);
    const Quantised q(table, x);
    EXPECT_EQ(q.codes.back(), 99) << "written behind the codes";
    for (size_t block = 0; block < q.scales.size(); ++block) {
      float max = 0;
      for (size_t i = block * 32; i < std::min(x.size(), block * 32 + 32); ++i) max = std::max(max, std::fabs(x[i]));
      EXPECT_EQ(q.scales[block], max / 127.0f);
      for (size_t i = block * 32; i < block * 32 + 32; ++i) {
        const double code = i < x.size() ? x[i] / static_cast<double>(q.scales[block]) : 0;
        EXPECT_NEAR(q.codes[i], code, i < x.size() ? 0.5 + 1e-4 : 0.0);
      }
      for (size_t half = 0; half < 2; ++half) {
        int32_t sum = 0;
        for (size_t i = 0; i < 16; ++i) sum += q.codes[block * 32 + half * 16 + i];
        EXPECT_EQ(q.sums[2 * block + half], sum);
      }
    }
  });
}

TEST(Rows, TiesGoToTheEvenCode) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127;
  for (size_t i = 1; i < 32; ++i) x[i] = static_cast<float>(i) - 16.5f;
  for (const Table& table : testing::kernel_tables()) {
    const Quantised q(table, x);
    for (size_t i = 1; i < 32; ++i) EXPECT_EQ(q.codes[i], std::nearbyint(x[i])) << x[i];
  }
}

TEST(Rows, AValueThatIsNotFiniteReachesTheScale) {
  for (const Table& table : testing::kernel_tables()) {
    for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (size_t place : {0u, 15u, 16u, 31u, 40u}) {
        std::vector<float> x = random_row(64, 2, 16);
        x[place] = bad;
        const Quantised q(table, x);
        EXPECT_TRUE(std::isnan(q.scales[place / 32]));
        EXPECT_FALSE(std::isnan(q.scales[1 - place / 32]));
        for (size_t i = 0; i < 32; ++i) EXPECT_EQ(q.codes[place / 32 * 32 + i], 0);
      }
    }
  }
}

TEST(Rows, Bf16RoundsToNearestEven) {
  for_every_length([](const Table& table, int64_t n) {
    std::vector<float> x = random_row(n, 7, 17);
    const uint32_t special[] = {0x7f800000, 0x7fc00001, 0x7f800001, 0xffffffff, 0x00000001, 0x00008000,
                                0x00018000, 0x3f808000, 0x3f818000, 0x7f7fffff, 0x80000000, 0xff7f8000};
    for (size_t i = 0; i < std::size(special) && i < x.size(); ++i) x[i] = std::bit_cast<float>(special[i]);
    std::vector<uint16_t> y(x.size() + 3, 0x1234);
    table.round_bf16(y.data(), x.data(), n);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], float_to_bf16(x[i])) << i;
    const size_t end = (x.size() + 1) / 2 * 2;
    EXPECT_TRUE(end == x.size() || y[x.size()] == 0);
    EXPECT_EQ(y[end], 0x1234);
  });
}

TEST(Rows, BitsDoNotDependOnAlignment) {
  for (const Table& table : testing::kernel_tables()) {
    const int64_t n = 83;
    const std::vector<float> x = random_row(n, 9, 18), w = random_row(n, 1, 19);
    std::vector<std::vector<float>> results;
    for (size_t offset = 0; offset < 17; ++offset) {
      Row a(x, offset), b(x, offset), c(x, offset), d(x, offset);
      table.rms_norm(a.data(), a.data(), w.data(), n, 1e-6f);
      table.softmax(b.data(), n);
      table.gelu_times(c.data(), c.data(), w.data(), n);
      table.softcap(d.data(), d.data(), n, 30);
      std::vector<float> all = a.values();
      for (Row* row : {&b, &c, &d})
        for (float value : row->values()) all.push_back(value);
      all.push_back(table.dot(Row(x, offset).data(), w.data(), n));
      all.push_back(table.log_sum_exp(Row(x, offset).data(), n));
      results.push_back(all);
    }
    for (const std::vector<float>& result : results)
      EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)), 0);
  }
}

}  // namespace
}  // namespace facet::kernels
