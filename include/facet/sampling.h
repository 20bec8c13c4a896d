// Sampling: how the next token is chosen from the model's distribution.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace facet {

// What is added to the logit of one token. -inf: the token never comes.
struct LogitBias {
  int32_t token = 0;
  float bias = 0;
};

// Order of application (docs/sampling.md): softcapped logits; suppressed and reserved tokens to -inf; logit bias;
// repetition, frequency and presence penalty; DRY; constraint mask; temperature; top-k; typical-p; top-p; min-p; draw.
// A temperature of 0 takes the largest logit after the constraint. Unset values take the model file's own defaults,
// then those named here.
struct Sampling {
  std::optional<float> temperature;  // 0: greedy. Default 1, or the file's
  std::optional<int> top_k;          // 0: off. Default 64, or the file's
  std::optional<float> typical_p;    // 1: off. Default 1, or the file's
  std::optional<float> top_p;        // 1: off. Default 0.95, or the file's
  std::optional<float> min_p;        // 0: off. Default 0, or the file's

  // Penalties of the tokens among the last repeat_last_n, those of the prompt included.
  std::optional<float> repeat_penalty;  // divides positive logits, multiplies others; 1: off. Default 1, or the file's
  std::optional<float> frequency_penalty;  // subtracted for each time. Default 0
  std::optional<float> presence_penalty;   // subtracted once. Default 0
  std::optional<int64_t> repeat_last_n;    // 0: off; -1: the whole context. Default 64, or the file's

  // DRY ("don't repeat yourself"): a token that would continue a repetition of n >= dry_allowed_length tokens loses
  // dry_multiplier · dry_base^(n - dry_allowed_length). A repetition does not reach back over a sequence breaker.
  std::optional<float> dry_multiplier;        // 0: off. Default 0
  std::optional<float> dry_base;              // Default 1.75
  std::optional<int> dry_allowed_length;      // Default 2
  std::optional<int64_t> dry_penalty_last_n;  // tokens looked at; 0: off; -1: the whole context. Default -1
  std::vector<std::string> dry_sequence_breakers = {"\n", ":", "\"", "*"};  // texts; empty: none

  std::vector<LogitBias> logit_bias;  // several for one token add up; banned tokens stay banned

  std::optional<uint64_t> seed;      // unset: a fresh one, reported with the result
  std::vector<int32_t> stop_tokens;  // in addition to the model's own
  std::vector<std::string> stop_strings;
  bool ignore_stop_tokens = false;  // also the model's own: generate to the length limit
  bool allow_reserved = false;      // lets tokens that must never be sampled through: parity tests only
  int logprobs = 0;                 // report this many alternatives a token, under the model's own distribution
};

}  // namespace facet
