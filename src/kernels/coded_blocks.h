// Block types whose values are a float scale times a small whole number: how each is read. The scale covers 16 or 32
// values; scale * code is the value, rounded once, as the formula of the type rounds it (quantization.md 4; the IQ
// types: the package gguf on the Python package index).
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/iq_grids.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

namespace facet::kernels {

// kValues in a block, kScaleCols for each scale; decode(code[kValues], scale[kValues / kScaleCols], block).
template <class Block>
struct Coded;

inline uint32_t word32(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}
inline uint32_t word16(const uint8_t* bytes) { return static_cast<uint32_t>(bytes[0] | bytes[1] << 8); }

// 32 values out of 16 bytes: low nibbles, then high ones.
inline void decode_nibbles(int8_t* code, const uint8_t* qs, int half, const int8_t (&values)[16]) {
  for (int j = 0; j < half; ++j) {
    code[j] = values[qs[j] & 15];
    code[half + j] = values[qs[j] >> 4];
  }
}

template <>
struct Coded<BlockIQ4NL> {
  static constexpr int kValues = 32, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockIQ4NL& b) {
    scale[0] = half_to_float(b.d);
    decode_nibbles(code, b.qs, 16, kIq4Values);
  }
};

template <>
struct Coded<BlockIQ4XS> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockIQ4XS& b) {
    for (int s = 0; s < 8; ++s) {
      const int low = (b.scales_l[s / 2] >> (4 * (s % 2))) & 15, high = (b.scales_h >> (2 * s)) & 3;
      scale[s] = half_to_float(b.d) * static_cast<float>((low | high << 4) - 32);
      decode_nibbles(code + 32 * s, b.qs + 16 * s, 16, kIq4Values);
    }
  }
};

template <>
struct Coded<BlockMXFP4> {
  static constexpr int kValues = 32, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockMXFP4& b) {
    scale[0] = half_of_e8m0(b.e);
    decode_nibbles(code, b.qs, 16, kE2M1Doubled);
  }
};

// Half the value of an unsigned E4M3 scale, for doubled codes; 0 and 127 read as 0.
inline float half_of_e4m3(uint8_t bits) {
  if (bits == 0 || bits == 0x7F) return 0;
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  const float magnitude = exponent == 0
                              ? static_cast<float>(mantissa) * 0x1p-9f
                              : static_cast<float>(8 + mantissa) * 0x1p-10f * static_cast<float>(1 << exponent);
  return 0.5f * magnitude;
}

template <>
struct Coded<BlockNVFP4> {
  static constexpr int kValues = 64, kScaleCols = 16;
  static void decode(int8_t* code, float* scale, const BlockNVFP4& b) {
    for (int s = 0; s < 4; ++s) {
      scale[s] = half_of_e4m3(b.d[s]);
      decode_nibbles(code + 16 * s, b.qs + 8 * s, 8, kE2M1Doubled);
    }
  }
};

// Trit n of a byte: base 3, the first most significant, as a fraction of 256.
inline int8_t trit_of(uint8_t byte, int n) {
  constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const auto shifted = static_cast<uint8_t>(byte * kPowers[n]);
  return static_cast<int8_t>(((shifted * 3) >> 8) - 1);
}

template <>
struct Coded<BlockTQ1_0> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockTQ1_0& b) {
    for (int s = 0; s < 8; ++s) scale[s] = half_to_float(b.d);
    for (int m = 0; m < 32; ++m)
      for (int n = 0; n < 5; ++n) code[m + 32 * n] = trit_of(b.qs[m], n);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 5; ++n) code[160 + m + 16 * n] = trit_of(b.qs[32 + m], n);
    for (int m = 0; m < 4; ++m)
      for (int n = 0; n < 4; ++n) code[240 + m + 4 * n] = trit_of(b.qh[m], n);
  }
};

template <>
struct Coded<BlockTQ2_0> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockTQ2_0& b) {
    for (int s = 0; s < 8; ++s) scale[s] = half_to_float(b.d);
    for (int half = 0; half < 2; ++half)
      for (int m = 0; m < 32; ++m)
        for (int n = 0; n < 4; ++n)
          code[128 * half + 32 * n + m] = static_cast<int8_t>(((b.qs[32 * half + m] >> (2 * n)) & 3) - 1);
  }
};

template <>
struct Coded<BlockQ1_0> {
  static constexpr int kValues = 128, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockQ1_0& b) {
    for (int s = 0; s < 4; ++s) scale[s] = half_to_float(b.d);
    for (int i = 0; i < 128; ++i) code[i] = ((b.qs[i / 8] >> (i % 8)) & 1) != 0 ? 1 : -1;
  }
};

template <>
struct Coded<BlockQ2_0> {
  static constexpr int kValues = 64, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockQ2_0& b) {
    for (int s = 0; s < 2; ++s) scale[s] = half_to_float(b.d);
    for (int i = 0; i < 64; ++i) code[i] = static_cast<int8_t>(((b.qs[i / 4] >> (2 * (i % 4))) & 3) - 1);
  }
};

// --- groups out of code books ---

inline int8_t signed_value(int8_t value, uint8_t signs, int i) {
  return static_cast<int8_t>(((signs >> i) & 1) != 0 ? -value : value);
}
inline void decode_eight(int8_t* code, uint16_t group, const int8_t (&values)[4], uint8_t signs) {
  for (int i = 0; i < 8; ++i) code[i] = signed_value(values[(group >> (2 * i)) & 3], signs, i);
}
inline void decode_four(int8_t* code, uint16_t group, const int8_t (&values)[8], uint8_t signs) {
  for (int i = 0; i < 4; ++i) code[i] = signed_value(values[(group >> (4 * i)) & 7], signs, i);
}
// d (1/2 + s) / 4: what IQ2 and IQ3_XXS call their scale.
inline float half_step(float d, uint32_t s, float part) { return d * (0.5f + static_cast<float>(s)) * part; }

template <>
struct Coded<BlockIQ2XXS> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockIQ2XXS& b) {
    for (int s = 0; s < 8; ++s) {
      const uint32_t signs = word32(b.qs + 8 * s + 4);
      scale[s] = half_step(half_to_float(b.d), signs >> 28, 0.25f);
      for (int l = 0; l < 4; ++l)
        decode_eight(code + 32 * s + 8 * l, kIq2XxsGrid[b.qs[8 * s + l]], kIq2Values, even_signs(signs >> (7 * l)));
    }
  }
};

template <>
struct Coded<BlockIQ2XS> {
  static constexpr int kValues = 256, kScaleCols = 16;
  static void decode(int8_t* code, float* scale, const BlockIQ2XS& b) {
    for (int s = 0; s < 16; ++s)
      scale[s] = half_step(half_to_float(b.d), static_cast<uint32_t>(b.scales[s / 2] >> (4 * (s % 2))) & 15, 0.25f);
    for (int g = 0; g < 32; ++g) {
      const uint32_t word = word16(b.qs + 2 * g);
      decode_eight(code + 8 * g, kIq2XsGrid[word & 511], kIq2Values, even_signs(word >> 9));
    }
  }
};

template <>
struct Coded<BlockIQ2S> {
  static constexpr int kValues = 256, kScaleCols = 16;
  static void decode(int8_t* code, float* scale, const BlockIQ2S& b) {
    for (int s = 0; s < 16; ++s)
      scale[s] = half_step(half_to_float(b.d), static_cast<uint32_t>(b.scales[s / 2] >> (4 * (s % 2))) & 15, 0.25f);
    for (int g = 0; g < 32; ++g) {
      const int number = b.qs[g] | ((b.qh[g / 4] >> (2 * (g % 4))) & 3) << 8;
      decode_eight(code + 8 * g, kIq2SGrid[number], kIq2Values, b.signs[g]);
    }
  }
};

template <>
struct Coded<BlockIQ3XXS> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockIQ3XXS& b) {
    for (int s = 0; s < 8; ++s) {
      const uint32_t word = word32(b.signs + 4 * s);
      scale[s] = half_step(half_to_float(b.d), word >> 28, 0.5f);
      for (int l = 0; l < 8; ++l) {
        const uint8_t signs = even_signs(word >> (7 * (l / 2)));
        decode_four(code + 32 * s + 4 * l, kIq3XxsGrid[b.qs[8 * s + l]], kIq3XxsValues,
                    static_cast<uint8_t>(signs >> (4 * (l % 2))));
      }
    }
  }
};

template <>
struct Coded<BlockIQ3S> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockIQ3S& b) {
    for (int s = 0; s < 8; ++s)
      scale[s] = half_to_float(b.d) * static_cast<float>(1 + 2 * ((b.scales[s / 2] >> (4 * (s % 2))) & 15));
    for (int g = 0; g < 64; ++g) {
      const int number = b.qs[g] | ((b.qh[g / 8] >> (g % 8)) & 1) << 8;
      decode_four(code + 4 * g, kIq3SGrid[number], kIq3SValues, static_cast<uint8_t>(b.signs[g / 2] >> (4 * (g % 2))));
    }
  }
};

// Values -1, 0, 1 shifted by 1/8 up or down: eighths.
inline void decode_shifted(int8_t* code, uint16_t group, bool down) {
  for (int i = 0; i < 8; ++i) code[i] = static_cast<int8_t>(8 * kIq1Values[(group >> (2 * i)) & 3] + (down ? -1 : 1));
}

template <>
struct Coded<BlockIQ1S> {
  static constexpr int kValues = 256, kScaleCols = 32;
  static void decode(int8_t* code, float* scale, const BlockIQ1S& b) {
    for (int s = 0; s < 8; ++s) {
      const uint32_t word = word16(b.qh + 2 * s);
      scale[s] = half_to_float(b.d) * static_cast<float>(2 * ((word >> 12) & 7) + 1) * 0.125f;
      for (int l = 0; l < 4; ++l) {
        const uint32_t number = b.qs[4 * s + l] | ((word >> (3 * l)) & 7) << 8;
        decode_shifted(code + 32 * s + 8 * l, kIq1Grid[number], (word & 0x8000) != 0);
      }
    }
  }
};

template <>
struct Coded<BlockIQ1M> {
  static constexpr int kValues = 256, kScaleCols = 16;
  static void decode(int8_t* code, float* scale, const BlockIQ1M& b) {
    uint32_t d = 0;
    for (int i = 0; i < 4; ++i) d |= (word16(b.scales + 2 * i) >> 12) << (4 * i);
    for (int s = 0; s < 16; ++s) {
      const uint32_t factor = (word16(b.scales + s / 4 * 2) >> (3 * (s % 4))) & 7;
      scale[s] = half_to_float(static_cast<uint16_t>(d)) * static_cast<float>(2 * factor + 1) * 0.125f;
    }
    for (int g = 0; g < 32; ++g) {
      const int nibble = b.qh[g / 2] >> (4 * (g % 2));
      decode_shifted(code + 8 * g, kIq1Grid[b.qs[g] | (nibble & 7) << 8], (nibble & 8) != 0);
    }
  }
};

}  // namespace facet::kernels
