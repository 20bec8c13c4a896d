#include "verify/steps.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "kernels/table.h"
#include "tensor/half.h"

namespace facet::verify {

// Rounded: 1 / rms, its two products, the weight with its offset, eps. The sum of squares runs in double.
std::vector<Bounded> norm(std::span<const float> x, std::span<const double> w, double eps) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double r = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  std::vector<Bounded> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = static_cast<double>(x[i]) * r * (w.empty() ? 1.0 : w[i]);
    y[i] = {value, 5 * kU * std::abs(value) + kTiny};
  }
  return y;
}

// gelu(g) = g / (1 + e^z): e^z within 2 ulp (4 u), the sum, the quotient, the product. Where e^z overflows the quotient
// is 0.
Bounded gelu_times(double gate, double up) {
  const double z = -2 * std::sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate);
  const double value = gate / (1 + std::exp(z)) * up;
  return {value, 8 * kU * std::abs(value) + kTiny * (1 + 4 * std::abs(gate * up))};
}

// tanh t = m / (m + 2), m = e^2t - 1: the argument (2 u), m (9 u), the sum, the quotient, the product.
Bounded softcap(double x, double cap) {
  const double value = cap * std::tanh(x / cap);
  return {value, 16 * kU * std::abs(value) + kTiny};
}

// e^(x - max): the difference, times its size, and 4 u; the sum in double, rounded once; the quotient.
std::vector<Bounded> softmax(std::span<const float> x) {
  const double max = static_cast<double>(*std::ranges::max_element(x));
  std::vector<Bounded> p(x.size());
  double sum = 0, sum_error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double below = max - static_cast<double>(x[i]), e = std::exp(-below);
    p[i] = {e, (4 + below) * kU * e};
    sum += e;
    sum_error += p[i].bound;
  }
  for (Bounded& one : p) {
    const double value = one.value / sum;
    one = {value, one.bound / sum + value * (sum_error / sum + 3 * kU) + kTiny};
  }
  return p;
}

// The angle is a float product of a float frequency (its power, its divisor, the product: 4 u); cosine, sine and the
// two products round once each.
void rotate(std::span<Bounded> head, int64_t position, std::span<const double> frequencies) {
  const size_t half = head.size() / 2;
  for (size_t j = 0; j < half; ++j) {
    const double angle = static_cast<double>(position) * frequencies[j], c = std::cos(angle), s = std::sin(angle);
    const Bounded a = head[j], b = head[j + half];
    const double turn = 4 * kU * std::abs(angle) * (std::abs(a.value) + std::abs(b.value));
    const auto bound = [&](double by_a, double by_b) {
      return std::abs(by_a) * (a.bound + 3 * kU * std::abs(a.value)) +
             std::abs(by_b) * (b.bound + 3 * kU * std::abs(b.value)) + turn + kTiny;
    };
    head[j] = {a.value * c - b.value * s, bound(c, s)};
    head[j + half] = {b.value * c + a.value * s, bound(s, c)};
  }
}

std::vector<double> rope_frequencies(const model::RopeConfig& rope, int64_t head_dim,
                                     std::span<const double> divisors) {
  const double d = static_cast<double>(head_dim);
  const bool all = rope.kind == model::RopeKind::whole || !divisors.empty();
  const int64_t pairs = head_dim / 2, turning = all ? pairs : static_cast<int64_t>(rope.rotated_part * d / 2);
  std::vector<double> frequencies(static_cast<size_t>(pairs));
  for (int64_t j = 0; j < std::min(turning, pairs); ++j) {
    const double divisor = divisors.empty() ? 1 : divisors[static_cast<size_t>(j)];
    if (divisor < 1e20)  // files write 1e30 for a pair that does not turn
      frequencies[static_cast<size_t>(j)] =
          std::pow(rope.theta, -2 * static_cast<double>(j) / d) / rope.factor / divisor;
  }
  return frequencies;
}

// --- keys and values as they are stored ---

double rounding_bound(DType type, double x) {
  switch (type) {
    case DType::f32: return 0;
    case DType::f16: return std::abs(x) * 0x1p-11 + 0x1p-25;
    case DType::bf16: return std::abs(x) * 0x1p-8 + 0x1p-134;
    default: FACET_CHECK(false);
  }
  return 0;
}

namespace {

// Calls visit(first, n) for the blocks of a head: powers of two, the largest that fits first.
template <class Visit>
void for_turned_blocks(size_t size, const Visit& visit) {
  for (size_t first = 0; first < size;) {
    const size_t n = std::bit_floor(size - first);
    visit(first, n);
    first += n;
  }
}

// Element (i, j) of Sylvester's matrix, not divided by √n.
double sign(size_t i, size_t j) { return std::popcount(i & j) % 2 == 0 ? 1 : -1; }

// What the float butterflies round, relative to Σ |x| / √n: 1 / √n, its product, a sum for each doubling.
double turning_error(size_t n) { return kHigherOrder * kU * (2 + std::countr_zero(n)); }

}  // namespace

void turn(std::span<Bounded> head) {
  for_turned_blocks(head.size(), [&](size_t first, size_t n) {
    const std::vector<Bounded> x(head.begin() + static_cast<ptrdiff_t>(first),
                                 head.begin() + static_cast<ptrdiff_t>(first + n));
    const double root = 1 / std::sqrt(static_cast<double>(n));
    double magnitude = 0, bounds = 0;
    for (const Bounded& one : x) {
      magnitude += std::abs(one.value);
      bounds += one.bound;
    }
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t j = 0; j < n; ++j) sum += sign(i, j) * x[j].value;
      head[first + i] = {root * sum, root * (bounds + turning_error(n) * (magnitude + bounds)) + kTiny};
    }
  });
}

// H δ of a vector of which each |δ| ≤ e: at most √n e.
void turn_forth(std::span<double> found, std::span<Bounded> expected) {
  for_turned_blocks(found.size(), [&](size_t first, size_t n) {
    const std::vector<double> x(found.begin() + static_cast<ptrdiff_t>(first),
                                found.begin() + static_cast<ptrdiff_t>(first + n));
    double magnitude = 0;
    for (size_t i = first; i < first + n; ++i) magnitude += std::abs(expected[i].value) + expected[i].bound;
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t j = 0; j < n; ++j) sum += sign(i, j) * x[j];
      found[first + i] = sum / std::sqrt(static_cast<double>(n));
      expected[first + i].bound += turning_error(n) * magnitude + kTiny * static_cast<double>(n);
    }
  });
}

// Int8: scale = max |x| / 127, code = nearest(x / scale), both once as in compare_codes(); then their product once.
std::vector<Bounded> stored_head(DType type, std::span<const float> head) {
  std::vector<Bounded> x;
  for (const float value : head) x.push_back({static_cast<double>(value), 0});
  if (!is_turned(type)) {
    for (Bounded& one : x) one.bound = rounding_bound(type, one.value);
    return x;
  }
  turn(x);
  double max = 0;
  for (const Bounded& one : x) max = std::max(max, std::abs(one.value) + one.bound);
  const double scale = max / 127, coarse = scale < kTiny ? 2 * max : 0;  // a subnormal scale: codes stop at 127
  for (Bounded& one : x) one.bound += scale * (0.5 + 256 * kU) + 2 * kU * max + coarse + kTiny;
  return x;
}

// --- activations in their rounded forms ---

namespace {

// scale = max |x| / 127, one quotient; code = nearest(x / scale), whose quotient rounds before, so that a code may lie
// over the border by as much.
void compare_codes(Step& step, const CopiedOperand& operand, int64_t i, Place at) {
  const std::span<const float> x = operand.f32.row(i), scales = operand.scales.row(i);
  const std::span<const int8_t> codes = operand.codes.row(i);
  const std::span<const int32_t> sums = operand.sums.row(i);
  for (size_t first = 0; first < codes.size(); first += kernels::kBlock) {
    double max = 0;
    for (size_t k = first; k < std::min(x.size(), first + kernels::kBlock); ++k)
      max = std::max(max, std::abs(static_cast<double>(x[k])));
    const double scale = static_cast<double>(scales[first / kernels::kBlock]);
    at.column = static_cast<int64_t>(first);
    step.compare(at, scale, {max / 127, kU * max / 127 + 0x1p-149});
    int32_t sum = 0;
    for (size_t k = first; k < first + kernels::kBlock; ++k) {
      const double code = codes[k], value = k < x.size() ? static_cast<double>(x[k]) : 0;
      at.column = static_cast<int64_t>(k);
      sum += codes[k];
      // A subnormal scale is coarse: codes stop at 127.
      const double slack = scale < kTiny ? 127 * std::abs(scale) + std::abs(value) : 0;
      step.compare(at, code * scale, {value, scale * (0.5 + 256 * kU) + slack});
      if ((k + 1) % kernels::kSubBlock != 0) continue;
      step.compare(at, sums[k / kernels::kSubBlock], {static_cast<double>(sum), 0});
      sum = 0;
    }
  }
}

}  // namespace

void compare_forms(Step& step, const CopiedOperand& operand, int64_t i, const Place& at) {
  if (!operand.codes.values.empty()) compare_codes(step, operand, i, at);
  if (operand.bf16.values.empty()) return;
  const std::span<const float> x = operand.f32.row(i);
  const std::span<const uint16_t> rounded = operand.bf16.row(i);
  for (size_t k = 0; k < rounded.size(); ++k) {
    const double value = k < x.size() ? static_cast<double>(x[k]) : 0;
    step.compare({.row = at.row, .position = at.position, .column = static_cast<int64_t>(k)},
                 static_cast<double>(bf16_to_float(rounded[k])), {value, rounding_bound(DType::bf16, value)});
  }
}

// --- products ---

ProductInput product_input(const CopiedOperand& operand, kernels::Form form) {
  const int64_t rows = operand.f32.rows, cols = operand.f32.cols;
  ProductInput x{.chain = Chain::columns, .rows = rows, .cols = cols, .values = {}, .magnitudes = {}};
  x.values.reserve(static_cast<size_t>(rows * cols));
  if (form == kernels::kFormQ8) x.chain = Chain::blocks;
  if (form == kernels::kFormBf16) x.chain = Chain::pairs;
  for (int64_t i = 0; i < rows; ++i) {
    double magnitude = 0;
    for (size_t k = 0; k < static_cast<size_t>(cols); ++k) {
      double value = 0;
      switch (x.chain) {
        case Chain::columns: value = static_cast<double>(operand.f32.row(i)[k]); break;
        case Chain::pairs: value = static_cast<double>(bf16_to_float(operand.bf16.row(i)[k])); break;
        case Chain::blocks:
          value = operand.codes.row(i)[k] * static_cast<double>(operand.scales.row(i)[k / kernels::kBlock]);
          break;
      }
      x.values.push_back(value);
      magnitude += std::abs(value);
    }
    x.magnitudes.push_back(magnitude);
  }
  return x;
}

namespace {

// acc = fma(w, x, acc): each step rounds the sum so far.
Bounded by_columns(const double* w, const double* x, size_t n) {
  double sum = 0, sums = 0;
  for (size_t k = 0; k < n; ++k) {
    sum += w[k] * x[k];
    sums += std::abs(sum);
  }
  return {sum, kU * sums};
}

// The same, the odd column of a pair first; subnormals count as zeros.
Bounded by_pairs(const double* w, const double* x, size_t n, double x_magnitude) {
  double sum = 0, sums = 0, w_magnitude = 0;
  for (size_t k = 0; k < n; k += 2) {
    if (k + 1 < n) sum += w[k + 1] * x[k + 1];
    sums += std::abs(sum);
    sum += w[k] * x[k];
    sums += std::abs(sum);
    w_magnitude += std::abs(w[k]) + (k + 1 < n ? std::abs(w[k + 1]) : 0);
  }
  return {sum, kU * sums + kTiny * (2 * static_cast<double>(n) + x_magnitude + w_magnitude)};
}

// acc = fma(Σ codes, w a, acc), exact inside a block; then acc = fma(-m, a Σ codes, acc) where the type has a minimum.
// What rounds: the sum so far, twice a block; the scale times the activation's, the minimum's product, and here the
// dequantised weight (twice): 4 u of all products' magnitudes. Types with a scale for 16 columns add that often; for
// the others it is a step too many.
Bounded by_blocks(const SourceRow& row, const double* x) {
  const double* w = row.weights.data();
  const double* m = row.minima.empty() ? nullptr : row.minima.data();
  const size_t n = row.weights.size();
  double sum = 0, sums = 0, magnitude = 0;
  for (size_t first = 0; first < n; first += kernels::kSubBlock) {
    double part = 0, part_magnitude = 0, minima = 0;
    for (size_t k = first; k < std::min(n, first + kernels::kSubBlock); ++k) {
      const double term = w[k] * x[k];
      part += term;
      part_magnitude += std::abs(term);
      if (m != nullptr) minima += m[k] * std::abs(x[k]);
    }
    sum += part;
    sums += m != nullptr ? 2 * std::abs(sum) + minima : std::abs(sum);
    magnitude += part_magnitude + 2 * minima;
  }
  return {sum, kU * (sums + 4 * magnitude) + kTiny * static_cast<double>(n)};
}

}  // namespace

Bounded product(const SourceRow& w, const ProductInput& x, int64_t row) {
  FACET_DCHECK(static_cast<int64_t>(w.weights.size()) == x.cols);
  const double* values = x.row(row).data();
  Bounded y;
  switch (x.chain) {
    case Chain::columns: y = by_columns(w.weights.data(), values, w.weights.size()); break;
    case Chain::pairs:
      y = by_pairs(w.weights.data(), values, w.weights.size(), x.magnitudes[static_cast<size_t>(row)]);
      break;
    case Chain::blocks: y = by_blocks(w, values); break;
  }
  y.bound = y.bound * kHigherOrder + kTiny;
  return y;
}

}  // namespace facet::verify
