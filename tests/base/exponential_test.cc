#include "base/exponential.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace facet {
namespace {

// Distance in units in the last place of the expected value.
double ulps(double found, double expected) {
  const double unit = std::nextafter(expected, std::numeric_limits<double>::infinity()) - expected;
  return std::fabs(found - expected) / unit;
}

TEST(Exponential, IsTheExponentialToTwoUnits) {
  EXPECT_EQ(exp_nonpositive(0), 1);
  EXPECT_EQ(exp_nonpositive(-std::numeric_limits<double>::infinity()), 0);
  EXPECT_EQ(exp_nonpositive(-701), 0);
  for (double x = 0; x > -700; x -= 0.0137) ASSERT_LE(ulps(exp_nonpositive(x), std::exp(x)), 2) << x;
}

TEST(Exponential, HasTheseBitsOnEveryMachine) {
  EXPECT_EQ(exp_nonpositive(-1), 0x1.78b56362cef38p-2);
  EXPECT_EQ(exp_nonpositive(-0.1), 0x1.cf46d99d52b3ap-1);
  EXPECT_EQ(exp_nonpositive(-37.25), 0x1.3278bcd70e981p-54);
}

TEST(Exponential, TheLogarithmUndoesIt) {
  EXPECT_EQ(log_at_least_one(1), 0);
  for (double x = 1; x < 1e9; x *= 1.00137) ASSERT_NEAR(log_at_least_one(x), std::log(x), 4e-16 * (1 + std::log(x)));
}

}  // namespace
}  // namespace facet
