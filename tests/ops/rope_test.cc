// Rotation angles against long double, and the pairing of components.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/thread_pool.h"
#include "ops/access.h"
#include "ops/attention.h"
#include "support/kernel_tables.h"

namespace facet::ops {
namespace {

struct Angles {
  Matrix<float> cosine, sine;

  Angles(Context& ctx, const std::vector<int32_t>& positions, const std::vector<float>& frequencies) {
    const int64_t t = static_cast<int64_t>(positions.size()), n = static_cast<int64_t>(frequencies.size());
    cosine = Matrix<float>::allocate(t, n).value();
    sine = Matrix<float>::allocate(t, n).value();
    rope_angles(ctx, cosine.view(), sine.view(), positions, {.data = frequencies.data(), .size = n});
  }
};

std::vector<float> frequencies(double theta, int head_dim, int rotated) {
  std::vector<float> f;
  for (int j = 0; j < head_dim / 2; ++j)
    f.push_back(j < rotated ? static_cast<float>(std::pow(theta, -2.0 * j / head_dim)) : 0.0f);
  return f;
}

class Rope : public ::testing::Test {
 protected:
  ThreadPool pool_{2};
  Context ctx_{.kernels = &kernels::best_table(), .pool = &pool_};
};

TEST_F(Rope, AnglesAreRoundedOnceUpToPositionsOf2To24) {
  std::vector<int32_t> positions = {0, 1, 2, 3, 1000, 65535, 131071, 262143, 1048575, 16777215};
  for (int i = 0; i < 500; ++i) positions.push_back(i * 33547 + 11);
  const std::vector<float> f = frequencies(10000, 256, 128);
  Angles a(ctx_, positions, f);
  for (size_t t = 0; t < positions.size(); ++t) {
    for (size_t j = 0; j < f.size(); ++j) {
      const long double angle = static_cast<float>(positions[t]) * f[j];  // one float
      const float c = row(a.cosine.view(), static_cast<int64_t>(t))[j],
                  s = row(a.sine.view(), static_cast<int64_t>(t))[j];
      // Half an ulp and a hair for the double arithmetic in front of the rounding.
      const long double cosine = std::cos(angle), sine = std::sin(angle), half_ulp = 0x1.0001p-24L;
      ASSERT_LE(std::fabs(c - cosine), half_ulp * std::fabs(cosine) + 1e-18L) << positions[t] << " * " << f[j];
      ASSERT_LE(std::fabs(s - sine), half_ulp * std::fabs(sine) + 1e-18L) << positions[t] << " * " << f[j];
    }
  }
}

// The frequencies that the specification states for the published sizes, read off the first position's angles.
TEST_F(Rope, KnownFrequenciesGiveKnownAngles) {
  Angles full(ctx_, {1}, frequencies(1e6, 512, 64)), sliding(ctx_, {1}, frequencies(1e4, 256, 128));
  const std::pair<int, double> known[] = {
      {0, 1.0}, {1, 0.94746353}, {2, 0.89768713}, {31, 0.18768843}, {63, 0.03337625}};
  for (const auto& [j, f] : known) {
    EXPECT_NEAR(row(full.cosine.view(), 0)[j], std::cos(f), 1e-7);
    EXPECT_NEAR(row(full.sine.view(), 0)[j], std::sin(f), 1e-7);
  }
  EXPECT_NEAR(row(sliding.sine.view(), 0)[127], 1.0746e-4, 5e-9);
  for (int j = 64; j < 256; ++j) {
    EXPECT_EQ(row(full.cosine.view(), 0)[j], 1.0f);
    EXPECT_EQ(row(full.sine.view(), 0)[j], 0.0f);
  }
}

TEST_F(Rope, ComponentsThatDoNotTurnKeepTheirBits) {
  const int64_t d = 512;
  Angles a(ctx_, {7, 100000}, frequencies(1e6, 512, 64));
  auto x = Matrix<float>::allocate(2, 2 * d).value();
  for (int64_t t = 0; t < 2; ++t)
    for (int64_t i = 0; i < 2 * d; ++i) row(x.view(), t)[i] = std::sin(static_cast<float>(t * 999 + i));
  auto y = Matrix<float>::allocate(2, 2 * d).value();
  for (int64_t t = 0; t < 2; ++t) std::copy_n(row(x.view(), t), 2 * d, row(y.view(), t));
  rope(ctx_, y.view(), d, a.cosine.view(), a.sine.view());
  for (int64_t t = 0; t < 2; ++t) {
    for (int64_t i = 0; i < 2 * d; ++i) {
      const int64_t j = i % d % (d / 2);
      if (j >= 64) {
        ASSERT_EQ(row(y.view(), t)[i], row(x.view(), t)[i]) << i;
        continue;
      }
      const bool second = i % d >= d / 2;
      const double here = row(x.view(), t)[i], there = row(x.view(), t)[second ? i - d / 2 : i + d / 2];
      const double c = row(a.cosine.view(), t)[j], s = row(a.sine.view(), t)[j];
      ASSERT_NEAR(row(y.view(), t)[i], here * c + (second ? there * s : -there * s), 0x1p-23) << i;
    }
  }
}

}  // namespace
}  // namespace facet::ops
