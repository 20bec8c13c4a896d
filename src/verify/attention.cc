#include "verify/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/hadamard.h"
#include "kernels/kv_layout.h"
#include "tensor/half.h"
#include "verify/steps.h"

namespace facet::verify {
namespace {

// A query as codes of 16 bits, exactly what the fast path has: float operations in the order that docs/attention.md
// fixes, on turned values.
std::vector<double> coded_query(std::span<const float> q) {
  std::vector<float> turned(q.begin(), q.end());
  const int64_t d = static_cast<int64_t>(q.size());
  kernels::for_hadamard_blocks(turned.data(), d, [](float* x, int64_t n) { kernels::turn_block(x, n); });
  const float most = static_cast<float>(kernels::query_code_max(d));
  float max = 0;
  for (const float value : turned) max = std::isfinite(value) ? std::max(max, std::abs(value)) : NAN;
  const float scale = max / most;
  std::vector<double> codes(q.size());
  for (size_t i = 0; i < codes.size() && scale > 0; ++i)
    codes[i] = static_cast<double>(std::nearbyint(std::clamp(turned[i] / scale, -most, most)));
  for (double& code : codes) code *= static_cast<double>(scale);
  return codes;
}

std::vector<double> multiplied_query(std::span<const float> q, Factors factors) {
  if (factors == Factors::codes) return coded_query(q);
  std::vector<double> query(q.begin(), q.end());
  if (factors == Factors::bf16)
    for (size_t i = 0; i < q.size(); ++i) query[i] = static_cast<double>(bf16_to_float(float_to_bf16(q[i])));
  return query;
}

// scale * (q · k): the sum rounds at each step, its product with the scale once. In twos the odd product comes first,
// so that the sum between the two may be larger by it. Codes have an exact sum, which is rounded once, as are two
// products of scales and the last one; and what is read of a stored key is its code times its scale, rounded.
Bounded score(std::span<const double> q, const double* key, double scale, Factors factors) {
  double sum = 0, sums = 0, magnitude = 0;
  for (size_t i = 0; i < q.size(); ++i) {
    const double term = q[i] * key[i];
    sum += term;
    sums += std::abs(sum) + (factors == Factors::bf16 ? std::abs(term) : 0);
    magnitude += std::abs(term);
  }
  const double rounded = factors == Factors::codes ? magnitude + 4 * std::abs(sum) : sums + 2 * std::abs(sum);
  return {scale * sum, kHigherOrder * kU * std::abs(scale) * rounded + kTiny};
}

// How much a weight may be off, relative to itself, besides its score: e^x rounds its argument and 4 u more; whenever a
// larger score turns up, sum and values shrink by another e^x.
double weight_error(double range, double steps) { return kU * (4 + 2 * range + 6 * steps); }

// The probabilities of the visible keys, and how far their common divisor may be off, relative to itself.
struct Probabilities {
  std::vector<Bounded> p;
  double sum_error = 0;
};

Probabilities probabilities(std::span<const float> q, const StoredKv& stored, int64_t begin, int64_t end, double scale,
                            Factors queries) {
  const std::vector<double> query = multiplied_query(q, queries);
  Probabilities out;
  double max = -INFINITY, min = INFINITY;
  for (int64_t at = begin; at < end; ++at) {
    const Bounded s = score(query, stored.key(at), scale, queries);
    out.p.push_back(s);
    max = std::max(max, s.value);
    min = std::min(min, s.value);
  }
  const int64_t blocks = (end - 1) / kernels::kKvBlockKeys - begin / kernels::kKvBlockKeys + 1;
  const int64_t groups = (end - 1) / kernels::kKvGroupKeys - begin / kernels::kKvGroupKeys + 1;
  const double steps = static_cast<double>(blocks + groups);
  const double shared = weight_error(std::min(max - min, 104.0), steps);  // below e^-104 a weight is 0
  double sum = 0;
  for (Bounded& one : out.p) {
    const double weight = std::exp(one.value - max);
    one = {weight, weight * (one.bound + shared)};
    sum += weight;
  }
  out.sum_error = (10 + 2 * steps) * kU;  // adding up, relative: all terms are positive
  for (Bounded& one : out.p) {
    one = {one.value / sum, one.bound / sum};
    out.sum_error += one.bound;
  }
  return out;
}

// What codes add to the error of a weighted sum of int8 values. A weight is probability times value's scale; of a block
// of keys the largest weight has code 32767, and each code is the nearest of a quotient that has rounded.
class WeightCodes {
 public:
  explicit WeightCodes(size_t d) : codes_(d) {}

  void add(const Bounded& p, const double* value) {
    double max = 0;
    for (size_t i = 0; i < codes_.size(); ++i) max = std::max(max, std::abs(value[i]));
    const double scale = max / 127;  // the largest code of a stored head is 127
    largest_ = std::max(largest_, (p.value + p.bound) * scale);
    for (size_t i = 0; i < codes_.size() && max > 0; ++i) codes_[i] += std::abs(value[i]) / scale;
  }
  // The block ends.
  void finish(std::span<double> error) {
    const double step = largest_ / 32767 * (0.5 + 0x1p-8) + 32767 * 0x1p-149;  // the last: subnormal steps
    for (size_t i = 0; i < codes_.size(); ++i) error[i] += step * std::exchange(codes_[i], 0);
    largest_ = 0;
  }

 private:
  std::vector<double> codes_;  // Σ |code|
  double largest_ = 0;
};

}  // namespace

void attend(std::span<Bounded> out, std::span<const float> q, const StoredKv& stored, int64_t begin, int64_t end,
            double scale, const AttentionForms& forms) {
  const Probabilities weights = probabilities(q, stored, begin, end, scale, forms.queries);
  const bool coded = forms.probabilities == Factors::codes;
  // Of each weight: in bf16, in twos the odd one first; or its product with the value's scale, and what is read of a
  // stored value.
  double rounded = 0;
  if (forms.probabilities == Factors::bf16) rounded = 0x1p-8 + kU;
  if (coded) rounded = 3 * kU;
  // Values, key after key; the sum begins anew in each group, and groups join one by one. (Codes have an exact sum of
  // each block, which rounds once: less than key after key.)
  const size_t d = out.size();
  std::vector<double> group(d), sums(d), error(d);
  WeightCodes codes(d);
  std::ranges::fill(out, Bounded{});
  for (int64_t at = begin; at < end; ++at) {
    const Bounded& one = weights.p[static_cast<size_t>(at - begin)];
    const double* value = stored.value(at);
    const double off = one.bound + rounded * one.value;
    for (size_t i = 0; i < d; ++i) {
      group[i] += one.value * value[i];
      sums[i] += std::abs(group[i]);
      error[i] += off * std::abs(value[i]);
    }
    if (coded) codes.add(one, value);
    if (coded && ((at + 1) % kernels::kKvBlockKeys == 0 || at + 1 == end)) codes.finish(error);
    if ((at + 1) % kernels::kKvGroupKeys != 0 && at + 1 < end) continue;
    for (size_t i = 0; i < d; ++i) {
      out[i].value += group[i];
      sums[i] += 2 * std::abs(out[i].value);
      group[i] = 0;
    }
  }
  for (size_t i = 0; i < d; ++i)
    out[i].bound =
        kHigherOrder * (kU * sums[i] + error[i] + (weights.sum_error + 3 * kU) * std::abs(out[i].value)) + kTiny;
}

}  // namespace facet::verify
