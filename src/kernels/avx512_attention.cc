// The attention kernels with AVX-512: attention_simd.h on its registers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 means its own _mm512_undefined_ps
#endif
#include <immintrin.h>

#include <array>
#include <cstring>
#include <limits>

#include "kernels/kv_layout.h"
#include "kernels/target.h"
#include "kernels/tiers.h"

FACET_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")

#include "kernels/avx512_lanes.h"
#include "kernels/int8_attention_simd.h"

namespace facet::kernels::avx512 {
namespace {

// A code of 16 bits is 256 times its high byte plus its low byte: VPDPBUSD multiplies each with the stored codes. Of
// queries the low byte has a sign as well (and the stored keys none), of weights neither has.
struct Codes {
  struct Sums {
    __m512i low, high;
  };
  using Cells = __m512i;
  static constexpr int kQueryTile = 4;

  FACET_INLINE static Sums start(int32_t value) { return {_mm512_set1_epi32(value), _mm512_setzero_si512()}; }
  FACET_INLINE static Lanes::Floats total(Sums sums) {
    return _mm512_cvtepi32_ps(_mm512_add_epi32(sums.low, _mm512_slli_epi32(sums.high, 8)));
  }

  FACET_INLINE static Cells keys(const std::byte* from) { return _mm512_loadu_si512(from); }
  FACET_INLINE static Cells values(const std::byte* from) { return _mm512_loadu_si512(from); }

  FACET_INLINE static __m512i four_bytes(const std::byte* from) {
    int32_t word;
    std::memcpy(&word, from, sizeof(word));
    return _mm512_set1_epi32(word);
  }
  FACET_INLINE static void add_keys(Sums& sums, Cells cells, const std::byte* quad) {
    sums.low = _mm512_dpbusd_epi32(sums.low, cells, four_bytes(quad));
    sums.high = _mm512_dpbusd_epi32(sums.high, cells, four_bytes(quad + 4));
  }
  FACET_INLINE static void add_values(Sums& sums, Cells cells, const std::byte* quad) {
    sums.low = _mm512_dpbusd_epi32(sums.low, four_bytes(quad), cells);
    sums.high = _mm512_dpbusd_epi32(sums.high, four_bytes(quad + 4), cells);
  }

  // Of four whole numbers each: the four low bytes, then the four above them.
  FACET_INLINE static __m256i quads(__m512i x) {
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m512i places = _mm512_setr_epi64(0, 2, 4, 6, 0, 0, 0, 0);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi64(places, _mm512_shuffle_epi8(x, order)));
  }
  // 1.5 * 2^23 leaves no bit for a fraction; the low 16 bits of the sum are then the rounded integer's.
  FACET_INLINE static __m512i whole(Lanes::Floats x) { return Lanes::bits(Lanes::add(x, Lanes::set1(12582912.0f))); }
  // x = 256 high + low, low in -128 … 127: the bytes of x + 128, less 128 of the low one.
  FACET_INLINE static void store_query(std::byte* to, Lanes::Floats x) {
    const __m256i bytes = quads(_mm512_add_epi32(whole(x), _mm512_set1_epi32(128)));
    const __m256i sign_of_low = _mm256_set1_epi64x(0x80808080);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_xor_si256(bytes, sign_of_low));
  }
  FACET_INLINE static void store_weights(std::byte* to, Lanes::Floats x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), quads(whole(x)));
  }
};

}  // namespace

void add_attention_kernels(Table& table) {
  static const std::array<KvType, 4> types = simd::kv_table<Lanes, Codes>();
  table.kv_types = types;
  table.softmax_step = simd::SoftmaxKernels<Lanes>::step;
  table.softmax_fold = simd::SoftmaxKernels<Lanes>::fold;
}

}  // namespace facet::kernels::avx512

FACET_TARGET_END
