// Products of float panels: with float activations, and of BF16 panels with BF16 activations. See panels_simd.h for V.
#pragma once

#include "kernels/panels_simd.h"

namespace facet::kernels::simd {

// How a piece of N panels meets rows of x: the weights of step k, and what one step adds to a sum.

// [k][16] floats. Panels are `stride` bytes apart, here and below.
template <class V>
struct FloatSteps {
  static constexpr int kCols = 1;  // of one step
  using Weights = typename V::Floats;
  const std::byte* at;
  int64_t stride;
  FACET_INLINE static const float* row(const ActivationRows& x, int64_t r) { return x.f32 + r * x.stride_f32; }
  FACET_INLINE Weights weights(int panel, int64_t k) const {
    return V::load(reinterpret_cast<const float*>(at + panel * stride) + k * kPanelRows);
  }
  FACET_INLINE static typename V::Floats add(typename V::Floats sum, Weights w, const float* x) {
    return V::fma(w, V::set1(*x), sum);
  }
};
// [k][16] halves.
template <class V>
struct HalfSteps : FloatSteps<V> {
  FACET_INLINE typename V::Floats weights(int panel, int64_t k) const {
    return V::halves(this->at + panel * this->stride + k * kPanelRows * 2);
  }
};
// [k / 2][16][2] bf16.
template <class V>
struct PairSteps {
  static constexpr int kCols = 2;
  using Weights = typename V::Line;
  const std::byte* at;
  int64_t stride;
  FACET_INLINE static const uint16_t* row(const ActivationRows& x, int64_t r) { return x.bf16 + r * x.stride_bf16; }
  FACET_INLINE Weights weights(int panel, int64_t k) const { return V::line(at + panel * stride + k * kPanelRows * 2); }
  FACET_INLINE static typename V::Floats add(typename V::Floats sum, Weights w, const uint16_t* x) {
    return V::add_pairs(sum, w, x);
  }
};

// y += the piece's `count` columns, of N panels, · M rows of x, from column `col` of x on.
template <class V, int N, int M, class Steps>
FACET_INLINE void add_floats(float* y, int64_t y_stride, const Steps& steps, int64_t count, const ActivationRows& x,
                             int64_t first, int64_t col) {
  decltype(Steps::row(x, 0)) row[M];
  typename V::Floats acc[N][M];
  FACET_UNROLL for (int m = 0; m < M; ++m) {
    row[m] = Steps::row(x, row_of(x, first + m)) + col;
    FACET_UNROLL for (int p = 0; p < N; ++p) acc[p][m] = V::load(y + (first + m) * y_stride + p * kPanelRows);
  }
  for (int64_t k = 0; k < count; k += Steps::kCols) {
    typename Steps::Weights w[N];
    FACET_UNROLL for (int p = 0; p < N; ++p) w[p] = steps.weights(p, k);
    FACET_UNROLL for (int m = 0; m < M; ++m) {
      FACET_UNROLL for (int p = 0; p < N; ++p) acc[p][m] = Steps::add(acc[p][m], w[p], row[m] + k);
    }
  }
  FACET_UNROLL for (int m = 0; m < M; ++m) {
    FACET_UNROLL for (int p = 0; p < N; ++p) V::store(y + (first + m) * y_stride + p * kPanelRows, acc[p][m]);
  }
}

// Tiles of M rows, and smaller ones for what is left.
template <class V, int N, int M, class Steps>
FACET_INLINE void add_float_tiles(float* y, int64_t y_stride, const Steps& steps, int64_t count,
                                  const ActivationRows& x, int64_t m, int64_t n, int64_t col) {
  for (; m + M <= n; m += M) add_floats<V, N, M>(y, y_stride, steps, count, x, m, col);
  if constexpr (M > 1) add_float_tiles<V, N, (M > 4 ? 4 : M / 2)>(y, y_stride, steps, count, x, m, n, col);
}

template <class V>
FACET_INLINE void clear(float* y, int64_t y_stride, int64_t n, int64_t n_panels) {
  for (int64_t m = 0; m < n; ++m)
    for (int64_t p = 0; p < n_panels; ++p) V::store(y + m * y_stride + p * kPanelRows, V::zero());
}

// Several panels together, even for one row of x: their sums do not wait for each other.
template <class V, template <class> class Steps>
FACET_INLINE void multiply_floats(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels,
                                  int64_t bytes_per_col, const ActivationRows& x, int64_t n, int64_t cols) {
  constexpr int N = V::kPanels;
  constexpr int64_t kPiece = 2 * kChunkCols;  // columns that stay in the first-level cache while all rows pass
  const int64_t stride = (cols + Steps<V>::kCols - 1) / Steps<V>::kCols * Steps<V>::kCols * bytes_per_col;
  clear<V>(y, y_stride, n, n_panels);
  const auto run = [&]<int panels_at_once>(int64_t p) {
    for (int64_t col = 0; col < cols; col += kPiece)
      add_float_tiles<V, panels_at_once, V::template kFloatTile<panels_at_once>>(
          y + p * kPanelRows, y_stride, Steps<V>{panels + p * stride + col * bytes_per_col, stride},
          std::min(kPiece, cols - col), x, 0, n, col);
  };
  int64_t p = 0;
  for (; p + N <= n_panels; p += N) run.template operator()<N>(p);
  for (; p < n_panels; ++p) run.template operator()<1>(p);
}

template <class V>
struct FloatKernels {
  static void f32(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels, const ActivationRows& x,
                  int64_t n, int64_t cols) {
    multiply_floats<V, FloatSteps>(y, y_stride, panels, n_panels, kPanelRows * 4, x, n, cols);
  }

  static void f16(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels, const ActivationRows& x,
                  int64_t n, int64_t cols) {
    multiply_floats<V, HalfSteps>(y, y_stride, panels, n_panels, kPanelRows * 2, x, n, cols);
  }

  // Widened piece by piece.
  static void bf16(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels, const ActivationRows& x,
                   int64_t n, int64_t cols) {
    alignas(64) float w[kChunkCols * kPanelRows];
    clear<V>(y, y_stride, n, n_panels);
    for (int64_t p = 0; p < n_panels; ++p, panels += (cols + 1) / 2 * 2 * kPanelRows * 2)
      for (int64_t col = 0; col < cols; col += kChunkCols) {
        const int64_t count = std::min<int64_t>(kChunkCols, cols - col);
        for (int64_t k = 0; k < count; k += 2) {
          const typename V::Line pairs = V::line(panels + (col + k) * kPanelRows * 2);
          V::store(w + k * kPanelRows, V::even_bf16(pairs));
          V::store(w + (k + 1) * kPanelRows, V::odd_bf16(pairs));
        }
        add_float_tiles<V, 1, V::template kFloatTile<1>>(
            y + p * kPanelRows, y_stride, FloatSteps<V>{reinterpret_cast<const std::byte*>(w), 0}, count, x, 0, n, col);
      }
  }

  // Not inlined: the AVX2 tier changes the floating-point mode around it.
  [[gnu::noinline]] static void fast_bf16(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels,
                                          const ActivationRows& x, int64_t n, int64_t cols) {
    multiply_floats<V, PairSteps>(y, y_stride, panels, n_panels, kPanelRows * 2, x, n, cols);
  }
};

}  // namespace facet::kernels::simd
