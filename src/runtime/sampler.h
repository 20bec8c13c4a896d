// Sampler: from logits to one token, reproducibly. Order and formulas: docs/sampling.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "facet/result.h"
#include "runtime/constraint.h"
#include "tensor/token.h"

namespace facet::runtime {

struct SamplerOptions {
  float temperature = 1;  // 0: greedy
  int top_k = 64;         // 0: off
  float top_p = 0.95f;    // 1: off
  float min_p = 0;        // 0: off
  uint64_t seed = 0;
  int logprobs = 0;  // alternatives to report
};

struct Alternative {
  Token token;
  float logprob;  // natural logarithm under the model's own distribution (after suppression, before temperature)
};

struct Sampled {
  Token token = 0;
  float logprob = 0;
  std::vector<Alternative> top;  // SamplerOptions::logprobs best, best first
};

class Sampler {
 public:
  // banned: tokens never chosen (reserved ones, suppress_tokens); copied.
  Sampler(const SamplerOptions& options, std::span<const Token> banned, int64_t vocab_size);

  // Chooses from one row of logits. Ties go to the lower id. Errors: non_finite (NaN or +inf anywhere, or nothing left
  // to choose from), naming the position.
  Result<Sampled> sample(std::span<const float> logits, Constraint* constraint = nullptr);

 private:
  SamplerOptions options_;
  std::vector<uint64_t> allowed_;  // bit set over the vocabulary
  std::vector<uint64_t> mask_;
  Random random_;
  std::vector<Alternative> candidates_;
};

}  // namespace facet::runtime
