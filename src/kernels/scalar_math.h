// exp, log, tanh and the like in double, for the scalar tier and for tests of the others. No libm: the same bits on
// every machine. Relative errors are below 1e-15.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace facet::kernels::scalar {

inline constexpr double kLog2E = 1.4426950408889634074;
inline constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;

inline double power_of_two(int64_t n) { return std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52); }

// exp(0) is exactly 1; below -708 the result is 0.
inline double exp(double x) {
  if (!(x == x)) return x;
  if (x > 709) return std::numeric_limits<double>::infinity();
  if (x < -708) return 0;
  const int64_t n = static_cast<int64_t>(x * kLog2E + (x < 0 ? -0.5 : 0.5));
  const double r = (x - static_cast<double>(n) * kLn2High) - static_cast<double>(n) * kLn2Low;  // |r| < 0.35
  double sum = 1;
  for (int k = 13; k > 0; --k) sum = 1 + r / k * sum;  // Taylor: r^14 / 14! < 5e-18
  return sum * power_of_two(n);
}

// Natural logarithm of a positive normal number.
inline double log(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  if (m > 1.4142135623730951) {
    m /= 2;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1), s2 = s * s;  // log m = 2 artanh s, |s| < 0.172
  double sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  return 2 * s * sum + static_cast<double>(exponent) * kLn2Low + static_cast<double>(exponent) * kLn2High;
}

inline double tanh(double x) {
  if (x < 0) return -tanh(-x);
  if (x < 1e-3) return x - x * x * x / 3 + 2 * x * x * x * x * x / 15;
  const double e = exp(-2 * x);
  return (1 - e) / (1 + e);
}

// x (1 + tanh(sqrt(2 / π) (x + 0.044715 x³))) / 2, written as a sigmoid so that nothing cancels.
inline double gelu_tanh(double x) {
  constexpr double kTwoSqrt2OverPi = 1.5957691216057307117597842397375;
  return x / (1 + exp(-kTwoSqrt2OverPi * (x + 0.044715 * x * x * x)));
}

}  // namespace facet::kernels::scalar
