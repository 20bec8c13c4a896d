// 16 floats in one AVX-512 register, as lanes_simd.h wants them. Included between FACET_TARGET_BEGIN and _END.
#pragma once

#include "kernels/lanes_simd.h"

namespace facet::kernels::avx512 {
namespace {

struct Lanes {
  using Floats = __m512;
  struct Doubles {
    __m512d low, high;
  };
  static constexpr int kQueryTile = 8, kTileVectors = 2;
  static constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

  FACET_INLINE static Floats zero() { return _mm512_setzero_ps(); }
  FACET_INLINE static Floats set1(float value) { return _mm512_set1_ps(value); }
  FACET_INLINE static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  FACET_INLINE static void store(float* to, Floats value) { _mm512_storeu_ps(to, value); }
  FACET_INLINE static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  FACET_INLINE static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  FACET_INLINE static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  FACET_INLINE static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  FACET_INLINE static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  FACET_INLINE static Floats fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
  FACET_INLINE static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  FACET_INLINE static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  FACET_INLINE static Floats round(Floats x) { return _mm512_roundscale_ps(x, kNearest); }
  FACET_INLINE static Floats scale_by_power(Floats x, Floats n) { return _mm512_scalef_ps(x, n); }

  FACET_INLINE static __m512i bits(Floats x) { return _mm512_castps_si512(x); }
  FACET_INLINE static Floats floats(__m512i x) { return _mm512_castsi512_ps(x); }
  FACET_INLINE static Floats magnitude(Floats x) {
    return floats(_mm512_and_si512(bits(x), _mm512_set1_epi32(0x7fffffff)));
  }
  FACET_INLINE static Floats with_sign_of(Floats x, Floats y) {
    return floats(_mm512_or_si512(bits(x), _mm512_and_si512(bits(y), _mm512_set1_epi32(-0x7fffffff - 1))));
  }
  FACET_INLINE static Floats max_bits(Floats a, Floats b) { return floats(_mm512_max_epu32(bits(a), bits(b))); }
  template <int w>
  FACET_INLINE static Floats butterfly(Floats x) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const Floats other = _mm512_permutexvar_ps(_mm512_xor_si512(lane, _mm512_set1_epi32(w)), x);
    const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(lane, _mm512_set1_epi32(w)), w == 1   ? 31
                                                                                         : w == 2 ? 30
                                                                                         : w == 4 ? 29
                                                                                                  : 28);
    return _mm512_add_ps(other, floats(_mm512_xor_si512(bits(x), sign)));
  }
  // 1.5 * 2^23 leaves no bit for a fraction; the low byte of the sum is then the rounded integer.
  FACET_INLINE static __m128i codes(Floats x) {
    return _mm512_cvtepi32_epi8(bits(_mm512_add_ps(x, _mm512_set1_ps(12582912.0f))));
  }
  FACET_INLINE static void store_bf16(uint16_t* to, Floats x) {
    const __m512i value = bits(x), tie = _mm512_and_si512(_mm512_srli_epi32(value, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(value, _mm512_add_epi32(tie, _mm512_set1_epi32(0x7fff)));
    const __m512i nan = _mm512_or_si512(value, _mm512_set1_epi32(0x400000));
    const __mmask16 is_nan = _mm512_cmpgt_epi32_mask(bits(magnitude(x)), _mm512_set1_epi32(0x7f800000));
    const __m512i chosen = _mm512_mask_blend_epi32(is_nan, rounded, nan);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16)));
  }

  FACET_INLINE static Doubles widen(Floats x) {
    const __m256d high = _mm512_extractf64x4_pd(_mm512_castps_pd(x), 1);
    return {_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm256_castpd_ps(high))};
  }
  FACET_INLINE static Floats narrow(Doubles x) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(x.low)), _mm512_cvtpd_ps(x.high), 1);
  }
  FACET_INLINE static Doubles double_set1(double x) { return {_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
  FACET_INLINE static void double_store(double* to, Doubles x) {
    _mm512_storeu_pd(to, x.low);
    _mm512_storeu_pd(to + 8, x.high);
  }
  FACET_INLINE static Doubles double_add(Doubles a, Doubles b) {
    return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)};
  }
  FACET_INLINE static Doubles double_mul(Doubles a, Doubles b) {
    return {_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)};
  }
  FACET_INLINE static Doubles double_fma(Doubles a, Doubles b, Doubles c) {
    return {_mm512_fmadd_pd(a.low, b.low, c.low), _mm512_fmadd_pd(a.high, b.high, c.high)};
  }
  FACET_INLINE static Doubles double_fnma(Doubles a, Doubles b, Doubles c) {
    return {_mm512_fnmadd_pd(a.low, b.low, c.low), _mm512_fnmadd_pd(a.high, b.high, c.high)};
  }
  FACET_INLINE static Doubles double_min(Doubles a, Doubles b) {
    return {_mm512_min_pd(a.low, b.low), _mm512_min_pd(a.high, b.high)};
  }
  FACET_INLINE static Doubles double_max(Doubles a, Doubles b) {
    return {_mm512_max_pd(a.low, b.low), _mm512_max_pd(a.high, b.high)};
  }
  FACET_INLINE static __m512d power(__m512d b) {
    return _mm512_castsi512_pd(
        _mm512_slli_epi64(_mm512_add_epi64(_mm512_castpd_si512(b), _mm512_set1_epi64(1023)), 52));
  }
  FACET_INLINE static Doubles double_times_power(Doubles a, Doubles b) {
    return {_mm512_mul_pd(a.low, power(b.low)), _mm512_mul_pd(a.high, power(b.high))};
  }
  FACET_INLINE static __m512d zero_below(__m512d a, __m512d b, double bound) {
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(b, _mm512_set1_pd(bound), _CMP_NLT_UQ), a);
  }
  FACET_INLINE static Doubles double_zero_below(Doubles a, Doubles b, double bound) {
    return {zero_below(a.low, b.low, bound), zero_below(a.high, b.high, bound)};
  }
  FACET_INLINE static Doubles double_round(Doubles x) {
    return {_mm512_roundscale_pd(x.low, kNearest), _mm512_roundscale_pd(x.high, kNearest)};
  }

  FACET_INLINE static void pairs_f32(const std::byte* from, Floats& even, Floats& odd) {
    const Floats a = _mm512_loadu_ps(from), b = _mm512_loadu_ps(from + 64);
    const __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    even = _mm512_permutex2var_ps(a, first, b);
    odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(first, _mm512_set1_epi32(1)), b);
  }
  FACET_INLINE static void pairs_f16(const std::byte* from, Floats& even, Floats& odd) {
    const __m512i pairs = _mm512_loadu_si512(from);
    even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs));
    odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
  }
  FACET_INLINE static void pairs_bf16(const std::byte* from, Floats& even, Floats& odd) {
    const __m512i pairs = _mm512_loadu_si512(from);
    even = floats(_mm512_slli_epi32(pairs, 16));
    odd = floats(_mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000)));
  }
  // Σ of two products in each lane: of a stored pair and the pair at x.
  static constexpr bool kMultipliesPairs = true;
  FACET_INLINE static Floats add_pairs(Floats sum, const std::byte* pairs, const uint16_t* x) {
    int32_t two;
    std::memcpy(&two, x, sizeof(two));
    const __m512i cells = _mm512_loadu_si512(pairs), both = _mm512_set1_epi32(two);
#if defined(FACET_EMULATE_AVX512)
    return _mm512_dpbf16_ps(sum, cells, both);
#else
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(cells), reinterpret_cast<__m512bh>(both));
#endif
  }
  // Bits 0 … n - 1.
  FACET_INLINE static unsigned below(int n) { return n <= 0 ? 0u : n >= 16 ? 0xffffu : (1u << n) - 1; }
  FACET_INLINE static Floats inside(Floats x, Floats otherwise, int begin, int end) {
    return _mm512_mask_mov_ps(otherwise, static_cast<__mmask16>(below(end) & ~below(begin)), x);
  }
};

}  // namespace
}  // namespace facet::kernels::avx512
