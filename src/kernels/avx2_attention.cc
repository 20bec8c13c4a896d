// The attention kernels with AVX2: attention_simd.h on its registers.
#include <immintrin.h>

#include <array>
#include <cstring>
#include <limits>

#include "kernels/kv_layout.h"
#include "kernels/target.h"
#include "kernels/tiers.h"

FACET_TARGET_BEGIN("avx2,fma,f16c")

#include "kernels/avx2_lanes.h"
#include "kernels/int8_attention_simd.h"

namespace facet::kernels::avx2 {
namespace {

// Codes of 8 bits become pairs of 16: the first and third of a quad, the second and fourth; VPMADDWD adds up two
// products.
struct Codes {
  struct Sums {
    __m256i low, high;
  };
  struct Cells {
    __m256i low[2], high[2];  // first and third, second and fourth
  };
  static constexpr int kQueryTile = 2;

  FACET_INLINE static Sums start(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
  FACET_INLINE static Lanes::Floats total(Sums sums) {
    return {_mm256_cvtepi32_ps(sums.low), _mm256_cvtepi32_ps(sums.high)};
  }

  FACET_INLINE static Cells keys(const std::byte* from) {
    const __m256i low = Lanes::ints(from), high = Lanes::ints(from + 32), byte = _mm256_set1_epi16(255);
    return {{_mm256_and_si256(low, byte), _mm256_srli_epi16(low, 8)},
            {_mm256_and_si256(high, byte), _mm256_srli_epi16(high, 8)}};
  }
  FACET_INLINE static Cells values(const std::byte* from) {
    const __m256i low = Lanes::ints(from), high = Lanes::ints(from + 32);
    return {{_mm256_srai_epi16(_mm256_slli_epi16(low, 8), 8), _mm256_srai_epi16(low, 8)},
            {_mm256_srai_epi16(_mm256_slli_epi16(high, 8), 8), _mm256_srai_epi16(high, 8)}};
  }

  FACET_INLINE static void add_keys(Sums& sums, const Cells& cells, const std::byte* quad) {
    FACET_UNROLL for (int pair = 0; pair < 2; ++pair) {
      int32_t word;
      std::memcpy(&word, quad + 4 * pair, sizeof(word));
      const __m256i codes = _mm256_set1_epi32(word);
      sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(cells.low[pair], codes));
      sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(cells.high[pair], codes));
    }
  }
  FACET_INLINE static void add_values(Sums& sums, const Cells& cells, const std::byte* quad) {
    add_keys(sums, cells, quad);
  }

  FACET_INLINE static __m128i quads(__m256 x) {
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m256i codes = _mm256_shuffle_epi8(_mm256_cvtps_epi32(x), order);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(codes, 0x08));
  }
  FACET_INLINE static void store_query(std::byte* to, Lanes::Floats x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), quads(x.low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), quads(x.high));
  }
  FACET_INLINE static void store_weights(std::byte* to, Lanes::Floats x) { store_query(to, x); }
};

}  // namespace

void add_attention_kernels(Table& table) {
  static const std::array<KvType, 4> types = simd::kv_table<Lanes, Codes>();
  table.kv_types = types;
  table.softmax_step = simd::SoftmaxKernels<Lanes>::step;
  table.softmax_fold = simd::SoftmaxKernels<Lanes>::fold;
}

}  // namespace facet::kernels::avx2

FACET_TARGET_END
