// Quantisers of the types whose codes stand for an uneven grid, four-bit floats or -1, 0, 1 (quantization.md 4).
#pragma once

#include "kernels/quantize_pieces_simd.h"

namespace facet::kernels::simd {

template <class Tier>
struct GridQuantizers {
  using G = QuantizerPieces<Tier>;
  using Fits = typename G::Fits;
  using F = typename G::F;
  using Source = typename G::Source;
  using Weights = typename G::Weights;
  template <int n>
  using Group = typename G::template Group<n>;

  // --- the uneven grid ---

  FACET_INLINE static uint8_t grid_code(float value) {
    int code = 0;
    for (int k = 1; k < 16; ++k) code += value >= 0.5f * static_cast<float>(kIq4Values[k - 1] + kIq4Values[k]) ? 1 : 0;
    return static_cast<uint8_t>(code);
  }
  template <int n>
  static void uneven_group(Group<32>& group, const Source& from) {
    const auto fit = [](F(&code)[32], const F(&x)[32], const F(&w)[32]) {
      for (F& c : code) c = F{};
      return typename Fits::Affine{Fits::uneven(x, w), F{}};
    };
    if (from.importance != nullptr) {
      G::template fit_group<32, Weights::importance>(group, from, fit);
    } else {
      G::template fit_group<32, Weights::square>(group, from, fit);
    }
  }

  static void iq4_nl(std::byte* out, const float* x, const float* importance, int64_t cols) {
    for (int64_t col = 0; col < cols; col += G::kGroup) {
      const int64_t blocks = (cols - col < G::kGroup ? cols - col : G::kGroup) / 32;
      float spread[G::kGroup / 32];
      for (int64_t b = 0; b < blocks; ++b) spread[b] = 2.0f / 32 * G::sum_of_squares(x + col + 32 * b, 32);
      Group<32> group;
      uneven_group<32>(group, Source{.x = x + col,
                                     .importance = importance == nullptr ? nullptr : importance + col,
                                     .spread = spread,
                                     .blocks = blocks});
      for (int64_t b = 0; b < blocks; ++b) {
        BlockIQ4NL block{};
        block.d = float_to_half(group.scale[b]);
        const float inverse = group.scale[b] != 0 ? 1 / group.scale[b] : 0;
        uint8_t code[32];
        for (int i = 0; i < 32; ++i) code[i] = grid_code(inverse * x[col + 32 * b + i]);
        G::put_nibbles(block, code);
        G::put(out, col / 32 + b, block);
      }
    }
  }

  static void iq4_xs(std::byte* out, const float* x, const float* importance, int64_t cols) {
    G::template for_super_blocks<32>(
        x, importance, cols, 2, [&](Group<32>& group, const Source& from) { uneven_group<32>(group, from); },
        [&](int64_t number, Group<32>& group, int64_t first, const float* values) {
          BlockIQ4XS block{};
          const float d = -G::template extreme<8>(group.scale + first) / 32, inverse = d != 0 ? 1 / d : 0;
          block.d = float_to_half(d);
          unsigned high = 0;
          for (int s = 0; s < 8; ++s) {
            const int found = nearest(inverse * group.scale[first + s]),
                      l = found > -32 ? (found < 31 ? found : 31) : -32;
            const float step = d * static_cast<float>(l), to_grid = step != 0 ? 1 / step : 0;
            uint8_t code[32];
            for (int i = 0; i < 32; ++i) code[i] = grid_code(to_grid * values[32 * s + i]);
            for (int j = 0; j < 16; ++j) block.qs[16 * s + j] = static_cast<uint8_t>(code[j] | code[16 + j] << 4);
            const unsigned biased = static_cast<unsigned>(l + 32);
            block.scales_l[s / 2] = static_cast<uint8_t>(block.scales_l[s / 2] | (biased & 15) << (4 * (s % 2)));
            high |= (biased >> 4) << (2 * s);
          }
          block.scales_h = static_cast<uint16_t>(high);
          G::put(out, number, block);
        });
  }

  // --- four-bit floats ---

  // The code whose value (E2M1, doubled) times step comes nearest; of equals the first.
  FACET_INLINE static uint8_t e2m1_code(float value, float step) {
    uint8_t code = 0;
    float least = 0;
    for (int k = 0; k < 16; ++k) {
      float error = static_cast<float>(kE2M1Doubled[k]) * step - value;
      error = error < 0 ? -error : error;
      const bool nearer = k == 0 || error < least;
      code = nearer ? static_cast<uint8_t>(k) : code;
      least = nearer ? error : least;
    }
    return code;
  }

  static void mxfp4(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      const float peak = G::template extreme<32>(x);
      uint32_t bits = 0;
      std::memcpy(&bits, &peak, sizeof(bits));
      // floor(log2 |peak|) - 2, biased by 127; what is too small for it gets the smallest.
      const int exponent = static_cast<int>((bits >> 23) & 255), biased = exponent > 2 ? exponent - 2 : 0;
      BlockMXFP4 block{};
      block.e = static_cast<uint8_t>(peak != 0 ? biased : 0);
      const float step = half_of_e8m0(block.e);
      for (int j = 0; j < 16; ++j)
        block.qs[j] = static_cast<uint8_t>(e2m1_code(x[j], step) | e2m1_code(x[16 + j], step) << 4);
      G::put(out, b, block);
    }
  }

  // --- ternary ---

  FACET_INLINE static float largest_magnitude(const float* x) {
    const float peak = G::template extreme<256>(x);
    return peak < 0 ? -peak : peak;
  }
  FACET_INLINE static unsigned trit(float value) { return static_cast<unsigned>(G::rounded_half_away(value, 1) + 1); }

  static void tq1_0(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 256; ++b, x += 256) {
      const float d = largest_magnitude(x), inverse = d != 0 ? 1 / d : 0;
      BlockTQ1_0 block{};
      block.d = float_to_half(d);
      // Trit n of a byte is value n * stride on: base 3, the first most significant, as a fraction of 256.
      const auto byte = [&](const float* from, int stride, int n) {
        unsigned q = 0;
        for (int i = 0; i < 5; ++i) q = 3 * q + (i < n ? trit(from[i * stride] * inverse) : 0);
        return static_cast<uint8_t>((q * 256 + 242) / 243);
      };
      for (int m = 0; m < 32; ++m) block.qs[m] = byte(x + m, 32, 5);
      for (int m = 0; m < 16; ++m) block.qs[32 + m] = byte(x + 160 + m, 16, 5);
      for (int m = 0; m < 4; ++m) block.qh[m] = byte(x + 240 + m, 4, 4);
      G::put(out, b, block);
    }
  }

  static void tq2_0(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 256; ++b, x += 256) {
      const float d = largest_magnitude(x), inverse = d != 0 ? 1 / d : 0;
      BlockTQ2_0 block{};
      block.d = float_to_half(d);
      for (int half = 0; half < 2; ++half)
        for (int m = 0; m < 32; ++m)
          for (int n = 0; n < 4; ++n)
            block.qs[32 * half + m] =
                static_cast<uint8_t>(block.qs[32 * half + m] | trit(x[128 * half + 32 * n + m] * inverse) << (2 * n));
      G::put(out, b, block);
    }
  }
};

}  // namespace facet::kernels::simd
