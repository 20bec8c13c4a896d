// The panel multiplications for a vector of 16 lanes, one lane a row of the panel. A tier supplies the vector type V
// and includes this file between FACET_TARGET_BEGIN and FACET_TARGET_END, after everything else: the templates are then
// compiled for that tier. Because all tiers share these loops, they share the order of every float operation.
//
// V has: Floats, Ints, Line (64 bytes: 16 rows x 4 columns); zero, load, store, set1, add, sub, mul, fma (a b + c),
// fnma (c - a b); to_floats(Ints); halves, signed_bytes, unsigned_bytes, low_nibbles, high_nibbles (16 stored values to
// Floats), even_bf16, odd_bf16 (of the pairs in a line), column<i, bias> (column i of a line, less a bias, as Floats);
// line, store_line, field<from, to, mask> (of every byte), with_field (line | field); add_pairs (bf16); kTile (rows of
// x at a time); and
//   dot<bits, bias, n_lines, M>(isum, lines, first, x, column, corrections, s): isum[m] = Σ over n_lines lines of
//   (code - bias) * x[m][…], exact, where corrections[m][s] is -bias times the sum of those x (absent: bias 0).
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
  FACET_INLINE typename V::Line operator[](int j) const { return line[j]; }
};

// … or in memory, one byte a code.
template <class V>
struct Stored {
  const std::byte* from;
  FACET_INLINE typename V::Line operator[](int j) const { return V::line(from + j * kLineBytes); }
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

// --- int8 activations ---

// What a tile of M rows of x brings to one chunk.
template <class P, int M>
struct Tile {
  static constexpr int kSubs = kChunkCols / P::kScaleCols;
  const int8_t* q8[M];
  const float* scale[M];         // one a block
  int32_t correction[M][kSubs];  // -bias * sum of the codes
  float sum[M][kSubs];           // scale * sum of the codes, for types with a minimum

  FACET_INLINE void prepare(const ActivationRows& x, int64_t first, int64_t col, int blocks) {
    const int subs = blocks * kBlock / P::kScaleCols;
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      const int64_t row = row_of(x, first + m);
      q8[m] = x.q8 + row * x.stride_q8 + col;
      scale[m] = x.scale + row * x.stride_scale + col / kBlock;
      const int32_t* sums = x.sums + row * x.stride_sums + col / kSubBlock;
      if (subs == kSubs)
        add_up(m, sums, kSubs);  // a constant, so that the compiler makes vectors of it
      else
        add_up(m, sums, subs);
    }
  }

 private:
  FACET_INLINE void add_up(int m, const int32_t* sums, int subs) {
    for (int s = 0; s < subs; ++s) {
      const int32_t total = P::kScaleCols == kBlock ? sums[2 * s] + sums[2 * s + 1] : sums[s];
      if constexpr (P::kBias != 0) correction[m][s] = -P::kBias * total;
      if constexpr (P::kHasMinimum) sum[m][s] = scale[m][s * P::kScaleCols / kBlock] * static_cast<float>(total);
    }
  }
};

// acc += block b of a chunk · the tile. w, minimum: sub-blocks of the block.
template <class V, class P, int M, class Lines>
FACET_INLINE void add_block(typename V::Floats (&acc)[M], const Lines& lines, const typename V::Floats* w,
                            const typename V::Floats* minimum, const Tile<P, M>& x, int b) {
  constexpr int kSubs = kBlock / P::kScaleCols, kLines = 8 / kSubs;
  FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
    const int s = b * kSubs + i;
    typename V::Ints isum[M];
    V::template dot<P::kBits, P::kBias, kLines, M>(isum, lines, i * kLines, x.q8, b * kBlock + i * P::kScaleCols,
                                                   x.correction, s);
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      acc[m] = V::fma(V::to_floats(isum[m]), V::mul(w[i], V::set1(x.scale[m][b])), acc[m]);
      if constexpr (P::kHasMinimum) acc[m] = subtract_minimum<V, P>(acc[m], minimum[i], V::set1(x.sum[m][s]));
    }
  }
}

// Few rows: the panel streams through once, decoded in registers.
template <class V, class P, int M>
void multiply_few(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t cols) {
  constexpr int kSubs = kBlock / P::kScaleCols;
  typename V::Floats acc[M];
  FACET_UNROLL for (int m = 0; m < M; ++m) acc[m] = V::zero();
  for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
    const int blocks = at.blocks();
    Tile<P, M> tile;
    tile.prepare(x, 0, at.col, blocks);
    prefetch<P::header_bytes(kChunkBlocks)>(at.chunk + kPrefetchAhead);
    const Scales<V, P> scales(at.chunk);
    const std::byte* block = at.codes();
    for (int b = 0; b < blocks; ++b, block += P::kBlockBytes) {
      prefetch<P::kBlockBytes>(block + kPrefetchAhead);
      Decoded<V> lines;
      decode_lines<V, P>(lines, block);
      typename V::Floats w[kSubs], minimum[kSubs];
      FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
        w[i] = scales.scale(b * kSubs + i);
        if constexpr (P::kHasMinimum) minimum[i] = scales.minimum(b * kSubs + i);
      }
      add_block<V, P, M>(acc, lines, w, minimum, tile, b);
    }
  }
  FACET_UNROLL for (int m = 0; m < M; ++m) V::store(y + m * y_stride, acc[m]);
}

// A chunk decoded once for many rows.
struct Workspace {
  alignas(64) std::byte codes[kChunkBlocks * 8 * kLineBytes];
  alignas(64) float scale[kChunkSubs][kPanelRows];
  alignas(64) float minimum[kChunkSubs][kPanelRows];
};

template <class V, class P>
FACET_INLINE void decode_to(Workspace& out, const ChunkCursor<P>& at) {
  const Scales<V, P> scales(at.chunk);
  for (int s = 0; s < at.blocks() * kBlock / P::kScaleCols; ++s) {
    V::store(out.scale[s], scales.scale(s));
    if constexpr (P::kHasMinimum) V::store(out.minimum[s], scales.minimum(s));
  }
  for (int b = 0; b < at.blocks(); ++b) {
    Decoded<V> lines;
    decode_lines<V, P>(lines, at.codes() + b * P::kBlockBytes);
    FACET_UNROLL for (int j = 0; j < 8; ++j) V::store_line(out.codes + (b * 8 + j) * kLineBytes, lines[j]);
  }
}

// y[m] += chunk · rows first … first + M - 1 of x.
template <class V, class P, int M>
FACET_INLINE void add_tile(float* y, int64_t y_stride, const Workspace& chunk, const ActivationRows& x, int64_t first,
                           int64_t col, int blocks) {
  constexpr int kSubs = kBlock / P::kScaleCols;
  Tile<P, M> tile;
  tile.prepare(x, first, col, blocks);
  typename V::Floats acc[M];
  FACET_UNROLL for (int m = 0; m < M; ++m) acc[m] = V::load(y + (first + m) * y_stride);
  for (int b = 0; b < blocks; ++b) {
    typename V::Floats w[kSubs], minimum[kSubs];
    FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
      w[i] = V::load(chunk.scale[b * kSubs + i]);
      if constexpr (P::kHasMinimum) minimum[i] = V::load(chunk.minimum[b * kSubs + i]);
    }
    add_block<V, P, M>(acc, Stored<V>{chunk.codes + b * 8 * kLineBytes}, w, minimum, tile, b);
  }
  FACET_UNROLL for (int m = 0; m < M; ++m) V::store(y + (first + m) * y_stride, acc[m]);
}

// --- float activations ---

// Column k of [k][16] floats, or of [k][16] halves.
template <class V>
struct FloatColumns {
  const float* at;
  FACET_INLINE typename V::Floats operator()(int k) const { return V::load(at + k * kPanelRows); }
};
template <class V>
struct HalfColumns {
  const std::byte* at;
  FACET_INLINE typename V::Floats operator()(int k) const { return V::halves(at + k * kPanelRows * 2); }
};

// y[m] += w · rows first … of x, one fma a column.
template <class V, int M, class Columns>
FACET_INLINE void add_floats(float* y, int64_t y_stride, const Columns& w, int count, const ActivationRows& x,
                             int64_t first, int64_t col) {
  const float* row[M];
  typename V::Floats acc[M];
  FACET_UNROLL for (int m = 0; m < M; ++m) {
    row[m] = x.f32 + row_of(x, first + m) * x.stride_f32 + col;
    acc[m] = V::load(y + (first + m) * y_stride);
  }
  for (int k = 0; k < count; ++k) {
    const typename V::Floats column = w(k);
    FACET_UNROLL for (int m = 0; m < M; ++m) acc[m] = V::fma(column, V::set1(row[m][k]), acc[m]);
  }
  FACET_UNROLL for (int m = 0; m < M; ++m) V::store(y + (first + m) * y_stride, acc[m]);
}

template <class V, class Columns>
void add_floats_to_all(float* y, int64_t y_stride, const Columns& w, int count, const ActivationRows& x, int64_t n,
                       int64_t col) {
  int64_t m = 0;
  for (; m + V::kTile <= n; m += V::kTile) add_floats<V, V::kTile>(y, y_stride, w, count, x, m, col);
  if constexpr (V::kTile > 4)
    for (; m + 4 <= n; m += 4) add_floats<V, 4>(y, y_stride, w, count, x, m, col);
  for (; m < n; ++m) add_floats<V, 1>(y, y_stride, w, count, x, m, col);
}

template <class V>
FACET_INLINE void clear(float* y, int64_t y_stride, int64_t n) {
  for (int64_t m = 0; m < n; ++m) V::store(y + m * y_stride, V::zero());
}

// --- what the tables hold ---

template <class V, class P>
struct BlockKernels {
  static void multiply_fast(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                            int64_t cols) {
    switch (n) {
      case 0: return;
      case 1: return multiply_few<V, P, 1>(y, y_stride, panel, x, cols);
      case 2: return multiply_few<V, P, 2>(y, y_stride, panel, x, cols);
      case 3: return multiply_few<V, P, 3>(y, y_stride, panel, x, cols);
      case 4: return multiply_few<V, P, 4>(y, y_stride, panel, x, cols);
      default: break;
    }
    Workspace chunk;
    clear<V>(y, y_stride, n);
    for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
      decode_to<V, P>(chunk, at);
      const int blocks = at.blocks();
      int64_t m = 0;
      for (; m + V::kTile <= n; m += V::kTile) add_tile<V, P, V::kTile>(y, y_stride, chunk, x, m, at.col, blocks);
      if constexpr (V::kTile > 4)
        for (; m + 4 <= n; m += 4) add_tile<V, P, 4>(y, y_stride, chunk, x, m, at.col, blocks);
      for (; m < n; ++m) add_tile<V, P, 1>(y, y_stride, chunk, x, m, at.col, blocks);
    }
  }

  static void multiply_f32(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                           int64_t cols) {
    alignas(64) float w[kChunkCols * kPanelRows];
    clear<V>(y, y_stride, n);
    for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
      const Scales<V, P> scales(at.chunk);
      for (int b = 0; b < at.blocks(); ++b) values_of_block(w + b * kBlock * kPanelRows, scales, at.codes(), b);
      add_floats_to_all<V>(y, y_stride, FloatColumns<V>{w}, at.blocks() * kBlock, x, n, at.col);
    }
  }

 private:
  // The operations of dequantize(): scale * code - minimum.
  FACET_INLINE static void values_of_block(float* w, const Scales<V, P>& scales, const std::byte* codes, int b) {
    constexpr int kSubs = kBlock / P::kScaleCols, kLines = 8 / kSubs;
    Decoded<V> lines;
    decode_lines<V, P>(lines, codes + b * P::kBlockBytes);
    FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
      const typename V::Floats scale = scales.scale(b * kSubs + i);
      typename V::Floats minimum = V::zero();
      if constexpr (P::kHasMinimum) minimum = scales.minimum(b * kSubs + i);
      FACET_UNROLL for (int j = i * kLines; j < (i + 1) * kLines; ++j) {
        float* to = w + 4 * j * kPanelRows;
        V::store(to, value(V::template column<0, P::kBias>(lines[j]), scale, minimum));
        V::store(to + kPanelRows, value(V::template column<1, P::kBias>(lines[j]), scale, minimum));
        V::store(to + 2 * kPanelRows, value(V::template column<2, P::kBias>(lines[j]), scale, minimum));
        V::store(to + 3 * kPanelRows, value(V::template column<3, P::kBias>(lines[j]), scale, minimum));
      }
    }
  }

  FACET_INLINE static typename V::Floats value(typename V::Floats code, typename V::Floats scale,
                                               typename V::Floats minimum) {
    const typename V::Floats product = V::mul(scale, code);
    if constexpr (!P::kHasMinimum) return product;
    return P::kSuper ? V::sub(product, minimum) : V::add(product, minimum);
  }
};

template <class V>
struct FloatKernels {
  static void f32(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                  int64_t cols) {
    clear<V>(y, y_stride, n);
    const auto* w = reinterpret_cast<const float*>(panel);
    for (int64_t col = 0; col < cols; col += kChunkCols)
      add_floats_to_all<V>(y, y_stride, FloatColumns<V>{w + col * kPanelRows}, columns(cols, col), x, n, col);
  }

  static void f16(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                  int64_t cols) {
    clear<V>(y, y_stride, n);
    for (int64_t col = 0; col < cols; col += kChunkCols)
      add_floats_to_all<V>(y, y_stride, HalfColumns<V>{panel + col * kPanelRows * 2}, columns(cols, col), x, n, col);
  }

  static void bf16(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                   int64_t cols) {
    alignas(64) float w[kChunkCols * kPanelRows];
    clear<V>(y, y_stride, n);
    for (int64_t col = 0; col < cols; col += kChunkCols) {
      for (int k = 0; k < columns(cols, col); k += 2) {
        const typename V::Line pairs = V::line(panel + (col + k) * kPanelRows * 2);
        V::store(w + k * kPanelRows, V::even_bf16(pairs));
        V::store(w + (k + 1) * kPanelRows, V::odd_bf16(pairs));
      }
      add_floats_to_all<V>(y, y_stride, FloatColumns<V>{w}, columns(cols, col), x, n, col);
    }
  }

  // Not inlined: the AVX2 tier changes the floating-point mode around it.
  [[gnu::noinline]] static void fast_bf16(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x,
                                          int64_t n, int64_t cols) {
    clear<V>(y, y_stride, n);
    for (int64_t col = 0; col < cols; col += 2 * kChunkCols) {
      const auto count = static_cast<int>(std::min<int64_t>(2 * kChunkCols, cols - col));
      const std::byte* w = panel + col * kPanelRows * 2;
      int64_t m = 0;
      for (; m + V::kTile <= n; m += V::kTile) add_pairs<V::kTile>(y, y_stride, w, count, x, m, col);
      if constexpr (V::kTile > 4)
        for (; m + 4 <= n; m += 4) add_pairs<4>(y, y_stride, w, count, x, m, col);
      for (; m < n; ++m) add_pairs<1>(y, y_stride, w, count, x, m, col);
    }
  }

 private:
  FACET_INLINE static int columns(int64_t cols, int64_t col) {
    return static_cast<int>(std::min<int64_t>(kChunkCols, cols - col));
  }

  template <int M>
  FACET_INLINE static void add_pairs(float* y, int64_t y_stride, const std::byte* w, int count, const ActivationRows& x,
                                     int64_t first, int64_t col) {
    const uint16_t* row[M];
    typename V::Floats acc[M];
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      row[m] = x.bf16 + row_of(x, first + m) * x.stride_bf16 + col;
      acc[m] = V::load(y + (first + m) * y_stride);
    }
    for (int k = 0; k < count; k += 2) {
      const typename V::Line pairs = V::line(w + k * kPanelRows * 2);
      FACET_UNROLL for (int m = 0; m < M; ++m) acc[m] = V::add_pairs(acc[m], pairs, row[m] + k);
    }
    FACET_UNROLL for (int m = 0; m < M; ++m) V::store(y + (first + m) * y_stride, acc[m]);
  }
};

}  // namespace facet::kernels::simd
