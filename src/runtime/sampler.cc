#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/exponential.h"
#include "base/strings.h"

namespace facet::runtime {
namespace {

Error not_finite(const Candidate& bad) {
  return {.code = ErrorCode::non_finite,
          .what = "the model produced a logit that is not finite",
          .where = cat("token id ", bad.token),
          .found = std::isnan(bad.logit) ? "nan" : "inf"};
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options, std::span<const Token> banned, int64_t vocab_size, Breakers* breakers)
    : options_(options), vocab_size_(vocab_size), random_(options.seed), breakers_(breakers) {
  FACET_CHECK(check(options, vocab_size).ok() && vocab_size > 0);
  allowed_.assign(static_cast<size_t>((vocab_size + 63) / 64), ~uint64_t{0});
  if (const int64_t tail = vocab_size % 64; tail != 0) allowed_.back() = (uint64_t{1} << tail) - 1;
  for (const Token token : banned)
    if (token >= 0 && token < vocab_size) allowed_[static_cast<size_t>(token / 64)] &= ~(uint64_t{1} << (token % 64));
  if (!options.adjust()) return;
  row_.resize(static_cast<size_t>(vocab_size));
  numbers_.emplace(vocab_size);
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

// The logits with bias and penalties, in a copy: the model's own are borrowed, and log-probabilities need them.
Logits& Sampler::adjusted(Logits& logits, std::span<const Token> history) {
  if (!options_.adjust()) return logits;
  std::ranges::copy(logits.values(), row_.begin());
  for (const TokenBias& bias : options_.bias) {
    float& logit = row_[static_cast<size_t>(bias.token)];
    if (std::isinf(bias.bias))
      logit = bias.bias;  // -inf
    else
      set_logit(logit, static_cast<double>(logit) + bias.bias);
  }
  if (options_.penalties.on()) penalize(options_.penalties, history, *numbers_, row_);
  if (options_.dry.on()) penalize(options_.dry, breakers_, history, *numbers_, repeats_, row_);
  adjusted_.set(row_);
  return adjusted_;
}

Result<Sampled> Sampler::sample(std::span<const float> logits, Constraint* constraint, std::span<const Token> history) {
  plain_.set(logits);
  return sample(plain_, constraint, history);
}

Result<Sampled> Sampler::sample(Logits& logits, Constraint* constraint, std::span<const Token> history) {
  FACET_CHECK(logits.size() == vocab_size_);
  if (const std::optional<Candidate> bad = first_non_finite(logits)) return not_finite(*bad);
  restrict_mask(constraint);
  Logits& row = adjusted(logits, history);
  const std::optional<Candidate> top = best(row, mask_);
  if (!top)
    return Error{.code = ErrorCode::non_finite,
                 .what = "no token is left to choose from: all are suppressed, excluded by the constraint or -inf"};
  Sampled sampled{.token = options_.temperature > 0 ? draw(row, top->logit) : top->token};
  if (options_.logprobs > 0) report(logits, sampled);
  return sampled;
}

// candidates_ and their weights: after top-k or, with top-k off, at least as many of the best as top-p and min-p need
// (all, where typical-p looks at them first). Returns the weight that the next cut keeps a share of.
double Sampler::gather(Logits& logits, float max, double scale) {
  if (options_.top_k > 0) {
    keep_best(logits, mask_, static_cast<size_t>(options_.top_k), candidates_);
    return weigh(max, scale);
  }
  if (options_.top_p == 1 || options_.typical_p < 1) {
    const bool all = options_.typical_p < 1 || options_.min_p == 0;
    keep_from(logits, mask_, all ? -std::numeric_limits<double>::infinity() : lowest_of_min_p(max), candidates_);
    return weigh(max, scale);
  }
  // Sorting 262,144 tokens to keep 20 would cost more than all the rest, so ever more of the best are taken until they
  // hold enough.
  const double total = logits.total_weight(mask_, max, scale);
  for (size_t n = 256;; n *= 16) {
    keep_best(logits, mask_, n, candidates_);
    if (weigh(max, scale) >= options_.top_p * total || candidates_.size() < n) return total;
  }
}

// No logit below this has the weight min_p; a little lower than need be, as weights are rounded.
double Sampler::lowest_of_min_p(float max) const {
  const double exponent = -log_at_least_one(1 / static_cast<double>(options_.min_p));
  return max + (exponent - 1e-6) * options_.temperature;
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

// Keeps the fewest whose surprise -ln p is nearest to the entropy and whose weight reaches typical_p of the total; at
// least one. Returns their weight. With x = (z - max) / T and p = e^x / total, surprise is ln total - x and entropy its
// mean, so the distance between them is |x - Σ p x|: no logarithm is needed.
double Sampler::cut_typical(float max, double scale, double total) {
  const auto x = [&](const Candidate& candidate) { return (static_cast<double>(candidate.logit) - max) * scale; };
  double mean = 0;
  for (size_t i = 0; i < weights_.size(); ++i) mean += weights_[i] * x(candidates_[i]);
  mean /= total;
  const auto nearer = [&](const Candidate& a, const Candidate& b) {
    const double from_a = std::abs(x(a) - mean), from_b = std::abs(x(b) - mean);
    return from_a != from_b ? from_a < from_b : better(a, b);
  };
  size_t kept = 0, sorted = 0;
  for (double sum = 0; kept < candidates_.size() && (kept == 0 || sum < options_.typical_p * total); ++kept) {
    if (kept == sorted) {  // usually few are needed of a vocabulary: they are sorted in stretches, ever longer
      const auto begin = candidates_.begin() + static_cast<ptrdiff_t>(sorted);
      sorted = std::min(candidates_.size(), std::max<size_t>(256, sorted * 16));
      const auto end = candidates_.begin() + static_cast<ptrdiff_t>(sorted);
      std::nth_element(begin, end, candidates_.end(), nearer);
      std::sort(begin, end, nearer);
    }
    sum += exp_nonpositive(x(candidates_[kept]));
  }
  candidates_.resize(kept);
  std::ranges::sort(candidates_, better);
  return weigh(candidates_.front().logit, scale);
}

// Keeps the fewest of the best whose weight reaches `wanted`, at least one.
void Sampler::cut_nucleus(double wanted) {
  size_t kept = 0;
  for (double sum = 0; kept < weights_.size() && (kept == 0 || sum < wanted); ++kept) sum += weights_[kept];
  weights_.resize(kept);
}

Token Sampler::draw(Logits& logits, float max) {
  const double scale = 1.0 / options_.temperature;
  double total = gather(logits, max, scale);
  if (options_.typical_p < 1) total = cut_typical(max, scale, total);
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

void Sampler::report(Logits& logits, Sampled& sampled) {
  // The model's own distribution: what is banned is out of it; what a constraint excludes is not, and no bias or
  // penalty enters.
  const size_t n = static_cast<size_t>(options_.logprobs);
  const std::span<const float> values = logits.values();
  keep_best(logits, allowed_, n, candidates_);
  const float max = candidates_.front().logit;
  const double log_total = log_at_least_one(logits.total_weight(allowed_, max, 1.0));
  const auto logprob = [&](float logit) { return static_cast<float>((static_cast<double>(logit) - max) - log_total); };
  sampled.logprob = logprob(values[static_cast<size_t>(sampled.token)]);
  sampled.top.reserve(candidates_.size());
  for (const Candidate& candidate : candidates_) sampled.top.push_back({candidate.token, logprob(candidate.logit)});
}

}  // namespace facet::runtime
