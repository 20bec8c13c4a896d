// Sampler: from logits to one token, reproducibly. Order and formulas: docs/sampling.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "facet/result.h"
#include "runtime/constraint.h"
#include "runtime/selection.h"
#include "tensor/token.h"

namespace facet::runtime {

struct SamplerOptions {
  float temperature = 1;  // 0: greedy
  int top_k = 64;         // 0: off
  float top_p = 0.95f;    // 1: off
  float min_p = 0;        // 0: off
  uint64_t seed = 0;
  int logprobs = 0;  // alternatives to report; 0: no log-probability is computed at all
};

// Errors: invalid_argument, naming the option: temperature below 0, top_k below 0, top_p or min_p outside 0…1, logprobs
// below 0; NaN anywhere.
Result<void> check(const SamplerOptions& options);

struct Alternative {
  Token token;
  float logprob;  // natural logarithm under the model's own distribution (after suppression, before temperature)
};

struct Sampled {
  Token token = 0;
  float logprob = 0;                  // of the token; 0 unless SamplerOptions::logprobs > 0
  std::vector<Alternative> top = {};  // SamplerOptions::logprobs best, best first
};

class Sampler {
 public:
  // Requires options that pass check(). banned: tokens never chosen (reserved ones, suppress_tokens); copied; ids
  // outside the vocabulary mean nothing.
  Sampler(const SamplerOptions& options, std::span<const Token> banned, int64_t vocab_size);

  // Chooses from one row of vocab_size logits. Ties go to the lower id. Unless greedy, takes exactly one random number,
  // so the n-th token of an answer always meets the n-th number. Does not call accept(): whoever keeps the token does.
  // Errors: non_finite (NaN or +inf anywhere, naming the first such token id; or nothing left to choose from).
  Result<Sampled> sample(std::span<const float> logits, Constraint* constraint = nullptr);

 private:
  void restrict_mask(Constraint* constraint);
  Token draw(std::span<const float> logits, float max);
  double gather(std::span<const float> logits, float max, double scale);
  double weigh(float max, double scale);
  void cut_nucleus(double wanted);
  void report(std::span<const float> logits, Sampled& sampled);

  SamplerOptions options_;
  int64_t vocab_size_;
  TokenSet allowed_;  // not banned
  TokenSet mask_;     // of those, what the constraint leaves
  Random random_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;  // of candidates_, not normalised; the best has 1
};

}  // namespace facet::runtime
