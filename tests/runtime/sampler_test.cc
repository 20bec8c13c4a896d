#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest-spi.h>

#include "support/expect.h"

namespace facet::runtime {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Everything off but what a test turns on.
SamplerOptions plain(uint64_t seed = 1) {
  return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed, .logprobs = 0};
}
SamplerOptions greedy() { return {.temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 0, .logprobs = 0}; }

// docs/sampling.md, written down once more in the plainest way: sort everything, cut, normalise.
std::vector<double> formula(const std::vector<float>& logits, const SamplerOptions& options,
                            const std::vector<Token>& excluded = {}) {
  std::vector<size_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::ranges::find(excluded, static_cast<Token>(i)) == excluded.end() && logits[i] > -kInf) order.push_back(i);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (options.top_k > 0 && order.size() > static_cast<size_t>(options.top_k))
    order.resize(static_cast<size_t>(options.top_k));
  std::vector<double> p(logits.size(), 0);
  double total = 0;
  for (const size_t i : order)
    total += p[i] = std::exp((static_cast<double>(logits[i]) - logits[order[0]]) / options.temperature);
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
  Sampler sampler(greedy(), {}, 5);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3, -1})->token, 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInf, -kInf, -9, -kInf, -kInf})->token, 2);
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
          SCOPED_TRACE(testing::Message() << "temperature " << temperature << " top_k " << top_k << " top_p " << top_p
                                          << " min_p " << min_p);
          expect_drawn_by(formula(logits, options), frequencies(logits, options, kDraws), kDraws);
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
  EXPECT_NE(Sampler(greedy(), banned, 100).sample(logits)->token, 17);
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

TEST(Sampler, NumbersThatAreNotFiniteAreErrorsThatNameTheToken) {
  for (const float bad : {kNan, kInf}) {
    std::vector<float> logits = wavy(100);
    logits[41] = logits[70] = bad;
    const Result<Sampled> sampled = Sampler(greedy(), std::vector<Token>{41}, 100).sample(logits);
    ASSERT_FALSE(sampled);
    EXPECT_EQ(sampled.error().code, ErrorCode::non_finite);
    EXPECT_EQ(sampled.error().where, "token id 41") << "also where the token is banned";
  }
}

TEST(Sampler, NothingLeftIsAnError) {
  const std::vector<float> nothing(100, -kInf);
  EXPECT_EQ(Sampler(plain(), {}, 100).sample(nothing).error().code, ErrorCode::non_finite);
  std::vector<Token> all(100);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(Sampler(greedy(), all, 100).sample(wavy(100)).error().code, ErrorCode::non_finite);
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
    const Result<void> checked = check(options);
    ASSERT_FALSE(checked) << option;
    EXPECT_EQ(checked.error().where, option);
  };
  EXPECT_OK(check({}));
  refused("temperature", [](SamplerOptions& o) { o.temperature = -0.1f; });
  refused("temperature", [](SamplerOptions& o) { o.temperature = kNan; });
  refused("temperature", [](SamplerOptions& o) { o.temperature = kInf; });
  refused("top_k", [](SamplerOptions& o) { o.top_k = -1; });
  refused("top_p", [](SamplerOptions& o) { o.top_p = 1.01f; });
  refused("top_p", [](SamplerOptions& o) { o.top_p = kNan; });
  refused("min_p", [](SamplerOptions& o) { o.min_p = -0.5f; });
  refused("logprobs", [](SamplerOptions& o) { o.logprobs = -2; });
}

}  // namespace
}  // namespace facet::runtime
