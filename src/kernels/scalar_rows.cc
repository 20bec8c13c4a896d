// Norms, activations, elementwise work and the forms of activations, written to be read. Sums are double.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/hadamard.h"
#include "kernels/scalar_math.h"
#include "kernels/tiers.h"
#include "tensor/half.h"

namespace facet::kernels::scalar {
namespace {

void rms_norm(float* y, const float* x, const float* w, int64_t n, float eps) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double r = 1 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(eps));
  for (int64_t i = 0; i < n; ++i) {
    const double value = static_cast<double>(x[i]) * r;
    y[i] = static_cast<float>(w != nullptr ? value * static_cast<double>(w[i]) : value);
  }
}

void gelu_times(float* y, const float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(gelu_tanh(gate[i]) * static_cast<double>(up[i]));
}

void softcap(float* y, const float* x, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = static_cast<float>(static_cast<double>(cap) * tanh(static_cast<double>(x[i]) / static_cast<double>(cap)));
}

float largest(const float* x, int64_t n) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, x[i]);
  return largest;
}

void block_maxima(float* maxima, const float* x, int64_t n) {
  for (int64_t first = 0; first < n; first += kLogitBlock) {
    float max = -std::numeric_limits<float>::infinity();
    for (int64_t i = first; i < std::min(n, first + kLogitBlock); ++i)
      if (x[i] > max || std::isnan(x[i])) max = x[i];  // nothing is larger than NaN
    *maxima++ = max;
  }
}

double total_weight(const float* x, const uint64_t* set, int64_t n, float max, double scale) {
  const size_t words = static_cast<size_t>(logit_blocks(n));
  return facet::total_weight({x, static_cast<size_t>(n)}, {set, words}, max, scale);
}

void softmax(float* x, int64_t n) {
  const double max = static_cast<double>(largest(x, n));
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += exp(static_cast<double>(x[i]) - max);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(exp(static_cast<double>(x[i]) - max) / sum);
}

float log_sum_exp(const float* x, int64_t n) {
  const double max = static_cast<double>(largest(x, n));
  if (max == -std::numeric_limits<double>::infinity()) return static_cast<float>(max);  // no logits, or none possible
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += exp(static_cast<double>(x[i]) - max);
  return static_cast<float>(max + log(sum));
}

void rope(float* y, const float* x, const float* cosine, const float* sine, int64_t n) {
  const int64_t half = n / 2;
  for (int64_t j = 0; j < half; ++j) {
    const double a = x[j], b = x[j + half], c = cosine[j], s = sine[j];
    y[j] = static_cast<float>(a * c - b * s);
    y[j + half] = static_cast<float>(b * c + a * s);
  }
}

void hadamard(float* x, int64_t n) { for_hadamard_blocks(x, n, turn_block); }

void add(float* y, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void add_scaled(float* y, const float* x, float s, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::fma(s, x[i], y[i]);
}

void scale(float* y, float s, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] *= s;
}

void multiply(float* y, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] *= x[i];
}

float dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return static_cast<float>(sum);
}

// A block that holds a value which is not finite gets the scale NaN, so that every product with it shows it.
float block_scale(const float* x, int64_t n) {
  float max = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    if (!(magnitude < std::numeric_limits<float>::infinity())) return std::numeric_limits<float>::quiet_NaN();
    max = std::max(max, magnitude);
  }
  return max / 127.0f;
}

void quantize_q8(int8_t* codes, float* scales, int32_t* sums, const float* x, int64_t n) {
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min<int64_t>(kBlock, n - first);
    const float scale = block_scale(x + first, count);
    scales[first / kBlock] = scale;
    for (int64_t i = 0; i < kBlock; ++i) {
      const bool zero = i >= count || !(scale > 0);  // NaN too
      const float code = zero ? 0.0f : std::nearbyint(x[first + i] / scale);
      codes[first + i] = static_cast<int8_t>(std::clamp(code, -127.0f, 127.0f));  // a subnormal scale is coarse
    }
    for (int half = 0; half < kBlock / kSubBlock; ++half) {
      int32_t sum = 0;
      for (int i = 0; i < kSubBlock; ++i) sum += codes[first + half * kSubBlock + i];
      sums[first / kSubBlock + half] = sum;
    }
  }
}

void round_bf16(uint16_t* y, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = float_to_bf16(x[i]);
  if (n % 2 != 0) y[n] = 0;
}

}  // namespace

void add_row_kernels(Table& table) {
  table.rms_norm = rms_norm;
  table.gelu_times = gelu_times;
  table.softcap = softcap;
  table.softmax = softmax;
  table.rope = rope;
  table.hadamard = hadamard;
  table.add = add;
  table.add_scaled = add_scaled;
  table.scale = scale;
  table.multiply = multiply;
  table.dot = dot;
  table.block_maxima = block_maxima;
  table.total_weight = total_weight;
  table.log_sum_exp = log_sum_exp;
  table.quantize_q8 = quantize_q8;
  table.round_bf16 = round_bf16;
}

}  // namespace facet::kernels::scalar
