// Keys and values as int8 codes with one scale a position, written to be read; and their products with 16-bit codes.
// The sums are exact, so that every tier gives the same bits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kv_layout.h"

namespace facet::kernels::scalar {
namespace {

// max|x| / code_max; NaN where a value is not finite.
float scale_of(const float* x, int64_t n, float code_max) {
  float max = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    if (!(magnitude < std::numeric_limits<float>::infinity())) return std::numeric_limits<float>::quiet_NaN();
    max = std::max(max, magnitude);
  }
  return max / code_max;
}

// The nearest code, even where two are. Zero where the scale is zero or NaN; a subnormal scale is coarse.
int32_t code_of(float x, float scale, float code_max) {
  if (!(scale > 0)) return 0;
  constexpr float kNoFraction = 12582912.0f;  // 1.5 * 2^23: a sum with it has no bit for one
  return static_cast<int32_t>((std::clamp(x / scale, -code_max, code_max) + kNoFraction) - kNoFraction);
}

template <class T>
T read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
template <class T>
void write(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

std::byte* scale_at(std::byte* block, int64_t position, int64_t head_dim) {
  return block + scales_offset(head_dim) + position * static_cast<int64_t>(sizeof(float));
}
float scale_at(const std::byte* block, int64_t position, int64_t head_dim) {
  return read<float>(scale_at(const_cast<std::byte*>(block), position, head_dim));
}

int32_t key_code(const std::byte* block, int64_t position, int64_t d, int64_t head_dim) {
  return static_cast<int32_t>(read<uint8_t>(block + key_code_index(position, d, head_dim))) - 128;
}
int32_t value_code(const std::byte* block, int64_t position, int64_t d) {
  return read<int8_t>(block + value_code_index(position, d));
}

int64_t block_bytes(int64_t head_dim) {
  return scales_offset(head_dim) + kKvBlockKeys * static_cast<int64_t>(sizeof(float));
}

void store_k(std::byte* block, int position, const float* k, int64_t head_dim) {
  const float scale = scale_of(k, head_dim, 127);
  write(scale_at(block, position, head_dim), scale);
  for (int64_t d = 0; d < padded_head(head_dim); ++d) {
    const int32_t code = d < head_dim ? code_of(k[d], scale, 127) : 0;
    write(block + key_code_index(position, d, head_dim), static_cast<uint8_t>(code + 128));
  }
}

void store_v(std::byte* block, int position, const float* v, int64_t head_dim) {
  const float scale = scale_of(v, head_dim, 127);
  write(scale_at(block, position, head_dim), scale);
  for (int64_t d = 0; d < padded_head(head_dim); ++d) {
    const int32_t code = d < head_dim ? code_of(v[d], scale, 127) : 0;
    write(block + value_code_index(position, d), static_cast<int8_t>(code));
  }
}

void load_k(float* k, const std::byte* block, int position, int64_t head_dim) {
  const float scale = scale_at(block, position, head_dim);
  for (int64_t d = 0; d < head_dim; ++d) k[d] = scale * static_cast<float>(key_code(block, position, d, head_dim));
}

void load_v(float* v, const std::byte* block, int position, int64_t head_dim) {
  const float scale = scale_at(block, position, head_dim);
  for (int64_t d = 0; d < head_dim; ++d) v[d] = scale * static_cast<float>(value_code(block, position, d));
}

// Codes are always finite: without a scale they say nothing.
void zero_v(std::byte* block, int first, int64_t head_dim) {
  for (int position = first; position < kKvBlockKeys; ++position) write(scale_at(block, position, head_dim), 0.0f);
}

void code_query(std::byte* coded, const float* q, int64_t head_dim) {
  const float max = static_cast<float>(query_code_max(head_dim)), scale = scale_of(q, head_dim, max);
  write(coded, scale);
  write(coded + 4, int32_t{0});
  for (int64_t d = 0; d < padded_head(head_dim); ++d)
    write(coded + 8 + 2 * d, static_cast<int16_t>(d < head_dim ? code_of(q[d], scale, max) : 0));
}

void scores_coded(float* scores, const std::byte* coded, int64_t stride, int64_t n, const std::byte* k_block,
                  int64_t head_dim, float scale) {
  for (int64_t i = 0; i < n; ++i) {
    const std::byte* query = coded + i * stride;
    for (int64_t key = 0; key < kKvBlockKeys; ++key) {
      int32_t sum = 0;
      for (int64_t d = 0; d < head_dim; ++d)
        sum += read<int16_t>(query + 8 + 2 * d) * key_code(k_block, key, d, head_dim);
      const float unit = scale_at(k_block, key, head_dim) * (read<float>(query) * scale);
      scores[i * kKvBlockKeys + key] = static_cast<float>(sum) * unit;
    }
  }
}

void accumulate(float* acc, int64_t acc_stride, const float* p, int64_t n, const std::byte* v_block, int64_t head_dim) {
  for (int64_t i = 0; i < n; ++i) {
    float weights[kKvBlockKeys];
    for (int64_t key = 0; key < kKvBlockKeys; ++key)
      weights[key] = p[i * kKvBlockKeys + key] * scale_at(v_block, key, head_dim);
    const float scale = scale_of(weights, kKvBlockKeys, kWeightCodeMax);
    for (int64_t d = 0; d < head_dim; ++d) {
      int32_t sum = 0;
      for (int64_t key = 0; key < kKvBlockKeys; ++key)
        sum += code_of(weights[key], scale, kWeightCodeMax) * value_code(v_block, key, d);
      acc[i * acc_stride + d] = std::fma(static_cast<float>(sum), scale, acc[i * acc_stride + d]);
    }
  }
}

}  // namespace

KvType int8_kv_type() {
  return {.type = DType::i8,
          .rotates = true,
          .block_bytes = block_bytes,
          .store_k = store_k,
          .store_v = store_v,
          .load_k = load_k,
          .load_v = load_v,
          .zero_v = zero_v,
          .scores = nullptr,
          .accumulate = accumulate,
          .code_query = code_query,
          .scores_coded = scores_coded};
}

}  // namespace facet::kernels::scalar
