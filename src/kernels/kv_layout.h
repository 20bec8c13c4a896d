// Where an element of a key or value block stands (table.h, docs/attention.md).
//
//   floats  K [2 halves][D / 2][32 keys][2]     the two of a pair are d = 2 i, 2 i + 1
//           V [D / 32][32 key pairs][32][2]     the two of a pair are keys 2 j, 2 j + 1
//   int8    K [2 halves][D / 4][32 keys][4]     the four of a quad are d = 4 i … 4 i + 3; a code is stored plus 128
//           V [D / 32][16 key quads][32][4]     the four of a quad are keys 4 j … 4 j + 3
//           and behind either: [64] f32, the scale of each position
//
// For one head, 64 keys; D is padded to a multiple of 32; padding holds zeros.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/table.h"

namespace facet::kernels {

constexpr int64_t padded_head(int64_t head_dim) { return (head_dim + 31) / 32 * 32; }

constexpr int64_t key_index(int64_t position, int64_t d, int64_t head_dim) {
  const int64_t half = position / 32 * (padded_head(head_dim) / 2);
  return (half + d / 2) * 64 + position % 32 * 2 + d % 2;
}

constexpr int64_t value_index(int64_t position, int64_t d) {
  return (d / 32 * 32 + position / 2) * 64 + d % 32 * 2 + position % 2;
}

constexpr int64_t key_code_index(int64_t position, int64_t d, int64_t head_dim) {
  const int64_t half = position / 32 * (padded_head(head_dim) / 4);
  return (half + d / 4) * 128 + position % 32 * 4 + d % 4;
}

constexpr int64_t value_code_index(int64_t position, int64_t d) {
  return (d / 32 * 16 + position / 4) * 128 + d % 32 * 4 + position % 4;
}

// Where the scales of an int8 block begin.
constexpr int64_t scales_offset(int64_t head_dim) { return kKvBlockKeys * padded_head(head_dim); }

// The largest code of a query: 127 * 256, so that both bytes of a code are signed ones, or less, so that no sum of its
// products with codes of -128…127 leaves 32 bits (nor, without the 128, a float's 24).
constexpr int32_t query_code_max(int64_t head_dim) {
  const int64_t fits = (int64_t{1} << 24) / padded_head(head_dim) - 1;
  return static_cast<int32_t>(fits < 32512 ? fits : 32512);
}
inline constexpr float kWeightCodeMax = 32767;  // of a probability times a value's scale

// Of a coded query: its scale, what a tier needs besides (4 bytes), then 16-bit codes.
constexpr int64_t coded_query_bytes(int64_t head_dim) { return 8 + 2 * padded_head(head_dim); }

// K or V of one head and 64 positions. Requires a type that Table::kv() knows.
int64_t kv_block_bytes(DType type, int64_t head_dim);

namespace scalar {
std::span<const KvType> kv_types();  // storing and loading are the same in every tier
KvType int8_kv_type();               // scalar_int8_attention.cc
}  // namespace scalar

}  // namespace facet::kernels
