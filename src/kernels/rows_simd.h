// The row kernels for a vector of 16 floats (see lanes_simd.h). Sums run in double. A row whose width is no multiple of
// 16 ends in a register filled up with values that change nothing. V has, besides: with_sign_of(x, y), codes (16 floats
// of at most 127 to int8, nearest even, in an __m128i), butterfly<w> (lane i: the sum of lanes i and i ^ w where bit w
// of i is clear, else their difference).
#pragma once

#include "kernels/lanes_simd.h"

namespace facet::kernels::simd {

template <class V>
struct RowKernels {
  using Floats = typename V::Floats;
  using Doubles = typename V::Doubles;
  static constexpr float kNothing = -std::numeric_limits<float>::infinity();

  static double sum_of_products(const float* a, const float* b, int64_t n) {
    Doubles sum = V::double_set1(0);
    for (int64_t i = 0; i < n; i += kLanes)
      sum = V::double_fma(V::widen(load<V>(a + i, n - i, 0)), V::widen(load<V>(b + i, n - i, 0)), sum);
    return double_sum_lanes<V>(sum);
  }

  static float dot(const float* a, const float* b, int64_t n) { return static_cast<float>(sum_of_products(a, b, n)); }

  static void rms_norm(float* y, const float* x, const float* w, int64_t n, float eps) {
    const double mean = sum_of_products(x, x, n) / static_cast<double>(n);
    const Floats r = V::set1(static_cast<float>(1 / std::sqrt(mean + static_cast<double>(eps))));
    for (int64_t i = 0; i < n; i += kLanes) {
      Floats value = V::mul(load<V>(x + i, n - i, 0), r);
      if (w != nullptr) value = V::mul(value, load<V>(w + i, n - i, 0));
      store<V>(y + i, n - i, value);
    }
  }

  // gelu(g) = g / (1 + e^z), z = -2 √(2/π) (g + 0.044715 g³), z in double: far from 0 the result is as exact as z is.
  static void gelu_times(float* y, const float* gate, const float* up, int64_t n) {
    constexpr double kLinear = -1.5957691216057307118, kCubic = kLinear * 0.044715;
    for (int64_t i = 0; i < n; i += kLanes) {
      const Floats g = load<V>(gate + i, n - i, 0);
      const Doubles wide = V::widen(g);
      const Doubles slope = V::double_fma(V::double_mul(wide, wide), V::double_set1(kCubic), V::double_set1(kLinear));
      const Floats e = exp_of_doubles<V>(V::double_mul(wide, slope));
      const Floats gelu = V::div(g, V::add(V::set1(1), e));
      store<V>(y + i, n - i, V::mul(gelu, load<V>(up + i, n - i, 0)));
    }
  }

  // tanh t = m / (m + 2), m = e^(2|t|) - 1 = 2^k (e^r - 1) + (2^k - 1), so that nothing cancels near 0.
  static void softcap(float* y, const float* x, int64_t n, float cap) {
    const Floats one = V::set1(1), two = V::set1(2), bound = V::set1(cap);
    for (int64_t i = 0; i < n; i += kLanes) {
      const Floats value = load<V>(x + i, n - i, 0);
      const Floats z = V::min(V::set1(40), V::mul(two, V::magnitude(V::div(value, bound))));  // tanh 20 is 1
      const Reduced<V> z2 = reduce<V>(z);
      const Floats power = V::scale_by_power(one, z2.n);
      const Floats m = V::fma(V::mul(exp_slope<V>(z2.r), z2.r), power, V::sub(power, one));
      const Floats tanh = V::div(m, V::add(m, two));
      store<V>(y + i, n - i, V::mul(bound, V::with_sign_of(tanh, value)));
    }
  }

  static float largest(const float* x, int64_t n) {
    Floats max = V::set1(kNothing);
    for (int64_t i = 0; i < n; i += kLanes) max = V::max(load<V>(x + i, n - i, kNothing), max);
    return max_lane<V>(max);
  }

  static void block_maxima(float* maxima, const float* x, int64_t n) {
    for (int64_t first = 0; first < n; first += kLogitBlock) {
      Floats max = V::set1(kNothing), magnitude = V::zero();
      for (int64_t i = first; i < n && i < first + kLogitBlock; i += kLanes) {
        const Floats value = load<V>(x + i, n - i, kNothing);
        max = V::max(value, max);
        magnitude = V::max_bits(magnitude, V::magnitude(value));
      }
      *maxima++ = std::isnan(most_lane<V>(magnitude)) ? std::numeric_limits<float>::quiet_NaN() : max_lane<V>(max);
    }
  }

  // The operations of the scalar twin, 16 values at a time.
  static double total_weight(const float* x, const uint64_t* set, int64_t n, float max, double scale) {
    const Doubles shift = V::double_set1(-static_cast<double>(max)), factor = V::double_set1(scale);
    double sums[4] = {};
    for (int64_t i = 0; i < n; i += kLanes) {
      const uint64_t bits = set[i / kLogitBlock] >> (i % kLogitBlock) & 0xffff;
      if (bits == 0) continue;
      Floats value = load<V>(x + i, n - i, kNothing);
      if (bits != 0xffff) {
        float lanes[kLanes];
        V::store(lanes, value);
        for (int lane = 0; lane < kLanes; ++lane)
          if ((bits >> lane & 1) == 0) lanes[lane] = kNothing;
        value = V::load(lanes);
      }
      double weights[kLanes];
      V::double_store(weights, exp_nonpositive<V>(V::double_mul(V::double_add(V::widen(value), shift), factor)));
      for (int lane = 0; lane < kLanes; lane += 4)
        for (int j = 0; j < 4; ++j) sums[j] += weights[lane + j];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  static void softmax(float* x, int64_t n) {
    const Floats max = V::set1(largest(x, n));
    Doubles sum = V::double_set1(0);
    for (int64_t i = 0; i < n; i += kLanes) {
      const Floats e = exp<V>(V::sub(load<V>(x + i, n - i, kNothing), max));
      sum = V::double_add(sum, V::widen(e));
      store<V>(x + i, n - i, e);
    }
    const Floats total = V::set1(static_cast<float>(double_sum_lanes<V>(sum)));
    for (int64_t i = 0; i < n; i += kLanes) store<V>(x + i, n - i, V::div(load<V>(x + i, n - i, 0), total));
  }

  static float log_sum_exp(const float* x, int64_t n) {
    const float max = largest(x, n);
    if (max == kNothing) return max;
    Doubles sum = V::double_set1(0);
    for (int64_t i = 0; i < n; i += kLanes)
      sum = V::double_add(sum, V::widen(exp<V>(V::sub(load<V>(x + i, n - i, kNothing), V::set1(max)))));
    return static_cast<float>(static_cast<double>(max) + scalar::log(double_sum_lanes<V>(sum)));
  }

  static void rope(float* y, const float* x, const float* cosine, const float* sine, int64_t n) {
    const int64_t half = n / 2;
    for (int64_t j = 0; j < half; j += kLanes) {
      const int64_t left = half - j;
      const Floats a = load<V>(x + j, left, 0), b = load<V>(x + half + j, left, 0);
      const Floats c = load<V>(cosine + j, left, 0), s = load<V>(sine + j, left, 0);
      store<V>(y + j, left, V::fnma(b, s, V::mul(a, c)));
      store<V>(y + half + j, left, V::fma(a, s, V::mul(b, c)));
    }
  }

  // In the order of turn_block(), but two distances at a time: memory is passed over half as often.
  static void hadamard_block(float* x, int64_t n) {
    if (n < kLanes) return turn_block(x, n);
    const float root = inverse_root(n);
    for (int64_t i = 0; i < n; i += kLanes) {
      Floats value = V::template butterfly<1>(V::mul(V::load(x + i), V::set1(root)));
      value = V::template butterfly<4>(V::template butterfly<2>(value));
      V::store(x + i, V::template butterfly<8>(value));
    }
    int64_t apart = kLanes;
    for (; apart * 4 <= n; apart *= 4)
      for (int64_t i = 0; i < n; i += 4 * apart)
        for (int64_t j = i; j < i + apart; j += kLanes) four(x + j, apart);
    for (; apart * 2 <= n; apart *= 2) {
      for (int64_t j = 0; j < apart; j += kLanes) {
        const Floats a = V::load(x + j), b = V::load(x + j + apart);
        V::store(x + j, V::add(a, b));
        V::store(x + j + apart, V::sub(a, b));
      }
    }
  }

  // The butterflies at distances `apart` and twice that, of four times 16 values.
  FACET_INLINE static void four(float* x, int64_t apart) {
    const Floats a = V::load(x), b = V::load(x + apart), c = V::load(x + 2 * apart), d = V::load(x + 3 * apart);
    const Floats sum = V::add(a, b), difference = V::sub(a, b), far_sum = V::add(c, d), far_difference = V::sub(c, d);
    V::store(x, V::add(sum, far_sum));
    V::store(x + apart, V::add(difference, far_difference));
    V::store(x + 2 * apart, V::sub(sum, far_sum));
    V::store(x + 3 * apart, V::sub(difference, far_difference));
  }

  static void hadamard(float* x, int64_t n) { for_hadamard_blocks(x, n, hadamard_block); }

  static void add(float* y, const float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes)
      store<V>(y + i, n - i, V::add(load<V>(y + i, n - i, 0), load<V>(x + i, n - i, 0)));
  }

  static void add_scaled(float* y, const float* x, float s, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes)
      store<V>(y + i, n - i, V::fma(V::set1(s), load<V>(x + i, n - i, 0), load<V>(y + i, n - i, 0)));
  }

  static void scale(float* y, float s, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) store<V>(y + i, n - i, V::mul(load<V>(y + i, n - i, 0), V::set1(s)));
  }

  static void multiply(float* y, const float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes)
      store<V>(y + i, n - i, V::mul(load<V>(y + i, n - i, 0), load<V>(x + i, n - i, 0)));
  }

  // 16 codes and their sum: the bytes plus 128, added up by SAD, less 16 times 128.
  static int32_t write_codes(int8_t* to, Floats x, Floats scale) {
    const Floats bound = V::set1(127);
    const Floats code = V::min(bound, V::max(V::sub(V::zero(), bound), V::div(x, scale)));
    const __m128i bytes = V::codes(code);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    const __m128i sums = _mm_sad_epu8(_mm_xor_si128(bytes, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(sums) + _mm_cvtsi128_si32(_mm_srli_si128(sums, 8)) - 16 * 128;
  }

  static void quantize_q8(int8_t* codes, float* scales, int32_t* sums, const float* x, int64_t n) {
    for (int64_t first = 0; first < n; first += kBlock) {
      const Floats low = load<V>(x + first, n - first, 0);
      const int64_t left = n - first - kLanes;
      const Floats high = left > 0 ? load<V>(x + first + kLanes, left, 0) : V::zero();
      const float scale = finite_lane<V>(V::max_bits(V::magnitude(low), V::magnitude(high))) / 127.0f;
      int32_t* sum = sums + first / kSubBlock;
      scales[first / kBlock] = scale;
      if (scale > 0) {
        sum[0] = write_codes(codes + first, low, V::set1(scale));
        sum[1] = write_codes(codes + first + kLanes, high, V::set1(scale));
      } else {  // zeros, or a value that is not finite: the scale is NaN then
        std::memset(codes + first, 0, kBlock);
        sum[0] = sum[1] = 0;
      }
    }
  }

  static void round_bf16(uint16_t* y, const float* x, int64_t n) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) V::store_bf16(y + i, V::load(x + i));
    for (; i < n; ++i) y[i] = float_to_bf16(x[i]);
    if (n % 2 != 0) y[n] = 0;
  }

  static void add_to(Table& table) {
    table.rms_norm = rms_norm;
    table.gelu_times = gelu_times;
    table.softcap = softcap;
    table.softmax = softmax;
    table.rope = rope;
    table.hadamard = hadamard;
    table.add = add;
    table.add_scaled = add_scaled;
    table.scale = scale;
    table.multiply = multiply;
    table.dot = dot;
    table.block_maxima = block_maxima;
    table.total_weight = total_weight;
    table.log_sum_exp = log_sum_exp;
    table.quantize_q8 = quantize_q8;
    table.round_bf16 = round_bf16;
  }
};

}  // namespace facet::kernels::simd
