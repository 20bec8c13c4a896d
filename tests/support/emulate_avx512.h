// Compiled in front of src/kernels/avx512_*.cc (by the option -include) when the tests build that tier a second time,
// in portable code, so that it runs on every machine. See docs/kernels.md.
//
// SIMDe supplies the AVX-512 intrinsics as functions; what it lacks, or rounds twice, is written out below. The tier's
// namespace becomes avx512_emulated, so that both builds live in one program.
#pragma once

#define FACET_EMULATE_AVX512 1

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/table.h"
#include "kernels/target.h"

#undef FACET_TARGET_BEGIN
#undef FACET_TARGET_END
#define FACET_TARGET_BEGIN(features)
#define FACET_TARGET_END

namespace facet::testing::emulated {

template <class V>
struct Lanes {
  static constexpr int kCount = sizeof(V) / sizeof(float);
  float value[kCount];
  explicit Lanes(V v) { std::memcpy(value, &v, sizeof(v)); }
  V vector() const {
    V v;
    std::memcpy(&v, value, sizeof(v));
    return v;
  }
};

// SIMDe without FMA hardware multiplies and adds with two roundings; the row law needs one.
template <class V>
V fma(V a, V b, V c, float sign_of_product, float sign_of_sum) {
  const Lanes<V> x(a), y(b);
  Lanes<V> z(c);
  for (int i = 0; i < z.kCount; ++i)
    z.value[i] = std::fma(sign_of_product * x.value[i], y.value[i], sign_of_sum * z.value[i]);
  return z.vector();
}

inline simde__m512 halves_to_floats(simde__m256i halves) {
  uint16_t half[16];
  std::memcpy(half, &halves, sizeof(half));
  float value[16];
  for (int i = 0; i < 16; ++i) value[i] = simde_float16_to_float32(simde_uint16_as_float16(half[i]));
  return simde_mm512_loadu_ps(value);
}

// Lanes of type From, each converted to To: what SIMDe lacks of the _mm512_cvt… family.
template <class To, class From, class Result, class Source>
Result converted(Source source) {
  constexpr int kCount = sizeof(source) / sizeof(From);
  static_assert(sizeof(Result) == kCount * sizeof(To));
  From from[kCount];
  To to[kCount];
  std::memcpy(from, &source, sizeof(from));
  for (int i = 0; i < kCount; ++i) to[i] = static_cast<To>(from[i]);
  Result result;
  std::memcpy(&result, to, sizeof(result));
  return result;
}

inline float bf16_or_zero(uint16_t bits) {  // VDPBF16PS reads subnormals as zero
  const uint32_t wide =
      (bits & 0x7f80) == 0 ? static_cast<uint32_t>(bits & 0x8000) << 16 : static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

inline float flushed(float value) { return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value; }

// VDPBF16PS: for each lane the odd pair first, then the even one, each a fused multiplication and addition that
// flushes subnormal results to zero.
template <class A, class B>
simde__m512 dot_bf16(simde__m512 sum, A a, B b) {
  static_assert(sizeof(a) == 64 && sizeof(b) == 64);
  Lanes<simde__m512> s(sum);
  uint16_t x[32], y[32];
  std::memcpy(x, &a, sizeof(x));
  std::memcpy(y, &b, sizeof(y));
  for (int i = 0; i < 16; ++i) {
    const float first = flushed(std::fma(bf16_or_zero(x[2 * i + 1]), bf16_or_zero(y[2 * i + 1]), flushed(s.value[i])));
    s.value[i] = flushed(std::fma(bf16_or_zero(x[2 * i]), bf16_or_zero(y[2 * i]), first));
  }
  return s.vector();
}

}  // namespace facet::testing::emulated

#undef _mm512_fmadd_ps
#undef _mm512_fmsub_ps
#undef _mm512_fnmadd_ps
#undef _mm256_fmadd_ps
#undef _mm256_fmsub_ps
#undef _mm256_fnmadd_ps
#undef _mm_fmadd_ps
#undef _mm_fnmadd_ps
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtps_pd
#undef _mm512_cvtpd_ps
#undef _mm512_cvtph_ps
#undef _mm512_dpbf16_ps
#define _mm512_fmadd_ps(a, b, c) ::facet::testing::emulated::fma<simde__m512>(a, b, c, 1, 1)
#define _mm512_fmsub_ps(a, b, c) ::facet::testing::emulated::fma<simde__m512>(a, b, c, 1, -1)
#define _mm512_fnmadd_ps(a, b, c) ::facet::testing::emulated::fma<simde__m512>(a, b, c, -1, 1)
#define _mm256_fmadd_ps(a, b, c) ::facet::testing::emulated::fma<simde__m256>(a, b, c, 1, 1)
#define _mm256_fmsub_ps(a, b, c) ::facet::testing::emulated::fma<simde__m256>(a, b, c, 1, -1)
#define _mm256_fnmadd_ps(a, b, c) ::facet::testing::emulated::fma<simde__m256>(a, b, c, -1, 1)
#define _mm_fmadd_ps(a, b, c) ::facet::testing::emulated::fma<simde__m128>(a, b, c, 1, 1)
#define _mm_fnmadd_ps(a, b, c) ::facet::testing::emulated::fma<simde__m128>(a, b, c, -1, 1)
#define _mm512_cvtepi32_ps(a) ::facet::testing::emulated::converted<float, int32_t, simde__m512>(a)
#define _mm512_cvtepi8_epi32(a) ::facet::testing::emulated::converted<int32_t, int8_t, simde__m512i>(a)
#define _mm512_cvtepu8_epi32(a) ::facet::testing::emulated::converted<int32_t, uint8_t, simde__m512i>(a)
#define _mm512_cvtepi32_epi8(a) ::facet::testing::emulated::converted<int8_t, int32_t, simde__m128i>(a)
#define _mm512_cvtepi32_epi16(a) ::facet::testing::emulated::converted<int16_t, int32_t, simde__m256i>(a)
#define _mm512_cvtps_pd(a) ::facet::testing::emulated::converted<double, float, simde__m512d>(a)
#define _mm512_cvtpd_ps(a) ::facet::testing::emulated::converted<float, double, simde__m256>(a)
#define _mm512_cvtph_ps(a) ::facet::testing::emulated::halves_to_floats(a)
#define _mm512_dpbf16_ps(s, a, b) ::facet::testing::emulated::dot_bf16(s, a, b)

// From here on: the namespace of the tier, declared in kernels/tiers.h and defined in the tier's files.
#define avx512 avx512_emulated
