// Byte layouts of the quantised blocks in model files (spec: ggml's block types). Blocks stand unaligned in files: read
// them with memcpy. Sizes and order are fixed by the format.
#pragma once

#include <cstdint>
#include <cstring>

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

// IQ4_NL: 32 values d * kIq4Values[q], nibbles as in Q4_0.
struct BlockIQ4NL {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4NL) == 18);

// IQ4_XS: 8 sub-blocks of 32, nibbles as in Q4_0. Scale of sub-block s: low nibble in scales_l, two bits 2s of
// scales_h, minus 32. Value = d * scale * kIq4Values[q].
struct BlockIQ4XS {
  uint16_t d, scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4XS) == 136);

// MXFP4: 32 values 2^(e - 127) * E2M1(q), nibbles as in Q4_0.
struct BlockMXFP4 {
  uint8_t e;
  uint8_t qs[16];
};
static_assert(sizeof(BlockMXFP4) == 17);

// TQ1_0: 256 values d * (trit - 1), five trits a byte in base 3, as fractions of 256: bytes 0 … 31 hold values m + 32 n
// of the first 160, bytes 32 … 47 m + 16 n of the next 80, qh the last 16, four a byte.
struct BlockTQ1_0 {
  uint8_t qs[48];
  uint8_t qh[4];
  uint16_t d;
};
static_assert(sizeof(BlockTQ1_0) == 54);

// TQ2_0: 256 values d * (q - 1): two halves of 128; value m + 32 n of a half in bits 2n, 2n + 1 of byte m.
struct BlockTQ2_0 {
  uint8_t qs[64];
  uint16_t d;
};
static_assert(sizeof(BlockTQ2_0) == 66);

// NVFP4: 4 sub-blocks of 16 values E4M3(d[s]) * E2M1(q); bytes 8s … 8s + 7 of qs: low nibbles are values 0 … 7.
struct BlockNVFP4 {
  uint8_t d[4];
  uint8_t qs[32];
};
static_assert(sizeof(BlockNVFP4) == 36);

// Q1_0: 128 values d where the bit is set, -d where it is not.
struct BlockQ1_0 {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ1_0) == 18);

// Q2_0: 64 values d * (q - 1), two bits each, the first lowest.
struct BlockQ2_0 {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ2_0) == 18);

// IQ types: groups of values out of a code book (kernels/iq_grids.h), with signs.
//
// IQ2_XXS: for each 32 values four bytes that number groups of 8, then 4 x 7 bits of signs and a scale of four bits.
struct BlockIQ2XXS {
  uint16_t d;
  uint8_t qs[64];
};
static_assert(sizeof(BlockIQ2XXS) == 66);

// IQ2_XS: 9 bits number a group of 8, 7 bits hold its signs; a scale of four bits for each 16 values.
struct BlockIQ2XS {
  uint16_t d;
  uint8_t qs[64];  // 32 little-endian words
  uint8_t scales[8];
};
static_assert(sizeof(BlockIQ2XS) == 74);

// IQ2_S: 10 bits number a group of 8 (two of them in qh), its signs have a byte.
struct BlockIQ2S {
  uint16_t d;
  uint8_t qs[32], signs[32];
  uint8_t qh[8];
  uint8_t scales[8];
};
static_assert(sizeof(BlockIQ2S) == 82);

// IQ3_XXS: 8 bits number a group of 4; for each 32 values 4 x 7 bits of signs and a scale of four bits.
struct BlockIQ3XXS {
  uint16_t d;
  uint8_t qs[64];
  uint8_t signs[32];
};
static_assert(sizeof(BlockIQ3XXS) == 98);

// IQ3_S: 9 bits number a group of 4 (one of them in qh); a bit for each sign; a scale of four bits for each 32 values.
struct BlockIQ3S {
  uint16_t d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];
};
static_assert(sizeof(BlockIQ3S) == 110);

// IQ1_S: 11 bits number a group of 8 (three of them in qh); each word of qh also holds a scale of three bits and the
// sign of the shift by 1/8 for its 32 values.
struct BlockIQ1S {
  uint16_t d;
  uint8_t qs[32];
  uint8_t qh[16];  // 8 little-endian words
};
static_assert(sizeof(BlockIQ1S) == 50);

// IQ1_M: the same with a scale for each 16 values and a shift for each 8; the scale of all is cut into four pieces.
struct BlockIQ1M {
  uint8_t qs[32];
  uint8_t qh[16];
  uint8_t scales[8];  // 4 little-endian words
};
static_assert(sizeof(BlockIQ1M) == 56);

// The uneven grid of IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// The values of E2M1 floats by code, doubled: whole numbers.
inline constexpr int8_t kE2M1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
// 2^(e - 128): half of what an E8M0 scale says, for doubled values.
inline float half_of_e8m0(uint8_t e) {
  const uint32_t bits = e < 2 ? uint32_t{0x200000} << e : static_cast<uint32_t>(e - 1) << 23;
  float value;
  static_assert(sizeof(value) == sizeof(bits));
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

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
