// What the row and attention kernels of the vector tiers share: exp on 16 floats, whole and partial registers, sums
// over lanes. A tier supplies the vector type V and includes this file between FACET_TARGET_BEGIN and FACET_TARGET_END,
// after everything else. Both tiers thus compute the same values in the same order.
//
// V has: Floats (16), Doubles (16); zero, set1, load, store, add, sub, mul, div, fma (a b + c), fnma (c - a b);
// min, max (the second operand where one is NaN); round (nearest even), scale_by_power (x 2^n); widen, narrow, and
// double_… of set1, add, mul, fma, fnma, round, min, max, store; magnitude (|x|), max_bits (as integers).
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
// infinity, so none is lost. NaN where one is not finite.
template <class V>
FACET_INLINE float finite_lane(typename V::Floats magnitudes) {
  float lanes[kLanes];
  V::store(lanes, magnitudes);
  uint32_t bits[kLanes];
  std::memcpy(bits, lanes, sizeof(bits));
  uint32_t max = 0;
  for (uint32_t value : bits) max = max > value ? max : value;
  float largest;
  std::memcpy(&largest, &max, sizeof(largest));
  return max < 0x7f800000u ? largest : std::numeric_limits<float>::quiet_NaN();
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

}  // namespace facet::kernels::simd
