// What the row and attention kernels of the vector tiers share: exp on 16 floats, whole and partial registers, sums
// over lanes. A tier supplies the vector type V and includes this file between FACET_TARGET_BEGIN and FACET_TARGET_END,
// after everything else. Both tiers thus compute the same values in the same order.
//
// V has: Floats (16), Doubles (16); zero, set1, load, store, add, sub, mul, div, fma (a b + c), fnma (c - a b);
// min, max (the second operand where one is NaN); round (nearest even), scale_by_power (x 2^n); widen, narrow, and
// double_… of set1, add, mul, fma, fnma, round, min, max, store, times_power (a 2^k; the low bits of b are those of k),
// zero_below (0 where b is below a number, else a); magnitude (|x|), max_bits (as integers).
#pragma once

#include "kernels/inline.h"

namespace facet::kernels::simd {

inline constexpr int kLanes = 16;

// The first `count` floats, then `fill`. Through memory: rows whose width is no multiple of 16 are rare.
template <class V>
FACET_INLINE typename V::Floats load(const float* from, int64_t count, float fill) {
  if (count >= kLanes) return V::load(from);
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? from[i] : fill;
  return V::load(lanes);
}

template <class V>
FACET_INLINE void store(float* to, int64_t count, typename V::Floats value) {
  if (count >= kLanes) return V::store(to, value);
  float lanes[kLanes];
  V::store(lanes, value);
  for (int i = 0; i < count; ++i) to[i] = lanes[i];
}

template <class V>
FACET_INLINE float max_lane(typename V::Floats value) {
  float lanes[kLanes];
  V::store(lanes, value);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
  return lanes[0];
}

// The largest of magnitudes, collected by max_bits: compared as integers, infinity follows the numbers and NaN follows
// infinity, so none is lost.
template <class V>
FACET_INLINE float most_lane(typename V::Floats magnitudes) {
  float lanes[kLanes];
  V::store(lanes, magnitudes);
  uint32_t bits[kLanes];
  std::memcpy(bits, lanes, sizeof(bits));
  uint32_t max = 0;
  for (uint32_t value : bits) max = max > value ? max : value;
  float most;
  std::memcpy(&most, &max, sizeof(most));
  return most;
}

// The same, but NaN where one is not finite.
template <class V>
FACET_INLINE float finite_lane(typename V::Floats magnitudes) {
  const float most = most_lane<V>(magnitudes);
  return most < std::numeric_limits<float>::infinity() ? most : std::numeric_limits<float>::quiet_NaN();
}

template <class V>
FACET_INLINE float sum_lanes(typename V::Floats value) {
  float lanes[kLanes];
  V::store(lanes, value);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

template <class V>
FACET_INLINE double double_sum_lanes(typename V::Doubles value) {
  double lanes[kLanes];
  V::double_store(lanes, value);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

// (e^r - 1) / r for |r| <= ln 2 / 2: Σ r^k / (k + 1)!, k = 0…6. The next term is below 2e-8.
template <class V>
FACET_INLINE typename V::Floats exp_slope(typename V::Floats r) {
  typename V::Floats sum = V::set1(1.0f / 5040);
  sum = V::fma(sum, r, V::set1(1.0f / 720));
  sum = V::fma(sum, r, V::set1(1.0f / 120));
  sum = V::fma(sum, r, V::set1(1.0f / 24));
  sum = V::fma(sum, r, V::set1(1.0f / 6));
  sum = V::fma(sum, r, V::set1(0.5f));
  return V::fma(sum, r, V::set1(1.0f));
}

// x = n ln 2 + r.
template <class V>
struct Reduced {
  typename V::Floats n, r;
};

template <class V>
FACET_INLINE Reduced<V> reduce(typename V::Floats x) {
  const typename V::Floats n = V::round(V::mul(x, V::set1(0x1.715476p+0f)));
  const typename V::Floats r = V::fnma(n, V::set1(0x1.62e430p-1f), x);  // ln 2 as a float …
  return {n, V::fnma(n, V::set1(-0x1.05c610p-29f), r)};                 // … and what that lacks
}

// Within 2 ulp. exp(0) is exactly 1; from -104 down exactly 0; from 89 up infinity; NaN stays.
template <class V>
FACET_INLINE typename V::Floats exp(typename V::Floats x) {
  const Reduced<V> x2 = reduce<V>(V::min(V::set1(89.0f), V::max(V::set1(-104.0f), x)));
  return V::scale_by_power(V::fma(exp_slope<V>(x2.r), x2.r, V::set1(1.0f)), x2.n);
}

// exp of doubles, as floats within 2 ulp: a large argument keeps the digits that decide the result.
template <class V>
FACET_INLINE typename V::Floats exp_of_doubles(typename V::Doubles x) {
  x = V::double_min(V::double_set1(89.0), V::double_max(V::double_set1(-104.0), x));
  const typename V::Doubles n = V::double_round(V::double_mul(x, V::double_set1(1.442695040888963407)));
  const typename V::Floats r = V::narrow(V::double_fnma(n, V::double_set1(0.693147180559945309), x));
  return V::scale_by_power(V::fma(exp_slope<V>(r), r, V::set1(1.0f)), V::narrow(n));
}

// exp_nonpositive of base/exponential.h, operation by operation: the same bits.
template <class V>
FACET_INLINE typename V::Doubles exp_nonpositive(typename V::Doubles x) {
  using Doubles = typename V::Doubles;
  const Doubles inside = V::double_max(x, V::double_set1(-700));
  const Doubles shifted =
      V::double_add(V::double_mul(inside, V::double_set1(0x1.71547652b82fep0)), V::double_set1(0x1.8p52));
  const Doubles k = V::double_add(shifted, V::double_set1(-0x1.8p52));
  const Doubles high = V::double_mul(k, V::double_set1(-0x1.62e42fee00000p-1));
  const Doubles low = V::double_mul(k, V::double_set1(-0x1.a39ef35793c76p-33));
  const Doubles r = V::double_add(V::double_add(inside, high), low);
  constexpr double kFactors[] = {
      1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
      1.0 / 120,       1.0 / 24,       1.0 / 6,       0.5,          1.0,         1.0};
  Doubles p = V::double_set1(1.0 / 6227020800);
  FACET_UNROLL for (const double factor : kFactors) p = V::double_add(V::double_mul(p, r), V::double_set1(factor));
  return V::double_zero_below(V::double_times_power(p, shifted), x, -700);
}

}  // namespace facet::kernels::simd
