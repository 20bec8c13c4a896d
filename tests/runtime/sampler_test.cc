#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest-spi.h>

#include "base/exponential.h"
#include "runtime/loose_logits.h"
#include "support/expect.h"
#include "support/special_floats.h"

namespace facet::runtime {
namespace {

using testing::kInfinity;
using testing::kNaN;

// Everything off but what a test turns on.
SamplerOptions plain(uint64_t seed = 1) {
  return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed, .logprobs = 0};
}
SamplerOptions greedy_options() {
  return {.temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 0, .logprobs = 0};
}

// docs/sampling.md, written down once more in the plainest way: sort everything, cut, normalise.
std::vector<double> formula(const std::vector<float>& logits, const SamplerOptions& options,
                            const std::vector<Token>& excluded = {}) {
  std::vector<size_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::ranges::find(excluded, static_cast<Token>(i)) == excluded.end() && logits[i] > -kInfinity)
      order.push_back(i);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (options.top_k > 0 && order.size() > static_cast<size_t>(options.top_k))
    order.resize(static_cast<size_t>(options.top_k));
  std::vector<double> p(logits.size(), 0);
  double total = 0;
  for (const size_t i : order)
    total += p[i] = std::exp((static_cast<double>(logits[i]) - logits[order[0]]) / options.temperature);
  if (options.typical_p < 1) {  // by surprise and entropy, as Meister et al. 2022 write it
    const auto surprise = [&](size_t i) { return -std::log(p[i] / total); };
    double entropy = 0;
    for (const size_t i : order)
      if (p[i] > 0) entropy += p[i] / total * surprise(i);
    const auto far = [&](size_t i) { return p[i] > 0 ? std::abs(surprise(i) - entropy) : kInfinity; };
    std::vector<size_t> nearest = order;
    std::ranges::stable_sort(nearest, [&](size_t a, size_t b) { return far(a) < far(b); });
    size_t in = 0;
    for (double sum = 0; in < nearest.size() && (in == 0 || sum < options.typical_p * total); ++in)
      sum += p[nearest[in]];
    for (size_t rank = in; rank < nearest.size(); ++rank) p[nearest[rank]] = 0;
    std::erase_if(order, [&](size_t i) { return p[i] == 0; });
    total = 0;
    const double best = p[order[0]];
    for (const size_t i : order) total += p[i] /= best;
  }
  double before = 0, kept = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    double& weight = p[order[rank]];
    const double share = weight / total;
    const bool in = rank == 0 || (before < static_cast<double>(options.top_p) && weight >= options.min_p);
    before += share;
    if (!in) weight = 0;
    kept += weight;
  }
  for (double& weight : p) weight /= kept;
  return p;
}

std::vector<float> wavy(size_t n, double scale = 4) {
  std::vector<float> logits(n);
  for (size_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(i);
    logits[i] = static_cast<float>(scale * std::sin(x * x * 0.7 + 0.3) + std::cos(x));
  }
  return logits;
}

std::vector<int64_t> frequencies(const std::vector<float>& logits, const SamplerOptions& options, int draws,
                                 const std::vector<Token>& banned = {}) {
  Sampler sampler(options, banned, static_cast<int64_t>(logits.size()));
  std::vector<int64_t> counts(logits.size(), 0);
  for (int i = 0; i < draws; ++i) {
    const Result<Sampled> sampled = sampler.sample(logits);
    if (!sampled)
      ADD_FAILURE() << sampled.error().message();
    else
      ++counts[static_cast<size_t>(sampled->token)];
  }
  return counts;
}

// Pearson's statistic over tokens that are expected at least five times; others must be rare, and those with
// probability 0 absent. The seed is fixed, so the bound (far beyond the 99.9 % quantile) is met always or never.
void expect_drawn_by(const std::vector<double>& p, const std::vector<int64_t>& counts, int draws) {
  double statistic = 0;
  int degrees = -1;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " cannot come";
    } else if (const double expected = p[i] * draws; expected >= 5) {
      statistic += std::pow(static_cast<double>(counts[i]) - expected, 2) / expected;
      ++degrees;
    }
  }
  EXPECT_LT(statistic, degrees + 4 * std::sqrt(2.0 * std::max(1, degrees)) + 6) << degrees << " degrees of freedom";
}

class Mask : public Constraint {
 public:
  explicit Mask(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  std::optional<Token> only;
  void allow(std::span<uint64_t> mask) override {
    std::vector<uint64_t> mine(mask.size(), 0);
    for (const Token t : tokens_) mine[static_cast<size_t>(t / 64)] |= uint64_t{1} << (t % 64);
    for (size_t i = 0; i < mask.size(); ++i) mask[i] &= mine[i];
  }
  std::optional<Token> forced() override { return only; }
  void accept(Token) override {}
  void rollback(int) override {}

 private:
  std::vector<Token> tokens_;
};

TEST(Sampler, GreedyTakesTheLargestAndTheLowerIdOfEqualOnes) {
  Sampler sampler(greedy_options(), {}, 5);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3, -1})->token, 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, -kInfinity, -9, -kInfinity, -kInfinity})->token, 2);
  EXPECT_EQ(sampler.sample(std::vector<float>{0.0f, -0.0f, 0, 0, 0})->token, 0);
}

TEST(Sampler, DrawsFollowTheFormulaOfEveryOption) {
  const std::vector<float> logits = wavy(60, 2);
  constexpr int kDraws = 2500;
  for (const float temperature : {0.5f, 1.0f, 1.7f})
    for (const int top_k : {0, 1, 7, 64, 500})
      for (const float top_p : {1.0f, 0.9f, 0.3f, 0.0f})
        for (const float min_p : {0.0f, 0.05f, 1.0f}) {
          const SamplerOptions options{
              .temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = 5, .logprobs = 0};
          SCOPED_TRACE(::testing::Message() << "temperature " << temperature << " top_k " << top_k << " top_p " << top_p
                                            << " min_p " << min_p);
          expect_drawn_by(formula(logits, options), frequencies(logits, options, kDraws), kDraws);
        }
}

TEST(Sampler, TypicalPKeepsWhatIsNearTheEntropy) {
  const std::vector<float> logits = wavy(60, 2);
  constexpr int kDraws = 2500;
  for (const float temperature : {0.5f, 1.7f})
    for (const float typical_p : {0.0f, 0.2f, 0.7f, 0.95f, 1.0f})
      for (const int top_k : {0, 7, 40})
        for (const float top_p : {1.0f, 0.6f})
          for (const float min_p : {0.0f, 0.5f}) {
            const SamplerOptions options{.temperature = temperature,
                                         .top_k = top_k,
                                         .top_p = top_p,
                                         .min_p = min_p,
                                         .seed = 5,
                                         .logprobs = 0,
                                         .typical_p = typical_p};
            SCOPED_TRACE(::testing::Message() << "temperature " << temperature << " typical_p " << typical_p
                                              << " top_k " << top_k << " top_p " << top_p << " min_p " << min_p);
            expect_drawn_by(formula(logits, options), frequencies(logits, options, kDraws), kDraws);
          }
}

TEST(Sampler, TypicalPCanLeaveTheLikeliestOut) {
  std::vector<float> logits(60, 0.0f);
  logits[13] = 3;  // a quarter of the probability; the others are as surprising as the whole is on average
  SamplerOptions options = plain(3);
  options.typical_p = 0.5f;
  const std::vector<int64_t> counts = frequencies(logits, options, 500);
  EXPECT_EQ(counts[13], 0);
  EXPECT_GT(counts[0], 0);
  options.temperature = 0;
  EXPECT_EQ(frequencies(logits, options, 1)[13], 1) << "greedy knows no cuts";
}

TEST(Sampler, TypicalPOverAWholeVocabularyKeepsExactlyTheNearest) {
  const std::vector<float> logits = wavy(20000, 0.5);  // more are kept than the first stretches sort
  for (const float top_p : {1.0f, 0.1f}) {             // the second alone would need only the best few
    SamplerOptions options = plain(3);
    options.typical_p = 0.6f;
    options.top_p = top_p;
    const std::vector<double> p = formula(logits, options);
    ASSERT_GT(std::ranges::count_if(p, [](double x) { return x > 0; }), top_p == 1 ? 4096 : 256);
    Sampler sampler(options, {}, 20000);
    for (int i = 0; i < 300; ++i) {
      const Result<Sampled> sampled = sampler.sample(logits);
      ASSERT_OK(sampled);
      ASSERT_GT(p[static_cast<size_t>(sampled->token)], 0) << top_p;
    }
  }
}

TEST(Sampler, TheFrequencyTestCanFail) {
  const std::vector<float> logits = wavy(200, 2);
  SamplerOptions options = plain(5);
  const std::vector<int64_t> counts = frequencies(logits, options, 20000);
  options.temperature = 1.1f;
  EXPECT_NONFATAL_FAILURE(expect_drawn_by(formula(logits, options), counts, 20000), "degrees of freedom");
}

TEST(Sampler, TopPOverAWholeVocabularyKeepsExactlyTheNucleus) {
  // Flat enough that the nucleus is wider than the first guesses at its size.
  const std::vector<float> logits = wavy(20000, 0.5);
  SamplerOptions options = plain(3);
  options.top_p = 0.8f;
  const std::vector<double> p = formula(logits, options);
  ASSERT_GT(std::ranges::count_if(p, [](double x) { return x > 0; }), 4096);
  Sampler sampler(options, {}, 20000);
  for (int i = 0; i < 300; ++i) {
    const Result<Sampled> sampled = sampler.sample(logits);
    ASSERT_OK(sampled);
    ASSERT_GT(p[static_cast<size_t>(sampled->token)], 0);
  }
}

TEST(Sampler, TopKKeepsTheLowerIdsOfEqualLogits) {
  SamplerOptions options = plain();
  options.top_k = 3;
  const std::vector<float> logits(5000, 1.5f);  // more than the selection's buffer holds
  const std::vector<int64_t> counts = frequencies(logits, options, 300);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 300);
  EXPECT_GT(std::min({counts[0], counts[1], counts[2]}), 70);
}

TEST(Sampler, ASeedGivesTheseTokensOnEveryMachine) {
  const std::vector<float> logits = wavy(1000);
  const auto answer = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1, .top_k = 64, .top_p = 0.95f, .min_p = 0, .seed = seed, .logprobs = 0}, {}, 1000);
    std::vector<Token> tokens;
    for (int i = 0; i < 8; ++i) tokens.push_back(sampler.sample(logits)->token);
    return tokens;
  };
  EXPECT_EQ(answer(42), answer(42));
  EXPECT_NE(answer(42), answer(43));
  EXPECT_EQ(answer(42), (std::vector<Token>{981, 654, 307, 541, 622, 277, 911, 465}));
}

TEST(Sampler, BannedTokensNeverComeHoweverLikely) {
  std::vector<float> logits = wavy(100);
  logits[17] = 90;
  const std::vector<Token> banned = {17, 3, -1, 100000};  // ids outside the vocabulary mean nothing
  EXPECT_NE(Sampler(greedy_options(), banned, 100).sample(logits)->token, 17);
  expect_drawn_by(formula(logits, plain(9), banned), frequencies(logits, plain(9), 20000, banned), 20000);
}

TEST(Sampler, AConstraintRestrictsAndForces) {
  const std::vector<float> logits = wavy(130);
  Mask mask({2, 64, 129});
  Sampler sampler(plain(), std::vector<Token>{64}, 130);
  for (int i = 0; i < 50; ++i) {
    const Token token = sampler.sample(logits, &mask)->token;
    EXPECT_TRUE(token == 2 || token == 129) << token;
  }
  mask.only = 77;
  EXPECT_EQ(sampler.sample(logits, &mask)->token, 77);
  mask.only = 64;  // banned all the same
  EXPECT_EQ(sampler.sample(logits, &mask).error().code, ErrorCode::non_finite);
}

TEST(Sampler, AForcedTokenTakesARandomNumberLikeAnyOther) {
  const std::vector<float> logits = wavy(130);
  Mask forced({}), one({77});
  forced.only = 77;
  Sampler a(plain(8), {}, 130), b(plain(8), {}, 130);
  ASSERT_OK(a.sample(logits, &forced));
  ASSERT_OK(b.sample(logits, &one));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(a.sample(logits)->token, b.sample(logits)->token);
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  const std::vector<float> logits = wavy(300);
  SamplerOptions options{.temperature = 0.3f, .top_k = 2, .top_p = 0.5f, .min_p = 0, .seed = 1, .logprobs = 5};
  const std::vector<Token> banned = {static_cast<Token>(std::ranges::max_element(logits) - logits.begin())};
  const std::vector<double> p = formula(logits, plain(), banned);  // neither temperature nor cuts
  Mask mask({1, 2, 3});                                            // nor a constraint
  const Result<Sampled> sampled = Sampler(options, banned, 300).sample(logits, &mask);
  ASSERT_OK(sampled);
  EXPECT_NEAR(sampled->logprob, std::log(p[static_cast<size_t>(sampled->token)]), 1e-5);
  ASSERT_EQ(sampled->top.size(), 5u);
  std::vector<double> sorted = p;
  std::ranges::sort(sorted, std::greater<>());
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(sampled->top[i].logprob, std::log(sorted[i]), 1e-5);
    EXPECT_NEAR(sampled->top[i].logprob, std::log(p[static_cast<size_t>(sampled->top[i].token)]), 1e-5);
  }
}

TEST(Sampler, ABiasIsAddedBeforeAllElse) {
  const std::vector<float> logits = {1, 3, 2, -kInfinity, 0};
  SamplerOptions options = greedy_options();
  const auto chosen = [&](std::vector<TokenBias> bias, const std::vector<Token>& banned = {}) {
    options.bias = std::move(bias);
    return Sampler(options, banned, 5).sample(logits)->token;
  };
  EXPECT_EQ(chosen({{0, 2.5f}}), 0);
  EXPECT_EQ(chosen({{1, -1.5f}}), 2);
  EXPECT_EQ(chosen({{1, -kInfinity}}), 2);
  EXPECT_EQ(chosen({{4, 2}, {4, 2}}), 4) << "biases of one token add up";
  EXPECT_EQ(chosen({{1, -kInfinity}, {1, 100}}), 2) << "never stays never";
  EXPECT_EQ(chosen({{3, 100}}), 1) << "what the model excludes cannot come";
  EXPECT_EQ(chosen({{0, 100}}, {0}), 1) << "banned tokens stay banned";
  options = plain(4);
  options.bias = {{0, 1.25f}, {2, -kInfinity}};
  expect_drawn_by(formula({2.25f, 3, 2, -kInfinity, 0}, plain(), {2}), frequencies(logits, options, 5000), 5000);
}

TEST(Sampler, ATokenThatABiasForbidsCannotBeForced) {
  SamplerOptions options = greedy_options();
  options.bias = {{7, -kInfinity}};
  Mask mask({});
  mask.only = 7;
  EXPECT_EQ(Sampler(options, {}, 130).sample(wavy(130), &mask).error().code, ErrorCode::non_finite);
}

TEST(Sampler, PenaltiesComeBehindTheBiasAndBeforeEverythingElse) {
  const std::vector<float> logits = {2, 3, 2.5f, 0, -1};
  const std::vector<Token> history = {1, 0, 1, 4};
  SamplerOptions options = plain(6);
  options.temperature = 0.7f;
  options.top_k = 4;
  options.bias = {{0, 4}};
  options.penalties = {.repeat = 2, .frequency = 0.25f, .presence = 0.5f, .last_n = -1};
  const std::vector<float> changed = {(2 + 4) / 2.0f - 0.75f, 3 / 2.0f - 2 * 0.25f - 0.5f, 2.5f, 0, -1 * 2 - 0.75f};
  Sampler sampler(options, {}, 5);
  std::vector<int64_t> counts(5, 0);
  for (int i = 0; i < 5000; ++i) ++counts[static_cast<size_t>(sampler.sample(logits, nullptr, history)->token)];
  expect_drawn_by(formula(changed, options), counts, 5000);

  options.temperature = 0;
  EXPECT_EQ(Sampler(options, {}, 5).sample(logits, nullptr, history)->token, 2) << "greedy honours them";
}

TEST(Sampler, LogprobsKnowNeitherBiasNorPenalty) {
  const std::vector<float> logits = wavy(300);
  const std::vector<Token> history = {7, 7, 7, 8, 7, 7};
  SamplerOptions options{.temperature = 0, .logprobs = 5};
  const Result<Sampled> expected = Sampler(options, {}, 300).sample(logits);
  options.bias = {{expected->token, -kInfinity}, {expected->top[1].token, -2.5f}, {3, 40}};
  options.penalties.presence = 3;
  options.dry.multiplier = 2;
  const Result<Sampled> sampled = Sampler(options, {}, 300).sample(logits, nullptr, history);
  EXPECT_EQ(sampled->token, 3);
  EXPECT_NEAR(sampled->logprob, std::log(formula(logits, plain())[3]), 1e-5);
  ASSERT_EQ(sampled->top.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(sampled->top[i].token, expected->top[i].token);
    EXPECT_EQ(sampled->top[i].logprob, expected->top[i].logprob);
  }
}

// The same draws with the options off and with options that change nothing.
TEST(Sampler, OptionsThatAreOffChangeNoBit) {
  const std::vector<float> logits = wavy(1000);
  const std::vector<Token> history = {1, 2, 1, 2, 1, 2};
  SamplerOptions off{.temperature = 0.9f, .seed = 42}, nothing = off;
  off.penalties = {.repeat = 3, .frequency = 1, .presence = 1, .last_n = 0};
  off.dry = {.multiplier = 3, .base = 2, .allowed_length = 0, .last_n = 0};
  nothing.bias = {{5, 0}};
  Sampler plain_one({.temperature = 0.9f, .seed = 42}, {}, 1000), a(off, {}, 1000), b(nothing, {}, 1000);
  for (int i = 0; i < 200; ++i) {
    const Token expected = plain_one.sample(logits)->token;
    ASSERT_EQ(a.sample(logits, nullptr, history)->token, expected);
    ASSERT_EQ(b.sample(logits, nullptr, history)->token, expected);
  }
}

// Options, logits and histories of every size, extreme ones among them: an answer is finite, possible and not banned.
TEST(Sampler, WhateverTheOptionsNothingImpossibleIsChosen) {
  Random random(11);
  const auto below = [&](size_t n) { return size_t{random.below(static_cast<uint32_t>(std::max<size_t>(n, 1)))}; };
  const auto one_of = [&](std::initializer_list<float> values) { return values.begin()[below(values.size())]; };
  for (int round = 0; round < 4000; ++round) {
    const size_t vocab = 2 + below(150);
    std::vector<float> logits(vocab);
    for (float& z : logits) z = one_of({0, 1, -1, 7.5f, -30, 3e38f, -3e38f, 1e-40f, -kInfinity});
    std::vector<Token> history(below(60)), banned(below(vocab / 2));
    for (Token& token : history) token = static_cast<Token>(below(std::min<size_t>(vocab, 4)));
    for (Token& token : banned) token = static_cast<Token>(below(vocab));
    SamplerOptions options{.temperature = one_of({0, 1e-45f, 0.7f, 1, 3e38f}),
                           .top_k = static_cast<int>(below(9)),
                           .top_p = one_of({0, 0.5f, 1}),
                           .min_p = one_of({0, 0.1f, 1}),
                           .seed = static_cast<uint64_t>(round),
                           .logprobs = 2,
                           .typical_p = one_of({0, 0.5f, 1})};
    options.penalties = {.repeat = one_of({1, 1.3f, 1e-45f, 3e38f}),
                         .frequency = one_of({0, -2, 2, 3e38f, -3e38f}),
                         .presence = one_of({0, 2, 3e38f, -3e38f}),
                         .last_n = static_cast<int64_t>(below(70)) - 1};
    options.dry = {.multiplier = one_of({0, 1, 3e38f}),
                   .base = one_of({1, 1.75f, 3e38f}),
                   .allowed_length = static_cast<int>(below(4)),
                   .last_n = static_cast<int64_t>(below(70)) - 1};
    std::vector<bool> possible(vocab);
    for (size_t i = 0; i < vocab; ++i) possible[i] = logits[i] > -kInfinity;
    for (const Token token : banned) possible[static_cast<size_t>(token)] = false;
    for (size_t i = below(3); i > 0; --i) {
      options.bias.push_back({static_cast<Token>(below(vocab)), one_of({1, -1, 3e38f, -3e38f, -kInfinity})});
      if (options.bias.back().bias == -kInfinity) possible[static_cast<size_t>(options.bias.back().token)] = false;
    }
    const Result<Sampled> sampled =
        Sampler(options, banned, static_cast<int64_t>(vocab)).sample(logits, nullptr, history);
    if (std::ranges::find(possible, true) == possible.end()) {
      ASSERT_EQ(sampled.error().code, ErrorCode::non_finite);
      continue;
    }
    ASSERT_OK(sampled);
    ASSERT_TRUE(possible[static_cast<size_t>(sampled->token)]) << "round " << round << " token " << sampled->token;
    ASSERT_LE(sampled->logprob, 0) << round;  // NaN is not
  }
}

// The token that docs/sampling.md says, in its own order of sums: everything is sorted, nothing is left out beforehand.
Token plain_draw(const std::vector<float>& logits, const TokenSet& set, const SamplerOptions& options, Random& random) {
  std::vector<Candidate> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if ((set[i / 64] >> (i % 64) & 1) != 0 && logits[i] > -kInfinity)
      order.push_back({static_cast<Token>(i), logits[i]});
  if (options.temperature == 0 || options.top_k > 0 || options.top_p < 1) std::ranges::sort(order, better);
  if (options.temperature == 0) return order.front().token;
  const float max = std::ranges::min_element(order, better)->logit;
  const double scale = 1.0 / options.temperature;
  if (options.top_k > 0 && order.size() > static_cast<size_t>(options.top_k))
    order.resize(static_cast<size_t>(options.top_k));
  std::vector<double> weights;
  double total = 0;
  for (const Candidate& candidate : order)
    total += weights.emplace_back(exp_nonpositive((static_cast<double>(candidate.logit) - max) * scale));
  if (options.top_k == 0) total = total_weight(logits, set, max, scale);
  if (options.top_p < 1) {
    size_t kept = 0;
    for (double sum = 0; kept < weights.size() && (kept == 0 || sum < options.top_p * total); ++kept)
      sum += weights[kept];
    weights.resize(kept);
  }
  double left = 0;
  for (double& weight : weights) left += weight = weight < options.min_p ? 0 : weight;
  double rest = random.uniform() * left;
  size_t chosen = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    if (rest < weights[i]) break;
    rest -= weights[i];
  }
  return order[chosen].token;
}

// Rows in memory and rows that are still to be made, with bounds somewhat too large.
TEST(Sampler, DrawsTheVeryTokenOfTheDefinition) {
  Random random(12);
  const auto below = [&](size_t n) { return size_t{random.below(static_cast<uint32_t>(n))}; };
  const auto one_of = [&](auto values) { return values.begin()[below(values.size())]; };
  for (int round = 0; round < 3000; ++round) {
    const size_t vocab = 1 + below(round % 10 == 0 ? 4000 : 300);
    std::vector<float> logits(vocab);
    const bool ties = below(3) == 0;
    for (float& z : logits)
      z = below(9) == 0 ? -kInfinity : ties ? static_cast<float>(below(5)) : static_cast<float>(8 * random.uniform());
    std::vector<Token> banned(below(4)), some;
    for (Token& token : banned) token = static_cast<Token>(below(vocab));
    TokenSet set(static_cast<size_t>(logit_blocks(static_cast<int64_t>(vocab))), 0);
    const size_t share = 1 + below(30);
    for (size_t i = 0; i < vocab; ++i) {
      if (below(share) != 0) continue;
      some.push_back(static_cast<Token>(i));
      if (std::ranges::find(banned, static_cast<Token>(i)) == banned.end()) set[i / 64] |= uint64_t{1} << (i % 64);
    }
    Mask mask(some);
    const SamplerOptions options{.temperature = one_of(std::initializer_list<float>{0, 0.3f, 1, 2}),
                                 .top_k = one_of(std::initializer_list<int>{0, 1, 2, 40, 64, 1000, 5000}),
                                 .top_p = one_of(std::initializer_list<float>{0.3f, 0.95f, 1}),
                                 .min_p = one_of(std::initializer_list<float>{0, 0.02f, 0.3f, 1}),
                                 .seed = static_cast<uint64_t>(round),
                                 .logprobs = one_of(std::initializer_list<int>{0, 3})};
    Sampler whole(options, banned, static_cast<int64_t>(vocab)), lazy(options, banned, static_cast<int64_t>(vocab));
    Random same(options.seed);
    LooseLogits loose(logits);
    for (int draw = 0; draw < 3; ++draw) {
      const Result<Sampled> a = whole.sample(logits, &mask), b = lazy.sample(loose, &mask);
      ASSERT_EQ(a.ok(), b.ok());
      if (!a.ok()) break;  // nothing was left
      const Token expected = plain_draw(logits, set, options, same);
      ASSERT_EQ(a->token, expected) << "round " << round;
      ASSERT_EQ(b->token, expected) << "round " << round;
      ASSERT_EQ(a->logprob, b->logprob);
      ASSERT_TRUE(std::ranges::equal(a->top, b->top, {}, &Alternative::token, &Alternative::token));
    }
  }
}

TEST(Sampler, NumbersThatAreNotFiniteAreErrorsThatNameTheToken) {
  for (const float bad : {kNaN, kInfinity}) {
    std::vector<float> logits = wavy(100);
    logits[41] = logits[70] = bad;
    const Result<Sampled> sampled = Sampler(greedy_options(), std::vector<Token>{41}, 100).sample(logits);
    ASSERT_FALSE(sampled);
    EXPECT_EQ(sampled.error().code, ErrorCode::non_finite);
    EXPECT_EQ(sampled.error().where, "token id 41") << "also where the token is banned";
  }
}

TEST(Sampler, NothingLeftIsAnError) {
  const std::vector<float> nothing(100, -kInfinity);
  EXPECT_EQ(Sampler(plain(), {}, 100).sample(nothing).error().code, ErrorCode::non_finite);
  std::vector<Token> all(100);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(Sampler(greedy_options(), all, 100).sample(wavy(100)).error().code, ErrorCode::non_finite);
}

TEST(Sampler, ExtremeTemperaturesStayInRange) {
  const std::vector<float> logits = {3e38f, -3e38f, 0, 3e38f};
  for (const float temperature : {1e-45f, 1e-3f, 3e38f}) {
    SamplerOptions options = plain();
    options.temperature = temperature;
    const Result<Sampled> sampled = Sampler(options, {}, 4).sample(logits);
    ASSERT_OK(sampled);
    EXPECT_NE(sampled->token, 1) << temperature;
  }
}

TEST(Sampler, OptionsOutOfRangeAreRefusedByName) {
  const auto refused = [](const char* option, auto change) {
    SamplerOptions options;
    change(options);
    const Result<void> checked = check(options, 100);
    ASSERT_FALSE(checked) << option;
    EXPECT_EQ(checked.error().where, option);
  };
  EXPECT_OK(check({}, 100));
  refused("temperature", [](SamplerOptions& o) { o.temperature = -0.1f; });
  refused("temperature", [](SamplerOptions& o) { o.temperature = kNaN; });
  refused("temperature", [](SamplerOptions& o) { o.temperature = kInfinity; });
  refused("top_k", [](SamplerOptions& o) { o.top_k = -1; });
  refused("top_p", [](SamplerOptions& o) { o.top_p = 1.01f; });
  refused("top_p", [](SamplerOptions& o) { o.top_p = kNaN; });
  refused("min_p", [](SamplerOptions& o) { o.min_p = -0.5f; });
  refused("logprobs", [](SamplerOptions& o) { o.logprobs = -2; });
  refused("typical_p", [](SamplerOptions& o) { o.typical_p = 1.5f; });
  refused("typical_p", [](SamplerOptions& o) { o.typical_p = kNaN; });
  for (const float bad : {0.0f, -1.0f, kInfinity, kNaN})
    refused("repeat_penalty", [&](SamplerOptions& o) { o.penalties.repeat = bad; });
  for (const float bad : {kInfinity, -kInfinity, kNaN}) {
    refused("frequency_penalty", [&](SamplerOptions& o) { o.penalties.frequency = bad; });
    refused("presence_penalty", [&](SamplerOptions& o) { o.penalties.presence = bad; });
  }
  refused("repeat_last_n", [](SamplerOptions& o) { o.penalties.last_n = -2; });
  for (const float bad : {-0.5f, kInfinity, kNaN}) {
    refused("dry_multiplier", [&](SamplerOptions& o) { o.dry.multiplier = bad; });
    refused("dry_base", [&](SamplerOptions& o) { o.dry.base = bad; });
  }
  refused("dry_base", [](SamplerOptions& o) { o.dry.base = 0.9f; });
  refused("dry_allowed_length", [](SamplerOptions& o) { o.dry.allowed_length = -1; });
  refused("dry_penalty_last_n", [](SamplerOptions& o) { o.dry.last_n = -2; });
  for (const float bad : {kInfinity, kNaN}) refused("logit_bias", [&](SamplerOptions& o) { o.bias = {{3, bad}}; });
  for (const Token bad : {-1, 100}) refused("logit_bias", [&](SamplerOptions& o) { o.bias = {{bad, 1}}; });
}

}  // namespace
}  // namespace facet::runtime
