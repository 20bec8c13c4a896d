// Quantisers of floats and of the types whose blocks have 32 values and stand alone (quantization.md 2).
#pragma once

#include "kernels/quantize_pieces_simd.h"

namespace facet::kernels::simd {

template <class Tier>
struct SmallBlockQuantizers {
  using G = QuantizerPieces<Tier>;
  using Source = typename G::Source;
  using Weights = typename G::Weights;
  template <int n>
  using Group = typename G::template Group<n>;

  static void f16(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t i = 0; i < cols; ++i) G::put(out, i, float_to_half(x[i]));
  }
  static void bf16(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t i = 0; i < cols; ++i) G::put(out, i, float_to_bf16(x[i]));
  }
  static void f32(std::byte* out, const float* x, const float*, int64_t cols) {
    std::memcpy(out, x, static_cast<size_t>(cols) * sizeof(float));
  }

  // trunc(x * inverse + half) within 0 … most.
  FACET_INLINE static uint8_t shifted(float value, float most) {
    value = value > 0 ? value : 0;  // NaN too
    return static_cast<uint8_t>(value < most ? value : most);
  }

  template <class Block>
  FACET_INLINE static void put_fifth_bits(Block& block, const uint8_t* code) {
    uint32_t bits = 0;
    for (int j = 0; j < 32; ++j) bits |= static_cast<uint32_t>(code[j] >> 4) << j;
    std::memcpy(block.qh, &bits, sizeof(bits));
  }

  // d * (q - zero): the extreme value stands at code 0.
  template <class Block, int zero>
  static void legacy(std::byte* out, const float* x, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      const float d = G::template extreme<32>(x) / static_cast<float>(-zero), inverse = d != 0 ? 1 / d : 0;
      uint8_t code[32];
      for (int i = 0; i < 32; ++i)
        code[i] = shifted(x[i] * inverse + (static_cast<float>(zero) + 0.5f), static_cast<float>(2 * zero - 1));
      Block block{};
      block.d = float_to_half(d);
      G::put_nibbles(block, code);
      if constexpr (zero == 16) put_fifth_bits(block, code);
      G::put(out, b, block);
    }
  }

  // d * q + m.
  template <class Block, int most>
  static void legacy_minimum(std::byte* out, const float* x, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      float low = x[0] < std::numeric_limits<float>::max() ? x[0] : std::numeric_limits<float>::max();
      float high = x[0] > -std::numeric_limits<float>::max() ? x[0] : -std::numeric_limits<float>::max();
      for (int i = 1; i < 32; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
      }
      const float d = (high - low) / static_cast<float>(most), inverse = d != 0 ? 1 / d : 0;
      uint8_t code[32];
      for (int i = 0; i < 32; ++i) code[i] = shifted((x[i] - low) * inverse + 0.5f, static_cast<float>(most));
      Block block{};
      block.d = float_to_half(d);
      block.m = float_to_half(low);
      G::put_nibbles(block, code);
      if constexpr (most == 31) put_fifth_bits(block, code);
      G::put(out, b, block);
    }
  }

  // With importance: searched, with the spread of the whole row.
  template <class Block, int zero, int most, class Search>
  FACET_INLINE static void legacy_searched(std::byte* out, const float* x, const float* importance, int64_t cols,
                                           const Search& search) {
    float spread[G::kGroup / 32];
    for (float& value : spread) value = G::sum_of_squares(x, cols) / static_cast<float>(cols);
    for (int64_t col = 0; col < cols; col += G::kGroup) {
      const int64_t blocks = (cols - col < G::kGroup ? cols - col : G::kGroup) / 32;
      Group<32> group;
      search(group, Source{.x = x + col, .importance = importance + col, .spread = spread, .blocks = blocks});
      for (int64_t b = 0; b < blocks; ++b) {
        Block block{};
        block.d = float_to_half(group.scale[b]);
        if constexpr (zero == 0) block.m = float_to_half(-group.minimum[b]);
        G::put_nibbles(block, group.code + 32 * b);
        if constexpr (zero == 16 || most == 31) put_fifth_bits(block, group.code + 32 * b);
        G::put(out, col / 32 + b, block);
      }
    }
  }
  template <class Block, int zero>
  static void zero_in_the_middle(std::byte* out, const float* x, const float* importance, int64_t cols) {
    if (importance == nullptr) return legacy<Block, zero>(out, x, cols);
    legacy_searched<Block, zero, 0>(out, x, importance, cols, [](Group<32>& group, const Source& from) {
      G::template symmetric_group<32, Weights::importance>(group, from, static_cast<float>(zero));
    });
  }
  template <class Block, int most>
  static void with_minimum(std::byte* out, const float* x, const float* importance, int64_t cols) {
    if (importance == nullptr) return legacy_minimum<Block, most>(out, x, cols);
    legacy_searched<Block, 0, most>(out, x, importance, cols, [](Group<32>& group, const Source& from) {
      G::template affine_group<32>(group, from, static_cast<float>(most), {}, false);
    });
  }

  static void q8_0(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      float most = 0;
      for (int i = 0; i < 32; ++i) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        most = most > a ? most : a;
      }
      const float d = most / 127, inverse = d != 0 ? 1 / d : 0;
      BlockQ8_0 block;
      block.d = float_to_half(d);
      for (int i = 0; i < 32; ++i) block.qs[i] = static_cast<int8_t>(G::rounded_half_away(x[i] * inverse, 127));
      G::put(out, b, block);
    }
  }
};

}  // namespace facet::kernels::simd
