// Keys, values and the online softmax over one block of 64 keys, written to be read.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kv_layout.h"
#include "kernels/scalar_math.h"
#include "kernels/tiers.h"
#include "tensor/half.h"

namespace facet::kernels::scalar {
namespace {

// How a storage type holds a float.
struct F32 {
  using Stored = float;
  static float load(float value) { return value; }
  static float store(float value) { return value; }
};
struct F16 {
  using Stored = uint16_t;
  static float load(uint16_t value) { return half_to_float(value); }
  static uint16_t store(float value) { return float_to_half(value); }
};
struct Bf16 {
  using Stored = uint16_t;
  static float load(uint16_t value) { return bf16_to_float(value); }
  static uint16_t store(float value) { return float_to_bf16(value); }
};

template <class T>
float load(const std::byte* block, int64_t index) {
  typename T::Stored value;
  std::memcpy(&value, block + index * static_cast<int64_t>(sizeof(value)), sizeof(value));
  return T::load(value);
}

template <class T>
void store(std::byte* block, int64_t index, float value) {
  const typename T::Stored stored = T::store(value);
  std::memcpy(block + index * static_cast<int64_t>(sizeof(stored)), &stored, sizeof(stored));
}

template <class T>
int64_t block_bytes(int64_t head_dim) {
  return kKvBlockKeys * padded_head(head_dim) * static_cast<int64_t>(sizeof(typename T::Stored));
}

template <class T>
void store_k(std::byte* block, int position, const float* k, int64_t head_dim) {
  for (int64_t d = 0; d < padded_head(head_dim); ++d)
    store<T>(block, key_index(position, d, head_dim), d < head_dim ? k[d] : 0.0f);
}

template <class T>
void store_v(std::byte* block, int position, const float* v, int64_t head_dim) {
  for (int64_t d = 0; d < padded_head(head_dim); ++d)
    store<T>(block, value_index(position, d), d < head_dim ? v[d] : 0.0f);
}

template <class T>
void load_k(float* k, const std::byte* block, int position, int64_t head_dim) {
  for (int64_t d = 0; d < head_dim; ++d) k[d] = load<T>(block, key_index(position, d, head_dim));
}

template <class T>
void load_v(float* v, const std::byte* block, int position, int64_t head_dim) {
  for (int64_t d = 0; d < head_dim; ++d) v[d] = load<T>(block, value_index(position, d));
}

template <class T>
void zero_v(std::byte* block, int first, int64_t head_dim) {
  constexpr int64_t kBytes = sizeof(typename T::Stored);
  const auto zero_at = [&](int64_t position, int64_t d, int64_t count) {
    std::memset(block + value_index(position, d) * kBytes, 0, static_cast<size_t>(count * kBytes));
  };
  const int paired = (first + 1) / 2 * 2;  // whole pairs of positions lie one after the other for 32 values of d
  for (int64_t d = 0; first != paired && d < padded_head(head_dim); ++d) zero_at(first, d, 1);
  for (int64_t d = 0; d < padded_head(head_dim); d += 32) zero_at(paired, d, (kKvBlockKeys - paired) * 32);
}

template <class T>
void scores(float* scores, const float* q, int64_t q_stride, int64_t n, const std::byte* k_block, int64_t head_dim,
            float scale) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t key = 0; key < kKvBlockKeys; ++key) {
      double sum = 0;
      for (int64_t d = 0; d < head_dim; ++d)
        sum += static_cast<double>(q[i * q_stride + d]) *
               static_cast<double>(load<T>(k_block, key_index(key, d, head_dim)));
      scores[i * kKvBlockKeys + key] = static_cast<float>(sum * static_cast<double>(scale));
    }
  }
}

template <class T>
void accumulate(float* acc, int64_t acc_stride, const float* p, int64_t n, const std::byte* v_block, int64_t head_dim) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t key = 0; key < kKvBlockKeys; ++key)
      for (int64_t d = 0; d < head_dim; ++d) {
        float& sum = acc[i * acc_stride + d];
        sum = std::fma(p[i * kKvBlockKeys + key], load<T>(v_block, value_index(key, d)), sum);
      }
}

template <class T>
constexpr KvType kv_type(DType type) {
  return {.type = type,
          .block_bytes = block_bytes<T>,
          .store_k = store_k<T>,
          .store_v = store_v<T>,
          .load_k = load_k<T>,
          .load_v = load_v<T>,
          .zero_v = zero_v<T>,
          .scores = scores<T>,
          .accumulate = accumulate<T>};
}

void softmax_step(float* scores, SoftmaxState* state, float* acc, int64_t acc_stride, const int* begin, const int* end,
                  int64_t n, int64_t head_dim) {
  for (int64_t i = 0; i < n; ++i) {
    float* s = scores + i * kKvBlockKeys;
    const auto visible = [&](int key) { return key >= begin[i] && key < end[i]; };
    float max = -std::numeric_limits<float>::infinity();
    for (int key = 0; key < kKvBlockKeys; ++key)
      if (visible(key)) max = std::max(max, s[key]);
    if (begin[i] >= end[i]) {
      std::fill_n(s, kKvBlockKeys, 0.0f);
      continue;
    }
    max = std::max(max, state[i].max);
    double sum = 0;
    for (int key = 0; key < kKvBlockKeys; ++key) {
      s[key] = visible(key) ? static_cast<float>(exp(static_cast<double>(s[key]) - static_cast<double>(max))) : 0.0f;
      sum += static_cast<double>(s[key]);
    }
    const float shrink = static_cast<float>(exp(static_cast<double>(state[i].max) - static_cast<double>(max)));
    state[i].sum = static_cast<float>(static_cast<double>(state[i].sum) * static_cast<double>(shrink) + sum);
    state[i].max = max;
    for (int64_t d = 0; d < head_dim; ++d) acc[i * acc_stride + d] *= shrink;
  }
}

void softmax_fold(SoftmaxState* a, float* acc_a, const SoftmaxState* b, const float* acc_b, int64_t head_dim) {
  if (b->sum == 0) return;
  const double max = static_cast<double>(std::max(a->max, b->max));
  const float shrink_a = static_cast<float>(exp(static_cast<double>(a->max) - max));
  const float shrink_b = static_cast<float>(exp(static_cast<double>(b->max) - max));
  a->max = static_cast<float>(max);
  a->sum = std::fma(b->sum, shrink_b, a->sum * shrink_a);
  for (int64_t d = 0; d < head_dim; ++d) acc_a[d] = std::fma(acc_b[d], shrink_b, acc_a[d] * shrink_a);
}

}  // namespace

std::span<const KvType> kv_types() {
  static const KvType kTypes[] = {kv_type<F32>(DType::f32), kv_type<F16>(DType::f16), kv_type<Bf16>(DType::bf16),
                                  int8_kv_type()};
  return kTypes;
}

void add_attention_kernels(Table& table) {
  table.kv_types = kv_types();
  table.softmax_step = softmax_step;
  table.softmax_fold = softmax_fold;
}

}  // namespace facet::kernels::scalar

namespace facet::kernels {

int64_t kv_block_bytes(DType type, int64_t head_dim) {
  return std::ranges::find(scalar::kv_types(), type, &KvType::type)->block_bytes(head_dim);
}

}  // namespace facet::kernels
