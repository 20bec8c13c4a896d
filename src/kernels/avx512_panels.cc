// The panel multiplications with AVX-512: one register holds a line, VPDPBUSD adds its four columns to 16 sums.
#include <immintrin.h>

#include <cstring>

#include "kernels/panel_table.h"
#include "kernels/target.h"
#include "kernels/tiers.h"

FACET_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")

#include "kernels/block_products_simd.h"

namespace facet::kernels::avx512 {
namespace {

struct Lanes {
  using Floats = __m512;
  using Ints = __m512i;
  using Line = __m512i;
  // Sums of tiles stay in registers: 12 whole ones and 12 float ones, beside the lines of two panels.
  static constexpr int kPanels = 2;
  template <int panels>
  static constexpr int kTile = panels == 2 ? 6 : 8;
  template <int panels>
  static constexpr int kFloatTile = 12;

  FACET_INLINE static Floats zero() { return _mm512_setzero_ps(); }
  FACET_INLINE static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  FACET_INLINE static void store(float* to, Floats value) { _mm512_storeu_ps(to, value); }
  FACET_INLINE static Floats set1(float value) { return _mm512_set1_ps(value); }
  FACET_INLINE static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  FACET_INLINE static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  FACET_INLINE static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  FACET_INLINE static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  FACET_INLINE static Floats fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
  FACET_INLINE static Floats to_floats(Ints value) { return _mm512_cvtepi32_ps(value); }

  // 16 stored values.
  FACET_INLINE static __m128i bytes(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  FACET_INLINE static Floats halves(const std::byte* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  FACET_INLINE static Floats signed_bytes(const std::byte* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes(from)));
  }
  FACET_INLINE static Floats unsigned_bytes(const std::byte* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes(from)));
  }
  FACET_INLINE static Floats low_nibbles(const std::byte* from) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_cvtepu8_epi32(bytes(from)), _mm512_set1_epi32(15)));
  }
  FACET_INLINE static Floats high_nibbles(const std::byte* from) {
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(_mm512_cvtepu8_epi32(bytes(from)), 4));
  }
  FACET_INLINE static Floats even_bf16(Line pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
  FACET_INLINE static Floats odd_bf16(Line pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
  }

  FACET_INLINE static Line line(const std::byte* from) { return _mm512_loadu_si512(from); }
  FACET_INLINE static void store_line(std::byte* to, Line value) { _mm512_storeu_si512(to, value); }
  // Of every byte: ((byte >> from) & mask) << to.
  template <int from, int to, int mask>
  FACET_INLINE static Line field(Line value) {
    const Line at_place = moved<from, to>(value);
    return _mm512_and_si512(at_place, _mm512_set1_epi8(static_cast<char>(mask << to)));
  }
  // line | field(plane), in one operation.
  template <int from, int to, int mask>
  FACET_INLINE static Line with_field(Line line, Line plane) {
    constexpr int kFirstOrBothOthers = 0xF8;
    const Line at_place = moved<from, to>(plane), bits = _mm512_set1_epi8(static_cast<char>(mask << to));
    return _mm512_ternarylogic_epi32(line, at_place, bits, kFirstOrBothOthers);
  }
  template <int from, int to>
  FACET_INLINE static Line moved(Line value) {
    if constexpr (from > to) return _mm512_srli_epi16(value, from - to);
    if constexpr (from < to) return _mm512_slli_epi16(value, to - from);
    return value;
  }
  template <int i, int bias>
  FACET_INLINE static Floats column(Line value) {
    const __m512i code = _mm512_and_si512(_mm512_srli_epi32(value, 8 * i), _mm512_set1_epi32(255));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(code, _mm512_set1_epi32(bias)));
  }

  FACET_INLINE static __m512i four_bytes(const void* from) {
    int32_t word;
    std::memcpy(&word, from, sizeof(word));
    return _mm512_set1_epi32(word);
  }
  template <int bits, int bias, int n_lines, int N, int M, int subs, class Lines>
  FACET_INLINE static void dot(Ints (&isum)[N][M], const Lines& lines, int first, const int8_t* const (&x)[M],
                               int column, const int32_t (&correction)[M][subs], int s) {
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      const Ints start = bias != 0 ? _mm512_set1_epi32(correction[m][s]) : _mm512_setzero_si512();
      FACET_UNROLL for (int p = 0; p < N; ++p) isum[p][m] = start;
    }
    FACET_UNROLL for (int j = 0; j < n_lines; ++j) {
      Line codes[N];
      FACET_UNROLL for (int p = 0; p < N; ++p) codes[p] = lines(p, first + j);
      FACET_UNROLL for (int m = 0; m < M; ++m) {
        const __m512i four = four_bytes(x[m] + column + 4 * j);
        FACET_UNROLL for (int p = 0; p < N; ++p) isum[p][m] = _mm512_dpbusd_epi32(isum[p][m], codes[p], four);
      }
    }
  }
  FACET_INLINE static Floats add_pairs(Floats sum, Line pairs, const uint16_t* x) {
#if defined(FACET_EMULATE_AVX512)
    return _mm512_dpbf16_ps(sum, pairs, four_bytes(x));
#else
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(pairs), reinterpret_cast<__m512bh>(four_bytes(x)));
#endif
  }
};

template <class P>
using Blocks = simd::BlockKernels<Lanes, P>;

}  // namespace

std::span<const PanelType> panel_types() {
  static const auto all = panel_table<Blocks, simd::FloatKernels<Lanes>>();
  return all;
}

}  // namespace facet::kernels::avx512

FACET_TARGET_END
