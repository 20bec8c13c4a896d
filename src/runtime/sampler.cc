#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/strings.h"
#include "runtime/exponential.h"

namespace facet::runtime {
namespace {

Error out_of_range(const char* option, const char* expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = "out of range",
          .where = option,
          .expected = expected,
          .found = std::move(found)};
}

Error not_finite(Token token, float value) {
  return {.code = ErrorCode::non_finite,
          .what = "the model produced a logit that is not finite",
          .where = cat("token id ", token),
          .found = std::isnan(value) ? "nan" : "inf"};
}

}  // namespace

Result<void> check(const SamplerOptions& options) {
  const auto within_one = [](float x) { return x >= 0 && x <= 1; };  // NaN is outside
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    return out_of_range("temperature", "a finite number, 0 or more", cat(options.temperature));
  if (options.top_k < 0) return out_of_range("top_k", "0 (off) or more", cat(options.top_k));
  if (!within_one(options.top_p)) return out_of_range("top_p", "0 to 1", cat(options.top_p));
  if (!within_one(options.min_p)) return out_of_range("min_p", "0 to 1", cat(options.min_p));
  if (options.logprobs < 0) return out_of_range("logprobs", "0 (off) or more", cat(options.logprobs));
  return {};
}

Sampler::Sampler(const SamplerOptions& options, std::span<const Token> banned, int64_t vocab_size)
    : options_(options), vocab_size_(vocab_size), random_(options.seed) {
  FACET_CHECK(check(options).ok() && vocab_size > 0);
  allowed_.assign(static_cast<size_t>((vocab_size + 63) / 64), ~uint64_t{0});
  if (const int64_t tail = vocab_size % 64; tail != 0) allowed_.back() = (uint64_t{1} << tail) - 1;
  for (const Token token : banned)
    if (token >= 0 && token < vocab_size) allowed_[static_cast<size_t>(token / 64)] &= ~(uint64_t{1} << (token % 64));
}

void Sampler::restrict_mask(Constraint* constraint) {
  mask_ = allowed_;
  if (constraint == nullptr) return;
  if (const std::optional<Token> forced = constraint->forced()) {
    FACET_CHECK(*forced >= 0 && *forced < vocab_size_);
    const size_t word = static_cast<size_t>(*forced / 64);
    const uint64_t bit = mask_[word] & (uint64_t{1} << (*forced % 64));
    std::ranges::fill(mask_, 0);
    mask_[word] = bit;
  } else {
    constraint->allow(mask_);
  }
}

Result<Sampled> Sampler::sample(std::span<const float> logits, Constraint* constraint) {
  FACET_CHECK(static_cast<int64_t>(logits.size()) == vocab_size_);
  if (const std::optional<Token> bad = first_non_finite(logits))
    return not_finite(*bad, logits[static_cast<size_t>(*bad)]);
  restrict_mask(constraint);
  const std::optional<Candidate> top = best(logits, mask_);
  if (!top)
    return Error{.code = ErrorCode::non_finite,
                 .what = "no token is left to choose from: all are suppressed, excluded by the constraint or -inf"};
  Sampled sampled{.token = options_.temperature > 0 ? draw(logits, top->logit) : top->token};
  if (options_.logprobs > 0) report(logits, sampled);
  return sampled;
}

// candidates_ and their weights: after top-k or, with top-k off, at least as many of the best as top-p needs. Returns
// the weight that top-p keeps a share of.
double Sampler::gather(std::span<const float> logits, float max, double scale) {
  if (options_.top_k > 0) {
    keep_best(logits, mask_, static_cast<size_t>(options_.top_k), candidates_);
    return weigh(max, scale);
  }
  if (options_.top_p == 1) {
    keep_all(logits, mask_, candidates_);
    return weigh(max, scale);
  }
  // Sorting 262,144 tokens to keep 20 would cost more than all the rest, so ever more of the best are taken until they
  // hold enough.
  const double total = total_weight(logits, mask_, max, scale);
  for (size_t n = 256;; n *= 16) {
    keep_best(logits, mask_, n, candidates_);
    if (weigh(max, scale) >= options_.top_p * total || candidates_.size() < n) return total;
  }
}

double Sampler::weigh(float max, double scale) {
  weights_.resize(candidates_.size());
  double total = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    weights_[i] = exp_nonpositive((static_cast<double>(candidates_[i].logit) - max) * scale);
    total += weights_[i];
  }
  return total;
}

// Keeps the fewest of the best whose weight reaches `wanted`, at least one.
void Sampler::cut_nucleus(double wanted) {
  size_t kept = 0;
  for (double sum = 0; kept < weights_.size() && (kept == 0 || sum < wanted); ++kept) sum += weights_[kept];
  weights_.resize(kept);
}

Token Sampler::draw(std::span<const float> logits, float max) {
  const double total = gather(logits, max, 1.0 / options_.temperature);
  if (options_.top_p < 1) cut_nucleus(options_.top_p * total);
  double left_weight = 0;
  for (double& weight : weights_) {
    if (weight < options_.min_p) weight = 0;  // the best has weight 1: it always stays
    left_weight += weight;
  }
  double rest = random_.uniform() * left_weight;
  size_t chosen = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] == 0) continue;
    chosen = i;  // the last that can come, should rounding leave a rest behind it
    if (rest < weights_[i]) break;
    rest -= weights_[i];
  }
  return candidates_[chosen].token;
}

void Sampler::report(std::span<const float> logits, Sampled& sampled) {
  // The model's own distribution: what is banned is out of it, what a constraint excludes is not.
  const size_t n = static_cast<size_t>(options_.logprobs);
  keep_best(logits, allowed_, n, candidates_);
  const float max = candidates_.front().logit;
  const double log_total = log_at_least_one(total_weight(logits, allowed_, max, 1.0));
  const auto logprob = [&](float logit) { return static_cast<float>((static_cast<double>(logit) - max) - log_total); };
  sampled.logprob = logprob(logits[static_cast<size_t>(sampled.token)]);
  sampled.top.reserve(candidates_.size());
  for (const Candidate& candidate : candidates_) sampled.top.push_back({candidate.token, logprob(candidate.logit)});
}

}  // namespace facet::runtime
