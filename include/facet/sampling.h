// Sampling: how the next token is chosen from the model's distribution.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace facet {

// Order of application (docs/sampling.md): softcapped logits; suppressed and reserved tokens to -inf; constraint mask;
// temperature; top-k; top-p; min-p; draw. Unset values take the model file's own defaults, then those named here.
struct Sampling {
  std::optional<float> temperature;  // 0: greedy. Default 1, or the file's
  std::optional<int> top_k;          // 0: off. Default 64, or the file's
  std::optional<float> top_p;        // 1: off. Default 0.95, or the file's
  std::optional<float> min_p;        // 0: off. Default 0
  std::optional<uint64_t> seed;      // unset: a fresh one, reported with the result
  std::vector<int32_t> stop_tokens;  // in addition to the model's own
  std::vector<std::string> stop_strings;
  bool ignore_stop_tokens = false;  // also the model's own: generate to the length limit
  bool allow_reserved = false;      // lets tokens that must never be sampled through: parity tests only
  int logprobs = 0;                 // report this many alternatives a token
};

}  // namespace facet
