// Quantisers of the K-quants: super-blocks of 256 values with scales of scales (quantization.md 3).
#pragma once

#include "kernels/quantize_pieces_simd.h"

namespace facet::kernels::simd {

template <class Tier>
struct KQuantizers {
  using G = QuantizerPieces<Tier>;
  using Fits = typename G::Fits;
  using F = typename G::F;
  using Source = typename G::Source;
  using Weights = typename G::Weights;
  template <int n>
  using Group = typename G::template Group<n>;

  // Six-bit scales and minima of eight sub-blocks (tensor/quant_blocks.h, scale_and_minimum).
  FACET_INLINE static void put_six_bits(uint8_t (&b)[12], const uint8_t* scale, const uint8_t* minimum) {
    for (int j = 0; j < 4; ++j) {
      b[j] = static_cast<uint8_t>((scale[j] & 63) | (scale[j + 4] >> 4) << 6);
      b[j + 4] = static_cast<uint8_t>((minimum[j] & 63) | (minimum[j + 4] >> 4) << 6);
      b[j + 8] = static_cast<uint8_t>((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
    }
  }

  // Block scale of sub-block scales that are not negative: codes 0 … most of `value`, and the step in half precision.
  template <int n>
  FACET_INLINE static uint16_t block_scale(uint8_t (&code)[n], const float* value, const float* weight, int most,
                                           bool searched) {
    float values[n], weights[n], peak = 0;
    for (int i = 0; i < n; ++i) {
      values[i] = value[i];
      weights[i] = weight[i];
      peak = value[i] > peak ? value[i] : peak;
    }
    if (searched) return float_to_half(positive(code, values, static_cast<float>(most), weights));
    const float inverse = peak > 0 ? static_cast<float>(most) / peak : 0;
    for (int i = 0; i < n; ++i) {
      const uint8_t l = static_cast<uint8_t>(nearest(inverse * values[i]));
      code[i] = l < most ? l : static_cast<uint8_t>(most);
    }
    return float_to_half(peak > 0 ? peak / static_cast<float>(most) : 0);
  }

  // Q4_K and Q5_K: 8 sub-blocks of 32 with a scale and a minimum of six bits each.
  template <class Block, int most>
  static void affine_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    const typename Fits::Search plain =
        most == 15 ? typename Fits::Search{.first = -1.0f, .delta = 0.1f, .steps = 20, .absolute = false}
                   : typename Fits::Search{.first = -0.5f, .delta = 0.1f, .steps = 15, .absolute = false};
    G::template for_super_blocks<32>(
        x, importance, cols, 2,
        [&](Group<32>& group, const Source& from) {
          G::template affine_group<32>(group, from, static_cast<float>(most), plain, false);
        },
        [&](int64_t number, Group<32>& group, int64_t first, const float* values) {
          uint8_t scale[8], minimum[8];
          Block block{};
          block.d = block_scale(scale, group.scale + first, group.weight_sum + first, 63, importance != nullptr);
          block.dmin = block_scale(minimum, group.minimum + first, group.weight_sum + first, 63, importance != nullptr);
          put_six_bits(block.scales, scale, minimum);
          uint8_t* code = group.code + 32 * first;
          for (int s = 0; s < 8; ++s) {
            const float d = half_to_float(block.d) * static_cast<float>(scale[s]);
            if (d == 0) continue;  // keeps its codes
            const float offset = half_to_float(block.dmin) * static_cast<float>(minimum[s]);
            G::template recode<32>(code + 32 * s, values + 32 * s, offset, d, 0, static_cast<float>(most));
          }
          for (int s = 0; s < 8; s += 2)
            for (int l = 0; l < 32; ++l)
              block.qs[16 * s + l] = static_cast<uint8_t>((code[32 * s + l] & 15) | (code[32 * s + 32 + l] & 15) << 4);
          if constexpr (most == 31)
            for (int l = 0; l < 32; ++l)
              for (int s = 0; s < 8; ++s)
                block.qh[l] = static_cast<uint8_t>(block.qh[l] | (code[32 * s + l] >> 4) << s);
          G::put(out, number, block);
        });
  }

  // Two bits of each code: four groups of 32 in the bytes of each half.
  FACET_INLINE static void put_two_bits(uint8_t (&qs)[64], const uint8_t* code) {
    for (int half = 0; half < 2; ++half)
      for (int l = 0; l < 32; ++l) {
        const uint8_t* c = code + 128 * half + l;
        qs[32 * half + l] = static_cast<uint8_t>((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
      }
  }

  static void q2_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    G::template for_super_blocks<16>(
        x, importance, cols, 1,
        [&](Group<16>& group, const Source& from) {
          G::template affine_group<16>(group, from, 3, {.first = -0.5f, .delta = 0.1f, .steps = 15, .absolute = true},
                                       true);
        },
        [&](int64_t number, Group<16>& group, int64_t first, const float* values) {
          uint8_t scale[16], minimum[16];
          BlockQ2K block{};
          block.d = block_scale(scale, group.scale + first, group.weight_sum + first, 15, importance != nullptr);
          block.dmin = block_scale(minimum, group.minimum + first, group.weight_sum + first, 15, importance != nullptr);
          uint8_t* code = group.code + 16 * first;
          for (int s = 0; s < 16; ++s) {
            block.scales[s] = static_cast<uint8_t>(scale[s] | minimum[s] << 4);
            const float d = half_to_float(block.d) * static_cast<float>(block.scales[s] & 15);
            if (d == 0) continue;
            const float offset = half_to_float(block.dmin) * static_cast<float>(block.scales[s] >> 4);
            G::template recode<16>(code + 16 * s, values + 16 * s, offset, d, 0, 3);
          }
          put_two_bits(block.qs, code);
          G::put(out, number, block);
        });
  }

  static void q3_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    G::template for_super_blocks<16>(
        x, importance, cols, 2,
        [&](Group<16>& group, const Source& from) {
          if (importance != nullptr) return G::template symmetric_group<16, Weights::importance>(group, from, 4);
          G::template fit_group<16, Weights::square>(
              group, from, [](F(&code)[16], const F(&values)[16], const F(&)[16]) {
                return typename Fits::Affine{Fits::descent(code, values, 4), F{}};
              });
        },
        [&](int64_t number, Group<16>& group, int64_t first, const float* values) {
          BlockQ3K block{};
          uint8_t scale[16];  // biased by 32
          block.d = importance != nullptr ? searched_scales(scale, group, first) : plain_scales(scale, group, first);
          for (int s = 0; s < 16; ++s) {
            const int low = scale[s] & 15, high = scale[s] >> 4;
            block.scales[s % 8] = static_cast<uint8_t>(block.scales[s % 8] | low << (s < 8 ? 0 : 4));
            block.scales[8 + s % 4] = static_cast<uint8_t>(block.scales[8 + s % 4] | high << (2 * (s / 4)));
          }
          uint8_t* code = group.code + 16 * first;
          for (int s = 0; s < 16; ++s) {
            const float d = half_to_float(block.d) * static_cast<float>(scale_q3k(block.scales, s));
            if (d != 0) G::template recode<16>(code + 16 * s, values + 16 * s, 0, d, -4, 3);
          }
          for (int e = 0; e < 256; ++e)
            block.hmask[e % 32] = static_cast<uint8_t>(block.hmask[e % 32] | (code[e] > 3 ? 1 : 0) << (e / 32));
          put_two_bits(block.qs, code);
          G::put(out, number, block);
        });
  }
  static uint16_t plain_scales(uint8_t (&code)[16], const Group<16>& group, int64_t first) {
    const float peak = G::template extreme<16>(group.scale + first), inverse = -32 / peak;
    for (int s = 0; s < 16; ++s) {
      // An empty block has the scales 0 … 0 as stored, not as biased.
      const int l = peak != 0 ? static_cast<int8_t>(nearest(inverse * group.scale[first + s])) : -32;
      code[s] = static_cast<uint8_t>((l > -32 ? (l < 31 ? l : 31) : -32) + 32);
    }
    return float_to_half(peak != 0 ? 1 / inverse : 0);
  }
  static uint16_t searched_scales(uint8_t (&code)[16], const Group<16>& group, int64_t first) {
    F x[16], w[16], codes[16];
    for (int s = 0; s < 16; ++s) {
      x[s] = Fits::all(group.scale[first + s]);
      w[s] = Fits::all(group.weight_sum[first + s]);
    }
    const F scale = Fits::symmetric(codes, x, w, 32);
    for (int s = 0; s < 16; ++s) code[s] = static_cast<uint8_t>(static_cast<int>(codes[s][0]));
    return float_to_half(scale[0]);
  }

  static void q6_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    G::template for_super_blocks<16>(
        x, importance, cols, 1,
        [&](Group<16>& group, const Source& from) {
          if (importance != nullptr) return G::template symmetric_group<16, Weights::plain>(group, from, 32);
          G::template symmetric_group<16, Weights::square>(group, from, 32);
        },
        [&](int64_t number, Group<16>& group, int64_t first, const float* values) {
          BlockQ6K block{};
          const float peak = G::template extreme<16>(group.scale + first), inverse = -128 / peak;
          if (!((peak < 0 ? -peak : peak) >= kEmptyBlock)) return G::put(out, number, block);
          block.d = float_to_half(1 / inverse);
          uint8_t* code = group.code + 16 * first;
          for (int s = 0; s < 16; ++s) {
            const int l = nearest(inverse * group.scale[first + s]);
            block.scales[s] = static_cast<int8_t>(l < 127 ? l : 127);
            const float d = half_to_float(block.d) * static_cast<float>(block.scales[s]);
            if (d != 0) G::template recode<16>(code + 16 * s, values + 16 * s, 0, d, -32, 31);
          }
          for (int half = 0; half < 2; ++half)
            for (int l = 0; l < 32; ++l) {
              const uint8_t* c = code + 128 * half + l;
              block.ql[64 * half + l] = static_cast<uint8_t>((c[0] & 15) | (c[64] & 15) << 4);
              block.ql[64 * half + 32 + l] = static_cast<uint8_t>((c[32] & 15) | (c[96] & 15) << 4);
              block.qh[32 * half + l] =
                  static_cast<uint8_t>(c[0] >> 4 | (c[32] >> 4) << 2 | (c[64] >> 4) << 4 | (c[96] >> 4) << 6);
            }
          G::put(out, number, block);
        });
  }
};

}  // namespace facet::kernels::simd
