#include "verify/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/table.h"
#include "tensor/half.h"
#include "verify/steps.h"

namespace facet::verify {
namespace {

// scale * (q · k): the sum rounds at each step, its product with the scale once. In twos the odd product comes first,
// so that the sum between the two may be larger by it.
Bounded score(std::span<const double> q, const double* key, double scale, bool in_twos) {
  double sum = 0, sums = 0;
  for (size_t i = 0; i < q.size(); ++i) {
    const double term = q[i] * key[i];
    sum += term;
    sums += std::abs(sum) + (in_twos ? std::abs(term) : 0);
  }
  return {scale * sum, kHigherOrder * kU * std::abs(scale) * (sums + 2 * std::abs(sum)) + kTiny};
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
                            bool bf16_queries) {
  std::vector<double> query(q.begin(), q.end());
  if (bf16_queries)
    for (size_t i = 0; i < q.size(); ++i) query[i] = static_cast<double>(bf16_to_float(float_to_bf16(q[i])));
  Probabilities out;
  double max = -INFINITY, min = INFINITY;
  for (int64_t at = begin; at < end; ++at) {
    const Bounded s = score(query, stored.key(at), scale, bf16_queries);
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

}  // namespace

void attend(std::span<Bounded> out, std::span<const float> q, const StoredKv& stored, int64_t begin, int64_t end,
            double scale, const AttentionForms& forms) {
  const Probabilities weights = probabilities(q, stored, begin, end, scale, forms.bf16_queries);
  const double rounded = forms.bf16_probabilities ? 0x1p-8 + kU : 0;  // a weight in bf16; in twos, the odd one first
  // Values, key after key; the sum begins anew in each group, and groups join one by one.
  const size_t d = out.size();
  std::vector<double> group(d), sums(d), error(d);
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
