// What every tier's Hadamard rotation (Table::hadamard) shares: its blocks, and the plain form of one.
#pragma once

#include <bit>
#include <cstdint>

namespace facet::kernels {

// 1 / √n, of a power of two.
constexpr float inverse_root(int64_t n) {
  float root = 1;
  for (; n >= 4; n /= 4) root /= 2;
  return n == 2 ? root * 0.70710678118654752f : root;
}

// Turns n values, a power of two: scaled first, then sums and differences of neighbours, of values two apart, four …
inline void turn_block(float* x, int64_t n) {
  const float root = inverse_root(n);
  for (int64_t i = 0; i < n; ++i) x[i] *= root;
  for (int64_t apart = 1; apart < n; apart *= 2) {
    for (int64_t i = 0; i < n; i += 2 * apart) {
      for (int64_t j = i; j < i + apart; ++j) {
        const float a = x[j], b = x[j + apart];
        x[j] = a + b;
        x[j + apart] = a - b;
      }
    }
  }
}

// Calls turn(values, count) for the blocks of n values, each a power of two, the largest that fits first.
template <class Turn>
void for_hadamard_blocks(float* x, int64_t n, const Turn& turn) {
  while (n > 0) {
    const int64_t size = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)));
    turn(x, size);
    x += size;
    n -= size;
  }
}

}  // namespace facet::kernels
