// The panel multiplications in plain code: what every other tier must equal bit for bit (docs/row-law.md).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/panel_codes.h"
#include "kernels/panel_table.h"
#include "kernels/tiers.h"

namespace facet::kernels::scalar {
namespace {

void clear(float* y, int64_t y_stride, int64_t n) {
  for (int64_t m = 0; m < n; ++m) std::fill_n(y + m * y_stride, kPanelRows, 0.0f);
}

// y += chunk · the same columns of one row of x, in integers.
template <class P>
void add_fast(float* y, const DecodedChunk& chunk, int cols, const int8_t* x, const float* scale, const int32_t* sums) {
  for (int first = 0; first < cols; first += P::kScaleCols) {
    const int s = first / P::kScaleCols;
    const float a = scale[first / kBlock];
    int32_t isum[kPanelRows] = {}, asum = 0;
    for (int k = first; k < first + P::kScaleCols; ++k)
      for (int r = 0; r < kPanelRows; ++r) isum[r] += chunk.code[k][r] * x[k];
    for (int k = first; k < first + P::kScaleCols; k += kSubBlock) asum += sums[k / kSubBlock];
    for (int r = 0; r < kPanelRows; ++r) {
      y[r] = std::fma(static_cast<float>(isum[r]), chunk.scale[s][r] * a, y[r]);
      if constexpr (P::kHasMinimum) y[r] = std::fma(-chunk.minimum[s][r], a * static_cast<float>(asum), y[r]);
    }
  }
}

// Of the block types.
template <class P>
struct OnePanel {
  static int64_t bytes(int64_t cols) { return P::panel_bytes(cols); }

  static void multiply_f32(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                           int64_t cols) {
    DecodedChunk chunk;
    clear(y, y_stride, n);
    for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
      decode_chunk<P>(chunk, at);
      for (int64_t m = 0; m < n; ++m) {
        const float* row = x.f32 + row_of(x, m) * x.stride_f32 + at.col;
        for (int k = 0; k < at.blocks() * kBlock; ++k)
          for (int r = 0; r < kPanelRows; ++r) {
            float& sum = y[m * y_stride + r];
            sum = std::fma(value_of<P>(chunk, k, r), row[k], sum);
          }
      }
    }
  }

  static void multiply_fast(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                            int64_t cols) {
    DecodedChunk chunk;
    clear(y, y_stride, n);
    for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
      decode_chunk<P>(chunk, at);
      for (int64_t m = 0; m < n; ++m) {
        const int64_t row = row_of(x, m);
        add_fast<P>(y + m * y_stride, chunk, at.blocks() * kBlock, x.q8 + row * x.stride_q8 + at.col,
                    x.scale + row * x.stride_scale + at.col / kBlock,
                    x.sums + row * x.stride_sums + at.col / kSubBlock);
      }
    }
  }
};

// The same, panel by panel.
template <auto one_panel, auto panel_bytes>
void multiply(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels, const ActivationRows& x, int64_t n,
              int64_t cols) {
  for (int64_t p = 0; p < n_panels; ++p)
    one_panel(y + p * kPanelRows, y_stride, panels + p * panel_bytes(cols), x, n, cols);
}

template <class P>
struct BlockKernels {
  static constexpr auto multiply_f32 = multiply<OnePanel<P>::multiply_f32, OnePanel<P>::bytes>;
  static constexpr auto multiply_fast = multiply<OnePanel<P>::multiply_fast, OnePanel<P>::bytes>;
};

template <class Stored, int kGroup>
int64_t float_panel_bytes(int64_t cols) {
  return (cols + kGroup - 1) / kGroup * kGroup * kPanelRows * static_cast<int64_t>(sizeof(Stored));
}

template <class Stored, float (*convert)(Stored), int kGroup>
void multiply_floats(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                     int64_t cols) {
  clear(y, y_stride, n);
  for (int64_t m = 0; m < n; ++m) {
    const float* row = x.f32 + row_of(x, m) * x.stride_f32;
    for (int64_t k = 0; k < cols; ++k)
      for (int r = 0; r < kPanelRows; ++r) {
        const int64_t at = (k / kGroup * kPanelRows + r) * kGroup + k % kGroup;
        float& sum = y[m * y_stride + r];
        sum = std::fma(convert(load_as<Stored>(panel + at * static_cast<int64_t>(sizeof(Stored)))), row[k], sum);
      }
  }
}

// VDPBF16PS reads and writes subnormals as zeros of their sign.
float flushed(float value) { return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value; }

// What VDPBF16PS computes for one pair: the odd product first.
float add_pair(float sum, const uint16_t (&w)[2], const uint16_t* x) {
  sum = flushed(std::fma(flushed(bf16_to_float(w[1])), flushed(bf16_to_float(x[1])), flushed(sum)));
  return flushed(std::fma(flushed(bf16_to_float(w[0])), flushed(bf16_to_float(x[0])), sum));
}

void multiply_fast_bf16(float* y, int64_t y_stride, const std::byte* panel, const ActivationRows& x, int64_t n,
                        int64_t cols) {
  clear(y, y_stride, n);
  for (int64_t m = 0; m < n; ++m) {
    const uint16_t* row = x.bf16 + row_of(x, m) * x.stride_bf16;
    for (int64_t k = 0; k < cols; k += 2)
      for (int r = 0; r < kPanelRows; ++r) {
        uint16_t w[2];
        std::memcpy(w, panel + k * kPanelRows * 2 + 4 * r, sizeof(w));
        y[m * y_stride + r] = add_pair(y[m * y_stride + r], w, row + k);
      }
  }
}

float same(float value) { return value; }

struct FloatKernels {
  static constexpr auto f32 = multiply<multiply_floats<float, same, 1>, float_panel_bytes<float, 1>>;
  static constexpr auto f16 = multiply<multiply_floats<uint16_t, half_to_float, 1>, float_panel_bytes<uint16_t, 1>>;
  static constexpr auto bf16 = multiply<multiply_floats<uint16_t, bf16_to_float, 2>, float_panel_bytes<uint16_t, 2>>;
  static constexpr auto fast_bf16 = multiply<multiply_fast_bf16, float_panel_bytes<uint16_t, 2>>;
};

}  // namespace

std::span<const PanelType> panel_types() {
  static const auto all = panel_table<BlockKernels, FloatKernels>();
  return all;
}

}  // namespace facet::kernels::scalar
