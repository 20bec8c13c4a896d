// 16 floats in two AVX2 registers, as lanes_simd.h wants them. Included between FACET_TARGET_BEGIN and _END.
#pragma once

#include "kernels/lanes_simd.h"

namespace facet::kernels::avx2 {
namespace {

struct Lanes {
  struct Floats {
    __m256 low, high;
  };
  struct Doubles {
    __m256d part[4];
  };
  static constexpr int kQueryTile = 4, kTileVectors = 1;
  static constexpr bool kMultipliesPairs = false;
  static constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

  FACET_INLINE static Floats zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  FACET_INLINE static Floats set1(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  FACET_INLINE static Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  FACET_INLINE static void store(float* to, Floats value) {
    _mm256_storeu_ps(to, value.low);
    _mm256_storeu_ps(to + 8, value.high);
  }
  FACET_INLINE static Floats add(Floats a, Floats b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats sub(Floats a, Floats b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats mul(Floats a, Floats b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats div(Floats a, Floats b) {
    return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats fma(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  FACET_INLINE static Floats fnma(Floats a, Floats b, Floats c) {
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
  }
  FACET_INLINE static Floats min(Floats a, Floats b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats max(Floats a, Floats b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats round(Floats x) {
    return {_mm256_round_ps(x.low, kNearest), _mm256_round_ps(x.high, kNearest)};
  }

  // In two steps, each a normal power: -150 <= n <= 129 reaches into the subnormals and past the largest float.
  FACET_INLINE static __m256 power(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }
  FACET_INLINE static __m256 scaled(__m256 x, __m256 n) {
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(x, power(half)), power(_mm256_sub_epi32(whole, half)));
  }
  FACET_INLINE static Floats scale_by_power(Floats x, Floats n) {
    return {scaled(x.low, n.low), scaled(x.high, n.high)};
  }

  FACET_INLINE static __m256 masked(__m256 x, int mask) {
    return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(mask)));
  }
  FACET_INLINE static Floats magnitude(Floats x) { return {masked(x.low, 0x7fffffff), masked(x.high, 0x7fffffff)}; }
  FACET_INLINE static Floats with_sign_of(Floats x, Floats y) {
    constexpr int kSign = -0x7fffffff - 1;
    return {_mm256_or_ps(x.low, masked(y.low, kSign)), _mm256_or_ps(x.high, masked(y.high, kSign))};
  }
  FACET_INLINE static __m256 larger_bits(__m256 a, __m256 b) {
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
  }
  FACET_INLINE static Floats max_bits(Floats a, Floats b) {
    return {larger_bits(a.low, b.low), larger_bits(a.high, b.high)};
  }
  template <int w>
  FACET_INLINE static __m256 butterfly_half(__m256 x) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256 other = _mm256_permutevar8x32_ps(x, _mm256_xor_si256(lane, _mm256_set1_epi32(w)));
    const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(lane, _mm256_set1_epi32(w)), w == 1   ? 31
                                                                                         : w == 2 ? 30
                                                                                                  : 29);
    return _mm256_add_ps(other, _mm256_xor_ps(x, _mm256_castsi256_ps(sign)));
  }
  template <int w>
  FACET_INLINE static Floats butterfly(Floats x) {
    if constexpr (w == 8) return {_mm256_add_ps(x.low, x.high), _mm256_sub_ps(x.low, x.high)};
    return {butterfly_half<w>(x.low), butterfly_half<w>(x.high)};
  }
  FACET_INLINE static __m128i words(__m256i x) {  // 8 integers to 16 bits
    return _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  }
  FACET_INLINE static __m128i codes(Floats x) {
    return _mm_packs_epi16(words(_mm256_cvtps_epi32(x.low)), words(_mm256_cvtps_epi32(x.high)));
  }
  FACET_INLINE static __m128i unsigned_words(__m256i x) {
    return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  }
  FACET_INLINE static __m128i bf16(__m256 x) {
    const __m256i value = _mm256_castps_si256(x);
    const __m256i tie = _mm256_and_si256(_mm256_srli_epi32(value, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(value, _mm256_add_epi32(tie, _mm256_set1_epi32(0x7fff)));
    const __m256i nan = _mm256_or_si256(value, _mm256_set1_epi32(0x400000));
    const __m256i is_nan =
        _mm256_cmpgt_epi32(_mm256_castps_si256(masked(x, 0x7fffffff)), _mm256_set1_epi32(0x7f800000));
    return unsigned_words(_mm256_srli_epi32(_mm256_blendv_epi8(rounded, nan, is_nan), 16));
  }
  FACET_INLINE static void store_bf16(uint16_t* to, Floats x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bf16(x.low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), bf16(x.high));
  }

  FACET_INLINE static Doubles widen(Floats x) {
    return {{_mm256_cvtps_pd(_mm256_castps256_ps128(x.low)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.low, 1)),
             _mm256_cvtps_pd(_mm256_castps256_ps128(x.high)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.high, 1))}};
  }
  FACET_INLINE static Floats narrow(Doubles x) {
    return {_mm256_set_m128(_mm256_cvtpd_ps(x.part[1]), _mm256_cvtpd_ps(x.part[0])),
            _mm256_set_m128(_mm256_cvtpd_ps(x.part[3]), _mm256_cvtpd_ps(x.part[2]))};
  }
  FACET_INLINE static Doubles double_set1(double x) {
    const __m256d all = _mm256_set1_pd(x);
    return {{all, all, all, all}};
  }
  FACET_INLINE static void double_store(double* to, Doubles x) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) _mm256_storeu_pd(to + 4 * i, x.part[i]);
  }
  FACET_INLINE static Doubles double_add(Doubles a, Doubles b) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = _mm256_add_pd(a.part[i], b.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_mul(Doubles a, Doubles b) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = _mm256_mul_pd(a.part[i], b.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_fma(Doubles a, Doubles b, Doubles c) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = _mm256_fmadd_pd(a.part[i], b.part[i], c.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_fnma(Doubles a, Doubles b, Doubles c) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = _mm256_fnmadd_pd(a.part[i], b.part[i], c.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_min(Doubles a, Doubles b) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = _mm256_min_pd(a.part[i], b.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_max(Doubles a, Doubles b) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = _mm256_max_pd(a.part[i], b.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_times_power(Doubles a, Doubles b) {
    const __m256i bias = _mm256_set1_epi64x(1023);
    FACET_UNROLL for (int i = 0; i < 4; ++i) {
      const __m256i exponent = _mm256_slli_epi64(_mm256_add_epi64(_mm256_castpd_si256(b.part[i]), bias), 52);
      a.part[i] = _mm256_mul_pd(a.part[i], _mm256_castsi256_pd(exponent));
    }
    return a;
  }
  FACET_INLINE static Doubles double_zero_below(Doubles a, Doubles b, double bound) {
    const __m256d all = _mm256_set1_pd(bound);
    FACET_UNROLL for (int i = 0; i < 4; ++i) a.part[i] =
        _mm256_andnot_pd(_mm256_cmp_pd(b.part[i], all, _CMP_LT_OQ), a.part[i]);
    return a;
  }
  FACET_INLINE static Doubles double_round(Doubles x) {
    FACET_UNROLL for (int i = 0; i < 4; ++i) x.part[i] = _mm256_round_pd(x.part[i], kNearest);
    return x;
  }

  // Even and odd elements of 16 floats: shuffling works in halves of 128 bits, whose quarters are then put in order.
  template <int selection>
  FACET_INLINE static __m256 every_other(__m256 a, __m256 b) {
    const __m256d mixed = _mm256_castps_pd(_mm256_shuffle_ps(a, b, selection));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(mixed, 0xD8));
  }
  FACET_INLINE static __m256 floats(const std::byte* from) {
    return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  FACET_INLINE static __m256i ints(const std::byte* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  FACET_INLINE static void pairs_f32(const std::byte* from, Floats& even, Floats& odd) {
    const __m256 a = floats(from), b = floats(from + 32), c = floats(from + 64), d = floats(from + 96);
    even = {every_other<0x88>(a, b), every_other<0x88>(c, d)};
    odd = {every_other<0xDD>(a, b), every_other<0xDD>(c, d)};
  }
  FACET_INLINE static __m256 low_halves(__m256i pairs) {
    return _mm256_cvtph_ps(unsigned_words(_mm256_and_si256(pairs, _mm256_set1_epi32(0xffff))));
  }
  FACET_INLINE static __m256 high_halves(__m256i pairs) {
    return _mm256_cvtph_ps(unsigned_words(_mm256_srli_epi32(pairs, 16)));
  }
  FACET_INLINE static void pairs_f16(const std::byte* from, Floats& even, Floats& odd) {
    const __m256i low = ints(from), high = ints(from + 32);
    even = {low_halves(low), low_halves(high)};
    odd = {high_halves(low), high_halves(high)};
  }
  FACET_INLINE static void pairs_bf16(const std::byte* from, Floats& even, Floats& odd) {
    const __m256i low = ints(from), high = ints(from + 32);
    even = {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
    odd = {masked(_mm256_castsi256_ps(low), -0x10000), masked(_mm256_castsi256_ps(high), -0x10000)};
  }

  FACET_INLINE static __m256 inside_half(__m256 x, __m256 otherwise, int begin, int end) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i from = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), lane);
    const __m256i to = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane);
    return _mm256_blendv_ps(otherwise, x, _mm256_castsi256_ps(_mm256_andnot_si256(from, to)));
  }
  FACET_INLINE static Floats inside(Floats x, Floats otherwise, int begin, int end) {
    return {inside_half(x.low, otherwise.low, begin, end), inside_half(x.high, otherwise.high, begin - 8, end - 8)};
  }
};

}  // namespace
}  // namespace facet::kernels::avx2
