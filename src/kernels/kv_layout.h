// Where an element of a key or value block stands (table.h, docs/attention.md).
//
//   K, one head, 64 keys: two halves of 32 keys;  [half][D / 2][32 keys][2]: the two values of a pair are d = 2 i, 2 i
//   + 1 V, one head, 64 keys: [D / 32][32 key pairs][32][2]:                     the two values of a pair are keys 2 j,
//   2 j + 1
//
// D is padded to a multiple of 32; padding holds zeros.
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

namespace scalar {
std::span<const KvType> kv_types();  // storing and loading are the same in every tier
}

}  // namespace facet::kernels
