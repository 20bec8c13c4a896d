// Decoding of panels for a vector of 16 lanes, one lane a row of the panel. A tier supplies the vector type V and
// includes block_products_simd.h and float_products_simd.h, and with them this file, between FACET_TARGET_BEGIN and
// FACET_TARGET_END, after everything else: the templates are then compiled for that tier. Because all tiers share these
// loops, they share the order of every float operation.
//
// V has: Floats, Ints, Line (64 bytes: 16 rows x 4 columns); zero, load, store, set1, add, sub, mul, fma (a b + c),
// fnma (c - a b); to_floats(Ints); halves, signed_bytes, unsigned_bytes, low_nibbles, high_nibbles (16 stored values to
// Floats), even_bf16, odd_bf16 (of the pairs in a line), column<i, bias> (column i of a line, less a bias, as Floats);
// line, store_line, field<from, to, mask> (of every byte), with_field (line | field); add_pairs (bf16); kPanels
// (panels that many rows of x meet at a time), kTile<panels> (rows of x at a time); and
//   dot<bits, bias, n_lines>(isum, lines, first, x, column, corrections, s): isum[p][m] = Σ over n_lines lines of
//   (code - bias) * x[m][…] of panel p, exact, where corrections[m][s] is -bias times the sum of those x (absent: bias
//   0). lines(p, j) is line j of panel p.
#pragma once

#include "kernels/inline.h"

namespace facet::kernels::simd {

// How far ahead of the bytes in use a multiplication of few rows asks for more. It asks for every line:
// where headers were left out, the types with large ones ran at half the speed.
inline constexpr int kPrefetchAhead = 2048;

template <int bytes>
FACET_INLINE void prefetch(const std::byte* from) {
  FACET_UNROLL for (int i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(from + i);
}

// --- decoding ---

// The 8 lines of a block, in registers.
template <class V>
struct Decoded {
  typename V::Line line[8];
  FACET_INLINE typename V::Line operator()(int /*panel*/, int j) const { return line[j]; }
};

// line = or |= the bits of a plane that belong to it.
template <class V, int from, int to, int mask, bool add>
FACET_INLINE void add_field(typename V::Line& line, typename V::Line plane) {
  if constexpr (add)
    line = V::template with_field<from, to, mask>(line, plane);
  else
    line = V::template field<from, to, mask>(plane);
}

template <class V, class P>
FACET_INLINE void decode_lines(Decoded<V>& out, const std::byte* block) {
  using Line = typename V::Line;
  if constexpr (P::kBits == 8) {
    FACET_UNROLL for (int j = 0; j < 8; ++j) out.line[j] = V::line(block + j * kLineBytes);
  }
  if constexpr (P::kNibbles) {
    FACET_UNROLL for (int j = 0; j < 4; ++j) {
      const Line both = V::line(block + j * kLineBytes);
      out.line[j] = V::template field<0, 0, 15>(both);
      out.line[j + 4] = V::template field<4, 0, 15>(both);
    }
    block += 4 * kLineBytes;
  }
  if constexpr (P::kPairs) {
    FACET_UNROLL for (int p = 0; p < 2; ++p) {
      const Line plane = V::line(block + p * kLineBytes);
      typename V::Line* line = out.line + 4 * p;
      add_field<V, 0, P::kPairShift, 3, P::kNibbles>(line[0], plane);
      add_field<V, 2, P::kPairShift, 3, P::kNibbles>(line[1], plane);
      add_field<V, 4, P::kPairShift, 3, P::kNibbles>(line[2], plane);
      add_field<V, 6, P::kPairShift, 3, P::kNibbles>(line[3], plane);
    }
    block += 2 * kLineBytes;
  }
  if constexpr (P::kTopBits) {
    const Line plane = V::line(block);
    add_field<V, 0, P::kTopShift, 1, true>(out.line[0], plane);
    add_field<V, 1, P::kTopShift, 1, true>(out.line[1], plane);
    add_field<V, 2, P::kTopShift, 1, true>(out.line[2], plane);
    add_field<V, 3, P::kTopShift, 1, true>(out.line[3], plane);
    add_field<V, 4, P::kTopShift, 1, true>(out.line[4], plane);
    add_field<V, 5, P::kTopShift, 1, true>(out.line[5], plane);
    add_field<V, 6, P::kTopShift, 1, true>(out.line[6], plane);
    add_field<V, 7, P::kTopShift, 1, true>(out.line[7], plane);
  }
}

// The scales of a chunk: d · factor, one product, rounded once.
template <class V, class P>
struct Scales {
  using Floats = typename V::Floats;
  const std::byte* chunk;
  Floats d, dmin;  // of the super-blocks

  FACET_INLINE explicit Scales(const std::byte* at) : chunk(at) {
    if constexpr (P::kSuper) d = V::halves(chunk);
    if constexpr (P::kSuper && P::kHasMinimum) dmin = V::halves(chunk + P::kMinimumAt);
  }
  // Of sub-block s.
  FACET_INLINE Floats scale(int s) const {
    if constexpr (P::kSingle) return V::load(reinterpret_cast<const float*>(chunk) + s * kPanelRows);
    if constexpr (!P::kSuper) return V::halves(chunk + s * P::kHeaderStride);
    const std::byte* factors = chunk + P::kScalesAt + s * kPanelRows;
    if constexpr (P::kScaling == Scaling::super_minimum) return V::mul(d, V::unsigned_bytes(factors));
    if constexpr (P::kScaling == Scaling::super_signed16) return V::mul(d, V::signed_bytes(factors));
    if constexpr (P::kScaling == Scaling::super_nibble16) return V::mul(d, V::low_nibbles(factors));
  }
  // The minimum as the value subtracts it; the small types add theirs, so it comes with the sign of the file: see
  // subtract_minimum.
  FACET_INLINE Floats minimum(int s) const {
    if constexpr (!P::kSuper) return V::halves(chunk + P::kMinimumAt + s * P::kHeaderStride);
    if constexpr (P::kScaling == Scaling::super_minimum)
      return V::mul(dmin, V::unsigned_bytes(chunk + P::kMinimaAt + s * kPanelRows));
    return V::mul(dmin, V::high_nibbles(chunk + P::kScalesAt + s * kPanelRows));
  }
};

// y - minimum * by; the minima of the small types are stored negative.
template <class V, class P>
FACET_INLINE typename V::Floats subtract_minimum(typename V::Floats y, typename V::Floats minimum,
                                                 typename V::Floats by) {
  return P::kSuper ? V::fnma(minimum, by, y) : V::fma(minimum, by, y);
}

}  // namespace facet::kernels::simd
