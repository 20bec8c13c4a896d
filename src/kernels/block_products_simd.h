// Products of block panels: with int8 activations, and, decoded exactly, with float ones. See panels_simd.h for V.
#pragma once

#include "kernels/float_products_simd.h"

namespace facet::kernels::simd {

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

// acc[p] += block b of a chunk · the tile, for N panels. w, minimum: [sub-block of the block][panel].
template <class V, class P, int N, int M, class Lines>
FACET_INLINE void add_block(typename V::Floats (&acc)[N][M], const Lines& lines,
                            const typename V::Floats (&w)[kBlock / P::kScaleCols][N],
                            const typename V::Floats (&minimum)[kBlock / P::kScaleCols][N], const Tile<P, M>& x,
                            int b) {
  constexpr int kSubs = kBlock / P::kScaleCols, kLines = 8 / kSubs;
  FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
    const int s = b * kSubs + i;
    typename V::Ints isum[N][M];
    V::template dot<P::kBits, P::kBias, kLines>(isum, lines, i * kLines, x.q8, b * kBlock + i * P::kScaleCols,
                                                x.correction, s);
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      const typename V::Floats scale = V::set1(x.scale[m][b]);
      FACET_UNROLL for (int p = 0; p < N; ++p) {
        acc[p][m] = V::fma(V::to_floats(isum[p][m]), V::mul(w[i][p], scale), acc[p][m]);
        if constexpr (P::kHasMinimum)
          acc[p][m] = subtract_minimum<V, P>(acc[p][m], minimum[i][p], V::set1(x.sum[m][s]));
      }
    }
  }
}

// Few rows: the panel streams through once, decoded in registers.
template <class V, class P, int M>
void multiply_few(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t cols) {
  constexpr int kSubs = kBlock / P::kScaleCols;
  typename V::Floats acc[1][M];
  FACET_UNROLL for (int m = 0; m < M; ++m) acc[0][m] = V::zero();
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
      typename V::Floats w[kSubs][1], minimum[kSubs][1];
      FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
        w[i][0] = scales.scale(b * kSubs + i);
        if constexpr (P::kHasMinimum) minimum[i][0] = scales.minimum(b * kSubs + i);
      }
      add_block<V, P, 1, M>(acc, lines, w, minimum, tile, b);
    }
  }
  FACET_UNROLL for (int m = 0; m < M; ++m) V::store(y + m * y_stride, acc[0][m]);
}

// A chunk of N panels, decoded once for many rows: one byte a code, the panels' lines side by side.
template <int N>
struct Workspace {
  alignas(64) std::byte codes[kChunkBlocks * 8][N][kLineBytes];
  alignas(64) float scale[kChunkSubs][N][kPanelRows];
  alignas(64) float minimum[kChunkSubs][N][kPanelRows];
};

template <class V, int N>
struct StoredLines {
  const std::byte (*from)[N][kLineBytes];
  FACET_INLINE typename V::Line operator()(int panel, int j) const { return V::line(from[j][panel]); }
};

template <class V, class P, int N>
FACET_INLINE void decode_to(Workspace<N>& out, int panel, const ChunkCursor<P>& at) {
  const Scales<V, P> scales(at.chunk);
  for (int s = 0; s < at.blocks() * kBlock / P::kScaleCols; ++s) {
    V::store(out.scale[s][panel], scales.scale(s));
    if constexpr (P::kHasMinimum) V::store(out.minimum[s][panel], scales.minimum(s));
  }
  for (int b = 0; b < at.blocks(); ++b) {
    Decoded<V> lines;
    decode_lines<V, P>(lines, at.codes() + b * P::kBlockBytes);
    FACET_UNROLL for (int j = 0; j < 8; ++j) V::store_line(out.codes[b * 8 + j][panel], lines(panel, j));
  }
}

// y[m] += chunk · rows first … first + M - 1 of x.
template <class V, class P, int N, int M>
[[gnu::noinline]] void add_tile(float* y, int64_t y_stride, const Workspace<N>& chunk, const ActivationRows& x,
                                int64_t first, int64_t col, int blocks) {
  constexpr int kSubs = kBlock / P::kScaleCols;
  Tile<P, M> tile;
  tile.prepare(x, first, col, blocks);
  typename V::Floats acc[N][M];
  FACET_UNROLL for (int m = 0; m < M; ++m) {
    FACET_UNROLL for (int p = 0; p < N; ++p) acc[p][m] = V::load(y + (first + m) * y_stride + p * kPanelRows);
  }
  for (int b = 0; b < blocks; ++b) {
    typename V::Floats w[kSubs][N], minimum[kSubs][N];
    FACET_UNROLL for (int i = 0; i < kSubs; ++i) {
      FACET_UNROLL for (int p = 0; p < N; ++p) {
        w[i][p] = V::load(chunk.scale[b * kSubs + i][p]);
        if constexpr (P::kHasMinimum) minimum[i][p] = V::load(chunk.minimum[b * kSubs + i][p]);
      }
    }
    add_block<V, P, N, M>(acc, StoredLines<V, N>{chunk.codes + b * 8}, w, minimum, tile, b);
  }
  FACET_UNROLL for (int m = 0; m < M; ++m) {
    FACET_UNROLL for (int p = 0; p < N; ++p) V::store(y + (first + m) * y_stride + p * kPanelRows, acc[p][m]);
  }
}

// Asks memory for the next chunk, some lines before each tile of this one: asked for at once, they would be waited for.
template <class P, int N>
class NextChunk {
 public:
  NextChunk(const ChunkCursor<P> (&now)[N], int64_t tiles) : step_(static_cast<int>(kLines / tiles) + 1) {
    for (int p = 0; p < N; ++p) next_[p] = now[p].chunk + P::kChunkBytes;
  }
  FACET_INLINE void ask() {
    for (const int end = std::min(asked_ + step_, kLines); asked_ < end; ++asked_)
      FACET_UNROLL for (int p = 0; p < N; ++p) __builtin_prefetch(next_[p] + asked_ * kLineBytes);
  }

 private:
  static constexpr int kLines = P::kChunkBytes / kLineBytes;
  const std::byte* next_[N];
  int asked_ = 0, step_;
};

// Tiles of M rows, and smaller ones for what is left.
template <class V, class P, int N, int M>
FACET_INLINE void add_tiles(float* y, int64_t y_stride, const Workspace<N>& chunk, const ActivationRows& x, int64_t m,
                            int64_t n, int64_t col, int blocks, NextChunk<P, N>& next) {
  for (; m + M <= n; m += M) {
    next.ask();
    add_tile<V, P, N, M>(y, y_stride, chunk, x, m, col, blocks);
  }
  if constexpr (M > 1) add_tiles<V, P, N, (M > 4 ? 4 : M / 2)>(y, y_stride, chunk, x, m, n, col, blocks, next);
}

// Many rows: chunk by chunk.
template <class V, class P, int N>
void multiply_many(float* y, int64_t y_stride, const std::byte* panels, const ActivationRows& x, int64_t n,
                   int64_t cols) {
  Workspace<N> chunk;
  clear<V>(y, y_stride, n, N);
  ChunkCursor<P> at[N];
  for (int p = 0; p < N; ++p) at[p] = ChunkCursor<P>(panels + p * P::panel_bytes(cols), cols);
  while (at[0].more()) {
    for (int p = 0; p < N; ++p) decode_to<V, P>(chunk, p, at[p]);
    NextChunk<P, N> next(at, n / V::template kTile<N> + 1);
    add_tiles<V, P, N, V::template kTile<N>>(y, y_stride, chunk, x, 0, n, at[0].col, at[0].blocks(), next);
    for (int p = 0; p < N; ++p) at[p].next();
  }
}

// --- what the tables hold ---

template <class V, class P>
struct BlockKernels {
  static void multiply_fast(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels,
                            const ActivationRows& x, int64_t n, int64_t cols) {
    const int64_t bytes = P::panel_bytes(cols);
    int64_t p = 0;
    if (n > 4) {
      constexpr int N = V::kPanels;
      for (; p + N <= n_panels; p += N)
        multiply_many<V, P, N>(y + p * kPanelRows, y_stride, panels + p * bytes, x, n, cols);
    }
    for (; p < n_panels; ++p) multiply_one(y + p * kPanelRows, y_stride, panels + p * bytes, x, n, cols);
  }

  static void multiply_f32(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels,
                           const ActivationRows& x, int64_t n, int64_t cols) {
    for (int64_t p = 0; p < n_panels; ++p)
      multiply_one_f32(y + p * kPanelRows, y_stride, panels + p * P::panel_bytes(cols), x, n, cols);
  }

 private:
  static void multiply_one(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                           int64_t cols) {
    switch (n) {
      case 0: return;
      case 1: return multiply_few<V, P, 1>(y, y_stride, panel, x, cols);
      case 2: return multiply_few<V, P, 2>(y, y_stride, panel, x, cols);
      case 3: return multiply_few<V, P, 3>(y, y_stride, panel, x, cols);
      case 4: return multiply_few<V, P, 4>(y, y_stride, panel, x, cols);
      default: return multiply_many<V, P, 1>(y, y_stride, panel, x, n, cols);
    }
  }

  static void multiply_one_f32(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                               int64_t cols) {
    alignas(64) float w[kChunkCols * kPanelRows];
    clear<V>(y, y_stride, n, 1);
    for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
      const Scales<V, P> scales(at.chunk);
      for (int b = 0; b < at.blocks(); ++b) values_of_block(w + b * kBlock * kPanelRows, scales, at.codes(), b);
      add_float_tiles<V, 1, V::template kFloatTile<1>>(
          y, y_stride, FloatSteps<V>{reinterpret_cast<const std::byte*>(w), 0}, at.blocks() * kBlock, x, 0, n, at.col);
    }
  }

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
        V::store(to, value(V::template column<0, P::kBias>(lines(0, j)), scale, minimum));
        V::store(to + kPanelRows, value(V::template column<1, P::kBias>(lines(0, j)), scale, minimum));
        V::store(to + 2 * kPanelRows, value(V::template column<2, P::kBias>(lines(0, j)), scale, minimum));
        V::store(to + 3 * kPanelRows, value(V::template column<3, P::kBias>(lines(0, j)), scale, minimum));
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

}  // namespace facet::kernels::simd
