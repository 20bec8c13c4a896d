// Sampler: from logits to one token, reproducibly. Order and formulas: docs/sampling.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "facet/result.h"
#include "runtime/constraint.h"
#include "runtime/plain_logits.h"
#include "runtime/repetition.h"
#include "runtime/sampler_options.h"
#include "runtime/selection.h"
#include "tensor/token.h"

namespace facet::runtime {

struct Alternative {
  Token token;
  float logprob;  // natural logarithm under the model's own distribution (after suppression, before all else)
};

struct Sampled {
  Token token = 0;
  float logprob = 0;                  // of the token; 0 unless SamplerOptions::logprobs > 0
  std::vector<Alternative> top = {};  // SamplerOptions::logprobs best, best first
};

class Sampler {
 public:
  // Requires options that pass check(). banned: tokens never chosen (reserved ones, suppress_tokens); copied; ids
  // outside the vocabulary mean nothing. breakers: of DRY; must outlive the sampler; nullptr: none.
  Sampler(const SamplerOptions& options, std::span<const Token> banned, int64_t vocab_size,
          Breakers* breakers = nullptr);

  // Chooses from one row of vocab_size logits, looking only where it must. Ties go to the lower id. Unless greedy,
  // takes exactly one random number, so the n-th token of an answer always meets the n-th number. Does not call
  // accept(): whoever keeps the token does. history: all tokens in front of the one that is chosen, for the penalties;
  // nothing of it is remembered. Errors: non_finite (NaN or +inf anywhere, naming the first such token id; or nothing
  // left to choose from).
  Result<Sampled> sample(Logits& logits, Constraint* constraint = nullptr, std::span<const Token> history = {});
  Result<Sampled> sample(std::span<const float> logits, Constraint* constraint = nullptr,
                         std::span<const Token> history = {});

 private:
  void restrict_mask(Constraint* constraint);
  Logits& adjusted(Logits& logits, std::span<const Token> history);
  Token draw(Logits& logits, float max);
  double gather(Logits& logits, float max, double scale);
  double lowest_of_min_p(float max) const;
  double weigh(float max, double scale);
  double cut_typical(float max, double scale, double total);
  void cut_nucleus(double wanted);
  void report(Logits& logits, Sampled& sampled);

  SamplerOptions options_;
  int64_t vocab_size_;
  TokenSet allowed_;  // not banned
  TokenSet mask_;     // of those, what the constraint leaves
  Random random_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;  // of candidates_, not normalised; the best has 1
  PlainLogits plain_;            // a row that came as values

  // What biases and penalties need: a row that may be changed, and scratch. Empty where there are none.
  Breakers* breakers_;
  std::vector<float> row_;
  PlainLogits adjusted_;  // row_
  std::optional<TokenNumbers> numbers_;
  std::vector<int32_t> repeats_;
};

}  // namespace facet::runtime
