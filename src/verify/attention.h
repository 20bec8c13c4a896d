// Attention in double, with the bound of the float32 online softmax (docs/verify.md, docs/attention.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "verify/report.h"

namespace facet::verify {

// Keys and values of one KV head as they are stored, positions begin … begin + n - 1, (n, d) each.
struct StoredKv {
  int64_t begin = 0, d = 0;
  std::vector<double> k, v;

  const double* key(int64_t position) const { return k.data() + (position - begin) * d; }
  const double* value(int64_t position) const { return v.data() + (position - begin) * d; }
};

// What the fast path rounds queries (probabilities) to before stored keys (values) multiply them.
enum class Factors : uint8_t { floats, bf16, codes };
struct AttentionForms {
  Factors queries = Factors::floats, probabilities = Factors::floats;
};

// out = Σ p_k v_k, p = softmax(scale q · k) over positions [begin, end), for one query head. q and out: (d). Where
// values are stored turned, so is out; where keys are, q is turned here.
void attend(std::span<Bounded> out, std::span<const float> q, const StoredKv& stored, int64_t begin, int64_t end,
            double scale, const AttentionForms& forms);

}  // namespace facet::verify
