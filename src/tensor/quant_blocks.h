// Byte layouts of the quantised blocks in model files (spec: ggml's block types). Blocks stand unaligned in files: read
// them with memcpy. Sizes and order are fixed by the format.
#pragma once

#include <cstdint>

namespace facet {

// 32 values: d * (q - 8); nibble j of the low half holds element j, the high half element 16 + j.
struct BlockQ4_0 {
  uint16_t d;  // binary16
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// 32 values: d * q + m.
struct BlockQ4_1 {
  uint16_t d, m;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// 32 values: d * (q - 16); bit j of qh is the fifth bit of element j.
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];  // little-endian 32 bits
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

// 32 values: d * q + m.
struct BlockQ5_1 {
  uint16_t d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// 32 values: d * q.
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// Super-blocks of 256 values.
//
// Q2_K: 16 sub-blocks of 16; scales[s] = 4-bit scale | 4-bit minimum << 4. Two halves of 128; in a half, bits 2g and 2g
// + 1 of 32 bytes hold group g of 32 values. Value = d * scale * q - dmin * minimum.
struct BlockQ2K {
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d, dmin;
};
static_assert(sizeof(BlockQ2K) == 84);

// Q3_K: low two bits as Q2_K; the high bit of element e is bit e / 32 of hmask[e % 32]. Value = d * scale * (q - 4),
// where q has the high bit as 4. 16 six-bit scales, biased by 32.
struct BlockQ3K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(BlockQ3K) == 110);

// Q4_K: 8 sub-blocks of 32 with 6-bit scales and minima. Bytes 32c … 32c + 31: low nibbles are sub-block 2c, high
// nibbles 2c + 1. Value = d * scale * q - dmin * minimum.
struct BlockQ4K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4K) == 144);

// Q5_K: Q4_K with a fifth bit: bit s of qh[l] belongs to element l of sub-block s.
struct BlockQ5K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5K) == 176);

// Q6_K: two halves of 128; element l + 32 g of a half: four low bits in ql, two high bits in bits 2g of qh[l].
// Value = d * scales[element / 16] * (q - 32).
struct BlockQ6K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(BlockQ6K) == 210);

// The 6-bit scale and minimum of sub-block j (0…7) of Q4_K and Q5_K.
//   j < 4:  scale = b[j] & 63,                          minimum = b[j + 4] & 63
//   j >= 4: scale = (b[j + 4] & 15) | b[j - 4] >> 6 << 4, minimum = b[j + 4] >> 4 | b[j] >> 6 << 4
struct ScaleAndMinimum {
  uint8_t scale, minimum;
};
inline ScaleAndMinimum scale_and_minimum(const uint8_t (&b)[12], int j) {
  if (j < 4) return {static_cast<uint8_t>(b[j] & 63), static_cast<uint8_t>(b[j + 4] & 63)};
  return {static_cast<uint8_t>((b[j + 4] & 15) | (b[j - 4] >> 6 << 4)),
          static_cast<uint8_t>((b[j + 4] >> 4) | (b[j] >> 6 << 4))};
}

// The 6-bit scale of sub-block s (0…15) of Q3_K, bias removed: -32…31.
inline int scale_q3k(const uint8_t (&b)[12], int s) {
  const int low = s < 8 ? b[s] & 15 : b[s - 8] >> 4;
  const int high = (b[8 + s % 4] >> (2 * (s / 4))) & 3;
  return (low | high << 4) - 32;
}

}  // namespace facet
