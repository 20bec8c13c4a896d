// exp and log that give the same bits on every machine: additions and multiplications only, in a fixed order. The C
// library's differ in the last bit from version to version, and one bit can turn a draw into another token.
#pragma once

#include <bit>
#include <cstdint>

namespace facet {

// e^x for x <= 0, to 2 units in the last place; exactly 1 at 0, and 0 below -700. Without branches, so that loops over
// a vocabulary become vector code.
inline double exp_nonpositive(double x) {
  // x = k ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 · 2^52 leaves round(x / ln 2) in the low bits of the sum.
  constexpr double kShift = 0x1.8p52;
  constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;  // high · k is exact
  const double inside = x < -700 ? -700.0 : x;
  const double shifted = inside * 0x1.71547652b82fep0 + kShift;
  const double k = shifted - kShift;
  const double r = (inside - k * kLn2High) - k * kLn2Low;
  double p = 1.0 / 6227020800;  // 1/13!; the next term is below 2^-57
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const uint64_t exponent = (std::bit_cast<uint64_t>(shifted) + 1023) << 52;  // 2^k: the sum's low bits are k
  const double value = p * std::bit_cast<double>(exponent);
  return x < -700 ? 0.0 : value;
}

// ln x for finite x >= 1, to a few units in the last place; exactly 0 at 1.
inline double log_at_least_one(double x) {
  // x = 2^k m with m in [√½, √2); ln m = 2 artanh t, t = (m - 1) / (m + 1), |t| < 0.172.
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int k = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (m > 0x1.6a09e667f3bcdp0) {
    m *= 0.5;
    ++k;
  }
  const double t = (m - 1) / (m + 1), t2 = t * t;
  double sum = 0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * t2 + 1.0 / n;
  return 2 * t * sum + k * 0x1.62e42fefa39efp-1;
}

}  // namespace facet
