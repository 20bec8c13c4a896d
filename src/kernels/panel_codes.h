// Reads packed panels in portable code, one chunk at a time: for the scalar tier and for unpacking.
#pragma once

#include <cstring>

#include "kernels/panel_layout.h"
#include "tensor/half.h"

namespace facet::kernels {

template <class T>
T load_as(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// The scale of 16 rows for sub-block s (P::kScaleCols columns each) of a chunk: one f32, rounded once.
template <class P>
void scales_of(float (&scale)[kPanelRows], const std::byte* chunk, int s) {
  if constexpr (P::kSingle) {
    std::memcpy(scale, chunk + s * kPanelRows * static_cast<int>(sizeof(float)), sizeof(scale));
    return;
  }
  for (int r = 0; r < kPanelRows; ++r) {
    const std::byte* d = chunk + (P::kSuper ? 0 : s * P::kHeaderStride) + 2 * r;
    scale[r] = half_to_float(load_as<uint16_t>(d));
    if constexpr (P::kSuper) {
      const std::byte code = chunk[P::kScalesAt + s * kPanelRows + r];
      int factor = std::to_integer<int>(code);
      if constexpr (P::kScaling == Scaling::super_signed16) factor = static_cast<int8_t>(code);
      if constexpr (P::kScaling == Scaling::super_nibble16) factor &= 15;
      scale[r] *= static_cast<float>(factor);
    }
  }
}

// What is subtracted from the values of sub-block s.
template <class P>
void minima_of(float (&minimum)[kPanelRows], const std::byte* chunk, int s) {
  for (int r = 0; r < kPanelRows; ++r) {
    const std::byte* m = chunk + P::kMinimumAt + (P::kSuper ? 0 : s * P::kHeaderStride) + 2 * r;
    const float file_minimum = half_to_float(load_as<uint16_t>(m));
    if constexpr (!P::kSuper) {
      minimum[r] = -file_minimum;  // these types add it
    } else if constexpr (P::kScaling == Scaling::super_minimum) {
      minimum[r] = file_minimum * static_cast<float>(std::to_integer<int>(chunk[P::kMinimaAt + s * kPanelRows + r]));
    } else {
      minimum[r] =
          file_minimum * static_cast<float>(std::to_integer<int>(chunk[P::kScalesAt + s * kPanelRows + r]) >> 4);
    }
  }
}

// Columns 4 j … 4 j + 3 of one row of a block: a byte each, bias still in.
template <class P>
uint32_t code_word(const std::byte* block, int row, int j) {
  const auto word = [&](int line) { return load_as<uint32_t>(block + line * kLineBytes + 4 * row); };
  if constexpr (P::kBits == 8) return word(j);
  uint32_t codes = 0;
  int line = 0;
  if constexpr (P::kNibbles) {
    codes = (word(j % 4) >> (4 * (j / 4))) & 0x0F0F0F0Fu;
    line = 4;
  }
  if constexpr (P::kPairs) {
    codes |= ((word(line + j / 4) >> (2 * (j % 4))) & 0x03030303u) << P::kPairShift;
    line += 2;
  }
  if constexpr (P::kTopBits) codes |= ((word(line) >> j) & 0x01010101u) << P::kTopShift;
  return codes;
}

// One chunk, decoded. Value of column k: scale[k / kScaleCols] * code[k] - minimum[k / kScaleCols].
struct DecodedChunk {
  int16_t code[kChunkCols][kPanelRows];  // bias subtracted
  float scale[kChunkSubs][kPanelRows];
  float minimum[kChunkSubs][kPanelRows];
};

template <class P>
void decode_chunk(DecodedChunk& out, const ChunkCursor<P>& at) {
  const int cols = at.blocks() * kBlock;
  for (int s = 0; s < cols / P::kScaleCols; ++s) {
    scales_of<P>(out.scale[s], at.chunk, s);
    if constexpr (P::kHasMinimum) minima_of<P>(out.minimum[s], at.chunk, s);
  }
  for (int k = 0; k < cols; k += 4) {
    const std::byte* block = at.codes() + k / kBlock * P::kBlockBytes;
    for (int r = 0; r < kPanelRows; ++r) {
      uint8_t code[4];
      const uint32_t word = code_word<P>(block, r, k % kBlock / 4);
      std::memcpy(code, &word, sizeof(code));
      for (int i = 0; i < 4; ++i) out.code[k + i][r] = static_cast<int16_t>(code[i] - P::kBias);
    }
  }
}

// The exact value, in the operations of dequantize().
template <class P>
float value_of(const DecodedChunk& chunk, int k, int row) {
  const int s = k / P::kScaleCols;
  const float product = chunk.scale[s][row] * static_cast<float>(chunk.code[k][row]);
  if constexpr (P::kHasMinimum) return product - chunk.minimum[s][row];
  return product;
}

}  // namespace facet::kernels
