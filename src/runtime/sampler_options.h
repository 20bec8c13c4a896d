// SamplerOptions: the numbers that decide how a token is chosen, and their check. Formulas: docs/sampling.md.
#pragma once

#include <cstdint>
#include <vector>

#include "facet/result.h"
#include "tensor/token.h"

namespace facet::runtime {

// Penalties of the tokens that are among the last of the sequence.
struct PenaltyOptions {
  float repeat = 1;     // divides positive logits, multiplies others; 1: off
  float frequency = 0;  // subtracted for each time the token is there
  float presence = 0;   // subtracted once
  int64_t last_n = 64;  // how many tokens are looked at; 0: off; -1: all

  bool on() const { return last_n != 0 && (repeat != 1 || frequency != 0 || presence != 0); }
};

// Penalty of the tokens that would continue a repetition of n >= allowed_length tokens: multiplier · base^(n -
// allowed).
struct DryOptions {
  float multiplier = 0;  // 0: off
  float base = 1.75f;
  int allowed_length = 2;
  int64_t last_n = -1;  // how many tokens are looked at; 0: off; -1: all

  bool on() const { return multiplier != 0 && last_n != 0; }
};

struct TokenBias {
  Token token;
  float bias;  // added to the logit; -inf: never this token
};

struct SamplerOptions {
  float temperature = 1;  // 0: greedy
  int top_k = 64;         // 0: off
  float top_p = 0.95f;    // 1: off
  float min_p = 0;        // 0: off
  uint64_t seed = 0;
  int logprobs = 0;     // alternatives to report; 0: no log-probability is computed at all
  float typical_p = 1;  // 1: off
  PenaltyOptions penalties = {};
  DryOptions dry = {};
  std::vector<TokenBias> bias = {};  // several for one token add up

  // Whether any logit is changed before tokens are selected.
  bool adjust() const { return !bias.empty() || penalties.on() || dry.on(); }
};

// Errors: invalid_argument, naming the option: temperature, top_k, logprobs, dry_multiplier or dry_allowed_length below
// 0; top_p, min_p or typical_p outside 0…1; repeat_penalty not above 0; dry_base below 1; a window below -1; a bias
// that is +inf or whose token is outside the vocabulary; NaN and infinity anywhere but a bias of -inf.
Result<void> check(const SamplerOptions& options, int64_t vocab_size);

}  // namespace facet::runtime
