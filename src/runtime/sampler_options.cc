#include "runtime/sampler_options.h"

#include <cmath>
#include <utility>

#include "base/strings.h"

namespace facet::runtime {
namespace {

Error out_of_range(const char* option, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = "out of range",
          .where = option,
          .expected = std::move(expected),
          .found = std::move(found)};
}

Result<void> check(const PenaltyOptions& options) {
  if (!(options.repeat > 0) || std::isinf(options.repeat))
    return out_of_range("repeat_penalty", "a finite number above 0; 1 is off", cat(options.repeat));
  if (!std::isfinite(options.frequency))
    return out_of_range("frequency_penalty", "a finite number; 0 is off", cat(options.frequency));
  if (!std::isfinite(options.presence))
    return out_of_range("presence_penalty", "a finite number; 0 is off", cat(options.presence));
  if (options.last_n < -1)
    return out_of_range("repeat_last_n", "0 (off) or more, or -1 for the whole context", cat(options.last_n));
  return {};
}

Result<void> check(const DryOptions& options) {
  if (!(options.multiplier >= 0) || std::isinf(options.multiplier))
    return out_of_range("dry_multiplier", "a finite number, 0 (off) or more", cat(options.multiplier));
  if (!(options.base >= 1) || std::isinf(options.base))
    return out_of_range("dry_base", "a finite number, 1 or more", cat(options.base));
  if (options.allowed_length < 0) return out_of_range("dry_allowed_length", "0 or more", cat(options.allowed_length));
  if (options.last_n < -1)
    return out_of_range("dry_penalty_last_n", "0 (off) or more, or -1 for the whole context", cat(options.last_n));
  return {};
}

Result<void> check(const TokenBias& bias, int64_t vocab_size) {
  if (bias.token < 0 || bias.token >= vocab_size)
    return out_of_range("logit_bias", cat("token ids from 0 to ", vocab_size - 1), cat(bias.token));
  if (std::isnan(bias.bias) || (std::isinf(bias.bias) && bias.bias > 0))
    return out_of_range("logit_bias", "a finite number, or -inf for never", cat(bias.bias, " for token ", bias.token));
  return {};
}

}  // namespace

Result<void> check(const SamplerOptions& options, int64_t vocab_size) {
  const auto within_one = [](float x) { return x >= 0 && x <= 1; };  // NaN is outside
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    return out_of_range("temperature", "a finite number, 0 or more", cat(options.temperature));
  if (options.top_k < 0) return out_of_range("top_k", "0 (off) or more", cat(options.top_k));
  if (!within_one(options.typical_p)) return out_of_range("typical_p", "0 to 1 (off)", cat(options.typical_p));
  if (!within_one(options.top_p)) return out_of_range("top_p", "0 to 1", cat(options.top_p));
  if (!within_one(options.min_p)) return out_of_range("min_p", "0 to 1", cat(options.min_p));
  if (options.logprobs < 0) return out_of_range("logprobs", "0 (off) or more", cat(options.logprobs));
  FACET_TRY_VOID(check(options.penalties));
  FACET_TRY_VOID(check(options.dry));
  for (const TokenBias& bias : options.bias) FACET_TRY_VOID(check(bias, vocab_size));
  return {};
}

}  // namespace facet::runtime
