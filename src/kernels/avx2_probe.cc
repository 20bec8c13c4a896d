// The probe with AVX2, whose int8 products are VPMADDUBSW, VPMADDWD and VPADDD, and which multiplies bf16 as float.
#include <immintrin.h>

#include "kernels/inline.h"
#include "kernels/probe.h"
#include "kernels/target.h"

FACET_TARGET_BEGIN("avx2,fma,f16c")

namespace facet::kernels::avx2 {
namespace {

constexpr int kSums = 12;  // as many as the sixteen registers leave

// Keeps a sum in its register: g++ 12 would copy them to and fro in every round.
template <class T>
FACET_INLINE void keep(T& sum) {
  asm("" : "+x"(sum));
}

uint64_t read(const std::byte* from, int64_t n) {
  __m256i sum[8];
  FACET_UNROLL for (int j = 0; j < 8; ++j) sum[j] = _mm256_setzero_si256();
  for (int64_t i = 0; i < n; i += 256)
    FACET_UNROLL for (int j = 0; j < 8; ++j) sum[j] =
        _mm256_xor_si256(sum[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 32 * j)));
  FACET_UNROLL for (int j = 1; j < 8; ++j) sum[0] = _mm256_xor_si256(sum[0], sum[j]);
  alignas(32) uint64_t word[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(word), sum[0]);
  return word[0] ^ word[1] ^ word[2] ^ word[3];
}

void store(float* sink, __m256 value) {
  alignas(32) float lane[8];
  _mm256_store_ps(lane, value);
  *sink = lane[0];
}

// As a product of four-bit codes does it: four lines are added in 16 bits before they are widened.
int64_t multiply_q8(int64_t rounds, float* sink) {
  constexpr int kWideSums = 6;
  __m256i sum[kWideSums];
  FACET_UNROLL for (int j = 0; j < kWideSums; ++j) sum[j] = _mm256_set1_epi32(j);
  const __m256i a = _mm256_set1_epi8(-5), b = _mm256_set1_epi8(3), c = _mm256_set1_epi8(7), d = _mm256_set1_epi8(-2);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) FACET_UNROLL for (int j = 0; j < kWideSums; ++j) {
      // The sum is an operand, too: a product of constants would be taken out of the loop.
      const __m256i ab = _mm256_add_epi16(_mm256_maddubs_epi16(sum[j], a), _mm256_maddubs_epi16(sum[j], b));
      const __m256i cd = _mm256_add_epi16(_mm256_maddubs_epi16(sum[j], c), _mm256_maddubs_epi16(sum[j], d));
      sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(_mm256_add_epi16(ab, cd), ones));
      keep(sum[j]);
    }
  FACET_UNROLL for (int j = 1; j < kWideSums; ++j) sum[0] = _mm256_add_epi32(sum[0], sum[j]);
  store(sink, _mm256_cvtepi32_ps(sum[0]));
  return rounds * kWideSums * 4 * 32 * 2;
}

int64_t multiply_f32(int64_t rounds, float* sink) {
  __m256 sum[kSums];
  FACET_UNROLL for (int j = 0; j < kSums; ++j) sum[j] = _mm256_set1_ps(static_cast<float>(j));
  const __m256 half = _mm256_set1_ps(0.5f);
  for (int64_t round = 0; round < rounds; ++round) FACET_UNROLL for (int j = 0; j < kSums; ++j) {
      sum[j] = _mm256_fmadd_ps(sum[j], half, half);
      keep(sum[j]);
    }
  FACET_UNROLL for (int j = 1; j < kSums; ++j) sum[0] = _mm256_add_ps(sum[0], sum[j]);
  store(sink, sum[0]);
  return rounds * kSums * 8 * 2;
}

}  // namespace

const Probe& probe() {
  static constexpr Probe kProbe = {
      .read = read, .multiply_q8 = multiply_q8, .multiply_bf16 = multiply_f32, .multiply_f32 = multiply_f32};
  return kProbe;
}

}  // namespace facet::kernels::avx2

FACET_TARGET_END
