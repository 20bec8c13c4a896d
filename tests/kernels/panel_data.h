// Random weights in file layout and activations in every form, for the tests of the panel kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/table.h"
#include "tensor/half.h"

namespace facet::testing {

// What the half-precision scales of the blocks look like.
enum class Extremes { ordinary, zero_scales, subnormal_scales, largest_scales, all_bits_set };

// The bytes of the half-precision fields of a block; -1: none.
inline std::pair<int, int> scale_fields(DType type) {
  switch (type) {
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k: return {0, 2};
    case DType::tq1_0: return {52, -1};
    case DType::tq2_0: return {64, -1};
    case DType::mxfp4:
    case DType::nvfp4:
    case DType::iq1_m: return {-1, -1};
    case DType::q2_k: return {80, 82};
    case DType::q3_k: return {108, -1};
    case DType::q6_k: return {208, -1};
    default: return {0, -1};
  }
}

// Scales that are no half-precision number.
inline void set_other_scale(DType type, std::byte* block, std::mt19937& random) {
  if (type == DType::mxfp4) block[0] = static_cast<std::byte>(118 + random() % 16);
  if (type == DType::nvfp4)
    for (int s = 0; s < 4; ++s) block[s] = static_cast<std::byte>(random() & 127);
  if (type != DType::iq1_m) return;
  const unsigned half = 0x2000 + random() % 0x1800;  // a nibble at the top of each word
  for (int i = 0; i < 4; ++i) {
    const auto low = std::to_integer<unsigned>(block[49 + 2 * i]) & 15;
    block[49 + 2 * i] = static_cast<std::byte>(low | ((half >> (4 * i)) & 15) << 4);
  }
}

inline uint16_t random_half(std::mt19937& random, Extremes extremes) {
  const auto sign = static_cast<uint16_t>((random() & 1) << 15);
  switch (extremes) {
    case Extremes::zero_scales: return sign;
    case Extremes::subnormal_scales: return static_cast<uint16_t>(sign | (random() % 0x3FF + 1));
    case Extremes::largest_scales: return static_cast<uint16_t>(sign | 0x7BFF);
    default: return static_cast<uint16_t>(sign | (0x2000 + random() % 0x1800));  // 0.008…2
  }
}

// `rows` rows of `cols` values: every code and every small scale occurs.
inline std::vector<std::byte> random_rows(DType type, int64_t rows, int64_t cols, std::mt19937& random,
                                          Extremes extremes = Extremes::ordinary) {
  std::vector<std::byte> bytes(static_cast<size_t>(rows * row_bytes(type, cols)));
  const auto store = [&bytes](size_t at, auto value) { std::memcpy(bytes.data() + at, &value, sizeof(value)); };
  if (is_block_type(type)) {
    for (std::byte& b : bytes)
      b = extremes == Extremes::all_bits_set ? std::byte{0xFF} : static_cast<std::byte>(random() & 255);
    const auto [first, second] = scale_fields(type);
    for (size_t block = 0; block < bytes.size(); block += static_cast<size_t>(info(type).bytes)) {
      if (first >= 0) store(block + static_cast<size_t>(first), random_half(random, extremes));
      if (second >= 0) store(block + static_cast<size_t>(second), random_half(random, extremes));
      set_other_scale(type, bytes.data() + block, random);
    }
    return bytes;
  }
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < static_cast<size_t>(rows * cols); ++i) {
    const float value = normal(random);
    if (type == DType::f32) store(4 * i, value);
    if (type == DType::f16) store(2 * i, float_to_half(value));
    if (type == DType::bf16) store(2 * i, float_to_bf16(value));
  }
  return bytes;
}

// Activation rows with every form, row strides larger than needed.
struct Activations {
  int64_t rows, cols, padded;
  std::vector<float> f32, scale;
  std::vector<int8_t> q8;
  std::vector<int32_t> sums;
  std::vector<uint16_t> bf16;

  Activations(int64_t n_rows, int64_t n_cols) : rows(n_rows), cols(n_cols), padded((n_cols + 31) / 32 * 32 + 32) {
    const auto count = static_cast<size_t>(rows * padded);
    f32.resize(count);
    q8.resize(count);
    bf16.resize(count);
    scale.resize(count / 32);
    sums.resize(count / 16);
  }

  kernels::ActivationRows view(const int32_t* index = nullptr) const {
    return {.f32 = f32.data(),
            .stride_f32 = padded,
            .q8 = q8.data(),
            .stride_q8 = padded,
            .scale = scale.data(),
            .stride_scale = padded / 32,
            .sums = sums.data(),
            .stride_sums = padded / 16,
            .bf16 = bf16.data(),
            .stride_bf16 = padded,
            .index = index};
  }

  void add_up_codes() {
    for (size_t s = 0; s < sums.size(); ++s) {
      sums[s] = 0;
      for (size_t k = 0; k < 16; ++k) sums[s] += q8[16 * s + k];
    }
  }
};

inline Activations random_activations(int64_t rows, int64_t cols, std::mt19937& random) {
  Activations x(rows, cols);
  std::normal_distribution<float> normal;
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t k = 0; k < cols; ++k) {
      const auto at = static_cast<size_t>(m * x.padded + k);
      x.f32[at] = normal(random);
      x.bf16[at] = float_to_bf16(x.f32[at]);
      x.q8[at] = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    }
    for (int64_t b = 0; b < x.padded / 32; ++b)
      x.scale[static_cast<size_t>(m * x.padded / 32 + b)] = std::fabs(normal(random)) / 100;
  }
  x.add_up_codes();
  return x;
}

// Every int8 code of row m is ±127: alternating signs in odd rows, all negative in rows divisible by four.
inline void make_extreme(Activations& x) {
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t k = 0; k < x.cols; ++k) {
      const bool negative = m % 4 == 0 || (m % 2 == 1 && k % 2 == 1);
      x.q8[static_cast<size_t>(m * x.padded + k)] = negative ? -127 : 127;
    }
  x.add_up_codes();
}

}  // namespace facet::testing
