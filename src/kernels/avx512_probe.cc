// The probe with AVX-512. Sixteen sums are in flight: two units, each with a latency of four or five cycles.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 means its own _mm512_undefined_ps
#endif
#include <immintrin.h>

#include "kernels/inline.h"
#include "kernels/probe.h"
#include "kernels/target.h"

FACET_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")

namespace facet::kernels::avx512 {
namespace {

constexpr int kSums = 16;

// Keeps a sum in its register: g++ 12 would copy them to and fro in every round.
template <class T>
FACET_INLINE void keep([[maybe_unused]] T& sum) {
#if !defined(FACET_EMULATE_AVX512)
  asm("" : "+v"(sum));
#endif
}

uint64_t read(const std::byte* from, int64_t n) {
  __m512i sum[8];
  FACET_UNROLL for (int j = 0; j < 8; ++j) sum[j] = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += 512)
    FACET_UNROLL for (int j = 0; j < 8; ++j) sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(from + i + 64 * j));
  FACET_UNROLL for (int j = 1; j < 8; ++j) sum[0] = _mm512_xor_si512(sum[0], sum[j]);
  alignas(64) uint64_t word[8];
  _mm512_store_si512(word, sum[0]);
  uint64_t all = 0;
  for (const uint64_t each : word) all ^= each;
  return all;
}

void store(float* sink, __m512 value) {
  alignas(64) float lane[16];
  _mm512_store_ps(lane, value);
  *sink = lane[0];
}

int64_t multiply_q8(int64_t rounds, float* sink) {
  __m512i sum[kSums];
  FACET_UNROLL for (int j = 0; j < kSums; ++j) sum[j] = _mm512_set1_epi32(j);
  const __m512i codes = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-5);
  for (int64_t round = 0; round < rounds; ++round) FACET_UNROLL for (int j = 0; j < kSums; ++j) {
      sum[j] = _mm512_dpbusd_epi32(sum[j], codes, x);
      keep(sum[j]);
    }
  FACET_UNROLL for (int j = 1; j < kSums; ++j) sum[0] = _mm512_add_epi32(sum[0], sum[j]);
  store(sink, _mm512_cvtepi32_ps(sum[0]));
  return rounds * kSums * 64 * 2;
}

FACET_INLINE __m512 dot_bf16(__m512 sum, __m512i x) {
#if defined(FACET_EMULATE_AVX512)
  return _mm512_dpbf16_ps(sum, x, x);
#else
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(x));
#endif
}

int64_t multiply_bf16(int64_t rounds, float* sink) {
  __m512 sum[kSums];
  FACET_UNROLL for (int j = 0; j < kSums; ++j) sum[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512i one = _mm512_set1_epi16(0x3F80);
  for (int64_t round = 0; round < rounds; ++round) FACET_UNROLL for (int j = 0; j < kSums; ++j) {
      sum[j] = dot_bf16(sum[j], one);
      keep(sum[j]);
    }
  FACET_UNROLL for (int j = 1; j < kSums; ++j) sum[0] = _mm512_add_ps(sum[0], sum[j]);
  store(sink, sum[0]);
  return rounds * kSums * 32 * 2;
}

int64_t multiply_f32(int64_t rounds, float* sink) {
  __m512 sum[kSums];
  FACET_UNROLL for (int j = 0; j < kSums; ++j) sum[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512 half = _mm512_set1_ps(0.5f);
  for (int64_t round = 0; round < rounds; ++round) FACET_UNROLL for (int j = 0; j < kSums; ++j) {
      sum[j] = _mm512_fmadd_ps(sum[j], half, half);
      keep(sum[j]);
    }
  FACET_UNROLL for (int j = 1; j < kSums; ++j) sum[0] = _mm512_add_ps(sum[0], sum[j]);
  store(sink, sum[0]);
  return rounds * kSums * 16 * 2;
}

}  // namespace

const Probe& probe() {
  static constexpr Probe kProbe = {
      .read = read, .multiply_q8 = multiply_q8, .multiply_bf16 = multiply_bf16, .multiply_f32 = multiply_f32};
  return kProbe;
}

}  // namespace facet::kernels::avx512

FACET_TARGET_END
