// The panel multiplications with AVX2: two registers hold a line, rows 0…7 and 8…15. VPMADDUBSW adds products in pairs
// into saturating 16-bit sums; how many lines those may collect before they are widened follows from the largest code.
#include <immintrin.h>

#include <cstring>

#include "kernels/panel_table.h"
#include "kernels/target.h"
#include "kernels/tiers.h"

FACET_TARGET_BEGIN("avx2,fma,f16c")

#include "kernels/block_products_simd.h"

namespace facet::kernels::avx2 {
namespace {

struct Lanes {
  struct Floats {
    __m256 low, high;
  };
  struct Ints {
    __m256i low, high;
  };
  using Line = Ints;
  static constexpr int kPanels = 1;
  template <int panels>
  static constexpr int kTile = 4;
  template <int panels>
  static constexpr int kFloatTile = 4;

  FACET_INLINE static Floats zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  FACET_INLINE static Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  FACET_INLINE static void store(float* to, Floats value) {
    _mm256_storeu_ps(to, value.low);
    _mm256_storeu_ps(to + 8, value.high);
  }
  FACET_INLINE static Floats set1(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  FACET_INLINE static Floats add(Floats a, Floats b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats sub(Floats a, Floats b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats mul(Floats a, Floats b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  FACET_INLINE static Floats fma(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  FACET_INLINE static Floats fnma(Floats a, Floats b, Floats c) {
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
  }
  FACET_INLINE static Floats to_floats(Ints value) {
    return {_mm256_cvtepi32_ps(value.low), _mm256_cvtepi32_ps(value.high)};
  }

  // 16 stored values.
  FACET_INLINE static __m128i load16(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  FACET_INLINE static __m128i load8(const std::byte* from) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  }
  FACET_INLINE static Floats halves(const std::byte* from) {
    return {_mm256_cvtph_ps(load16(from)), _mm256_cvtph_ps(load16(from + 16))};
  }
  FACET_INLINE static Floats signed_bytes(const std::byte* from) {
    return to_floats({_mm256_cvtepi8_epi32(load8(from)), _mm256_cvtepi8_epi32(load8(from + 8))});
  }
  FACET_INLINE static Ints widened(const std::byte* from) {
    return {_mm256_cvtepu8_epi32(load8(from)), _mm256_cvtepu8_epi32(load8(from + 8))};
  }
  FACET_INLINE static Floats unsigned_bytes(const std::byte* from) { return to_floats(widened(from)); }
  FACET_INLINE static Floats low_nibbles(const std::byte* from) {
    const Ints both = widened(from);
    const __m256i mask = _mm256_set1_epi32(15);
    return to_floats({_mm256_and_si256(both.low, mask), _mm256_and_si256(both.high, mask)});
  }
  FACET_INLINE static Floats high_nibbles(const std::byte* from) {
    const Ints both = widened(from);
    return to_floats({_mm256_srli_epi32(both.low, 4), _mm256_srli_epi32(both.high, 4)});
  }
  FACET_INLINE static Floats even_bf16(Line pairs) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs.low, 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(pairs.high, 16))};
  }
  FACET_INLINE static Floats odd_bf16(Line pairs) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(pairs.low, mask)),
            _mm256_castsi256_ps(_mm256_and_si256(pairs.high, mask))};
  }

  FACET_INLINE static Line line(const std::byte* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32))};
  }
  FACET_INLINE static void store_line(std::byte* to, Line value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value.low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), value.high);
  }
  // Of every byte: ((byte >> from) & mask) << to.
  template <int from, int to, int mask>
  FACET_INLINE static __m256i field(__m256i value) {
    if constexpr (from > to) value = _mm256_srli_epi16(value, from - to);
    if constexpr (from < to) value = _mm256_slli_epi16(value, to - from);
    return _mm256_and_si256(value, _mm256_set1_epi8(static_cast<char>(mask << to)));
  }
  template <int from, int to, int mask>
  FACET_INLINE static Line field(Line value) {
    return {field<from, to, mask>(value.low), field<from, to, mask>(value.high)};
  }
  template <int from, int to, int mask>
  FACET_INLINE static Line with_field(Line line, Line plane) {
    return {_mm256_or_si256(line.low, field<from, to, mask>(plane.low)),
            _mm256_or_si256(line.high, field<from, to, mask>(plane.high))};
  }
  template <int i, int bias>
  FACET_INLINE static __m256i column(__m256i value) {
    return _mm256_sub_epi32(_mm256_and_si256(_mm256_srli_epi32(value, 8 * i), _mm256_set1_epi32(255)),
                            _mm256_set1_epi32(bias));
  }
  template <int i, int bias>
  FACET_INLINE static Floats column(Line value) {
    return to_floats({column<i, bias>(value.low), column<i, bias>(value.high)});
  }

  FACET_INLINE static __m256i four_bytes(const void* from) {
    int32_t word;
    std::memcpy(&word, from, sizeof(word));
    return _mm256_set1_epi32(word);
  }
  // Lines that a 16-bit sum may collect: each adds two products of a code and ±127.
  template <int bits>
  static constexpr int kLinesPerSum = bits <= 4   ? 8
                                      : bits == 5 ? 4
                                      : bits == 6 ? 2
                                                  : 1;
  static_assert(8 * 2 * 15 * 127 < 32768 && 4 * 2 * 31 * 127 < 32768 && 2 * 2 * 63 * 127 < 32768);

  // Two of these products do not fit 16 bits when codes go to 255: then the sign moves from the code to x, and the
  // code's magnitude, up to 128, is multiplied: 2 * 128 * 127 fits.
  template <int bits>
  FACET_INLINE static __m256i products(__m256i codes, __m256i x) {
    if constexpr (bits < 8) return _mm256_maddubs_epi16(codes, x);
    const __m256i value = _mm256_xor_si256(codes, _mm256_set1_epi8(static_cast<char>(128)));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(value), _mm256_sign_epi8(x, value));
  }

  // Without it g++ 12 makes a tree of the sums and computes every product before the first sum, on the stack: half the
  // speed.
  FACET_INLINE static void keep_order(Ints& sum) { asm("" : "+x"(sum.low), "+x"(sum.high)); }

  template <int bits, int bias, int n_lines, int M, int subs, class Lines>
  FACET_INLINE static void dot(Ints (&sums)[1][M], const Lines& lines, int first, const int8_t* const (&x)[M],
                               int column, const int32_t (&correction)[M][subs], int s) {
    Ints(&isum)[M] = sums[0];
    constexpr int kGroup = kLinesPerSum<bits> < n_lines ? kLinesPerSum<bits> : n_lines;
    const __m256i ones = _mm256_set1_epi16(1);
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      const __m256i start = bias != 0 && bits < 8 ? _mm256_set1_epi32(correction[m][s]) : _mm256_setzero_si256();
      isum[m] = {start, start};
    }
    FACET_UNROLL for (int group = 0; group < n_lines; group += kGroup) {
      Ints sum[M];
      FACET_UNROLL for (int j = 0; j < kGroup; ++j) {
        const Line codes = lines(0, first + group + j);
        FACET_UNROLL for (int m = 0; m < M; ++m) {
          const __m256i four = four_bytes(x[m] + column + 4 * (group + j));
          const Ints product = {products<bits>(codes.low, four), products<bits>(codes.high, four)};
          sum[m] = j == 0
                       ? product
                       : Ints{_mm256_add_epi16(sum[m].low, product.low), _mm256_add_epi16(sum[m].high, product.high)};
          if constexpr (kGroup > 1) keep_order(sum[m]);
        }
      }
      FACET_UNROLL for (int m = 0; m < M; ++m) {
        isum[m].low = _mm256_add_epi32(isum[m].low, _mm256_madd_epi16(sum[m].low, ones));
        isum[m].high = _mm256_add_epi32(isum[m].high, _mm256_madd_epi16(sum[m].high, ones));
        keep_order(isum[m]);
      }
    }
  }

  // The odd product first, like VDPBF16PS. Subnormals: see multiply_bf16.
  FACET_INLINE static Floats add_pairs(Floats sum, Line pairs, const uint16_t* x) {
    const __m256i both = four_bytes(x);
    const Line twice = {both, both};
    return fma(even_bf16(pairs), even_bf16(twice), fma(odd_bf16(pairs), odd_bf16(twice), sum));
  }
};

template <class P>
using Blocks = simd::BlockKernels<Lanes, P>;

// VDPBF16PS takes and gives zeros for subnormals whatever the mode; here the mode is set for the time of the call.
void multiply_bf16(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels, const ActivationRows& x,
                   int64_t n, int64_t cols) {
  constexpr unsigned kFlushResults = 0x8000, kSubnormalsAreZero = 0x40;
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | kFlushResults | kSubnormalsAreZero);
  simd::FloatKernels<Lanes>::fast_bf16(y, y_stride, panels, n_panels, x, n, cols);
  _mm_setcsr(mode);
}

struct Floats : simd::FloatKernels<Lanes> {
  static constexpr auto fast_bf16 = multiply_bf16;
};

}  // namespace

std::span<const PanelType> panel_types() {
  static const auto all = panel_table<Blocks, Floats>();
  return all;
}

}  // namespace facet::kernels::avx2

FACET_TARGET_END
