#include "runtime/repetition.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/special_floats.h"

namespace facet::runtime {
namespace {

using testing::kInfinity;

constexpr float kLargest = std::numeric_limits<float>::max();

std::vector<Token> tokens_of(std::string_view letters) {
  std::vector<Token> tokens;
  for (const char c : letters) tokens.push_back(c - 'a');
  return tokens;
}

// Breakers that are runs of tokens, looked for in the plainest way.
class Runs : public Breakers {
 public:
  explicit Runs(std::vector<std::vector<Token>> runs) : runs_(std::move(runs)) {}
  bool end_in(std::span<const Token> before, Token token) override {
    ++looked;
    std::vector<Token> all(before.begin(), before.end());
    all.push_back(token);
    return std::ranges::any_of(runs_, [&](const std::vector<Token>& run) {
      return all.size() >= run.size() && std::equal(run.rbegin(), run.rend(), all.rbegin());
    });
  }
  int looked = 0;

 private:
  std::vector<std::vector<Token>> runs_;
};

std::vector<float> penalized(const PenaltyOptions& options, std::string_view history, std::vector<float> row) {
  TokenNumbers numbers(static_cast<int64_t>(row.size()));
  penalize(options, tokens_of(history), numbers, row);
  EXPECT_TRUE(numbers.tokens().empty());
  return row;
}

std::vector<float> penalized(const DryOptions& options, Breakers* breakers, std::span<const Token> history,
                             std::vector<float> row) {
  TokenNumbers numbers(static_cast<int64_t>(row.size()));
  std::vector<int32_t> scratch;
  penalize(options, breakers, history, numbers, scratch, row);
  EXPECT_TRUE(numbers.tokens().empty());
  return row;
}

TEST(Penalties, RepetitionDividesPositiveLogitsAndMultipliesOthers) {
  EXPECT_EQ(penalized({.repeat = 2, .last_n = -1}, "abcdabcd", {3, -3, 0, -kInfinity, 5}),
            (std::vector<float>{1.5f, -6, 0, -kInfinity, 5}));
  EXPECT_EQ(penalized({.repeat = 0.5f, .last_n = -1}, "ab", {3, -3}), (std::vector<float>{6, -1.5f}))
      << "below 1 it favours";
}

TEST(Penalties, FrequencyCountsAndPresenceDoesNot) {
  EXPECT_EQ(penalized({.frequency = 0.5f, .last_n = -1}, "aabaa", {4, 4, 4}), (std::vector<float>{2, 3.5f, 4}));
  EXPECT_EQ(penalized({.presence = 0.5f, .last_n = -1}, "aabaa", {4, 4, 4}), (std::vector<float>{3.5f, 3.5f, 4}));
  EXPECT_EQ(penalized({.frequency = -0.5f, .presence = -1, .last_n = -1}, "aab", {4, 4, 4}),
            (std::vector<float>{6, 5.5f, 4}));
}

TEST(Penalties, RepetitionComesFirst) {
  EXPECT_EQ(penalized({.repeat = 2, .frequency = 1, .presence = 0.5f, .last_n = -1}, "aa", {8}),
            (std::vector<float>{8 / 2.0f - 2 * 1 - 0.5f}));
}

TEST(Penalties, LookAtTheLastTokensOnly) {
  const std::vector<float> row = {4, 4, 4, 4};
  EXPECT_EQ(penalized({.frequency = 1, .last_n = 3}, "aabcbc", row), (std::vector<float>{4, 3, 2, 4}));
  EXPECT_EQ(penalized({.frequency = 1, .last_n = 64}, "aabcbc", row), (std::vector<float>{2, 2, 2, 4}));
  EXPECT_EQ(penalized({.frequency = 1, .last_n = -1}, std::string(100, 'a'), row), (std::vector<float>{-96, 4, 4, 4}));
  EXPECT_EQ(penalized({.frequency = 1, .last_n = -1}, "", row), row);
}

TEST(Penalties, AreOffByDefaultAndWithoutAWindow) {
  EXPECT_FALSE(PenaltyOptions{}.on());
  EXPECT_FALSE((PenaltyOptions{.repeat = 2, .last_n = 0}.on()));
  EXPECT_TRUE(PenaltyOptions{.repeat = 2}.on());
  EXPECT_TRUE(PenaltyOptions{.frequency = -1}.on());
  EXPECT_TRUE(PenaltyOptions{.presence = 1}.on());
  EXPECT_EQ(PenaltyOptions{}.last_n, 64);
  EXPECT_FALSE(DryOptions{}.on());
  EXPECT_FALSE((DryOptions{.multiplier = 1, .last_n = 0}.on()));
  EXPECT_TRUE(DryOptions{.multiplier = 1}.on());
}

TEST(Penalties, StayFinite) {
  EXPECT_EQ(penalized({.repeat = 1e-45f, .last_n = -1}, "ab", {5, -5})[0], kLargest);
  EXPECT_EQ(penalized({.repeat = 3e38f, .last_n = -1}, "a", {-5}), (std::vector<float>{-kLargest}));
  EXPECT_EQ(penalized({.frequency = 3e38f, .presence = 3e38f, .last_n = -1}, "aaa", {-5}),
            (std::vector<float>{-kLargest}));
  EXPECT_EQ(penalized({.presence = -3e38f, .last_n = -1}, "a", {3e38f}), (std::vector<float>{kLargest}));
}

TEST(Dry, CountsRepeatsOfTheEnd) {
  std::vector<int32_t> scratch;
  const std::span<const int32_t> repeats = count_repeats(tokens_of("abccbcyabc"), scratch);
  EXPECT_EQ(std::vector<int32_t>(repeats.begin(), repeats.end()), (std::vector<int32_t>{0, 0, 0, 0, 2, 0, 1, 3, 0, 0}));
}

TEST(Dry, PenalizesWhatWouldContinueARepetition) {
  // "a b c" was followed by c, "c" by b, "b c" by y.
  const std::vector<float> row(26, 0.0f);
  const std::vector<Token> history = tokens_of("abccbcyabc");
  std::vector<float> expected = row;
  expected['c' - 'a'] = -3 * 2.0f;  // three tokens, two allowed: base to the first
  expected['y' - 'a'] = -3;         // two tokens
  EXPECT_EQ(penalized({.multiplier = 3, .base = 2, .allowed_length = 2}, nullptr, history, row), expected);
  expected['b' - 'a'] = -3;
  expected['y' - 'a'] = -3 * 2.0f;
  expected['c' - 'a'] = -3 * 4.0f;
  EXPECT_EQ(penalized({.multiplier = 3, .base = 2, .allowed_length = 1}, nullptr, history, row), expected);
  EXPECT_EQ(penalized({.multiplier = 3, .base = 2, .allowed_length = 4}, nullptr, history, row), row);
}

TEST(Dry, ARepetitionDoesNotReachBackOverABreaker) {
  const std::vector<float> row(26, 0.0f);
  const DryOptions options{.multiplier = 1, .base = 2, .allowed_length = 1};
  const std::vector<Token> history = tokens_of("abcdxabc");
  Runs none({}), b({tokens_of("b")}), c({tokens_of("c")}), ab({tokens_of("ab")}), d({tokens_of("d")});
  EXPECT_EQ(penalized(options, &none, history, row)[3], -4);
  EXPECT_EQ(penalized(options, &b, history, row)[3], -1) << "only c lies behind it";
  EXPECT_EQ(penalized(options, &ab, history, row)[3], -1) << "of two tokens";
  EXPECT_EQ(penalized(options, &c, history, row)[3], 0) << "nothing lies behind it";
  EXPECT_EQ(penalized(options, &d, history, row)[3], 0) << "a breaker itself is always welcome";
}

TEST(Dry, LooksForBreakersNoFurtherThanTheLongestRepetition) {
  Runs runs({tokens_of("z")});
  std::vector<Token> history(5000);
  for (size_t i = 0; i < history.size(); ++i) history[i] = static_cast<Token>(i % 4999);
  penalized({.multiplier = 1, .allowed_length = 1}, &runs, history, std::vector<float>(5000));
  EXPECT_EQ(runs.looked, 2) << "one token, and the one that is penalized";
}

TEST(Dry, LooksAtTheLastTokensOnly) {
  const std::vector<float> row(26, 0.0f);
  const std::vector<Token> history = tokens_of("abcxxxabc");
  EXPECT_LT(penalized({.multiplier = 1, .last_n = 8}, nullptr, history, row)['x' - 'a'], 0);
  EXPECT_EQ(penalized({.multiplier = 1, .last_n = 7}, nullptr, history, row), row) << "only c x … c";
}

TEST(Dry, StaysFinite) {
  const std::vector<Token> history(5000, 0);
  EXPECT_EQ(penalized({.multiplier = 1}, nullptr, history, {2, 1}), (std::vector<float>{-kLargest, 1}));
  EXPECT_EQ(penalized({.multiplier = 1, .base = 1}, nullptr, history, {2, 1}), (std::vector<float>{1, 1}));
  EXPECT_EQ(penalized({.multiplier = 1}, nullptr, history, {-kInfinity, 1}), (std::vector<float>{-kInfinity, 1}));
}

// The definition, in quadratic time: every earlier place is compared with the end.
std::vector<float> dry_formula(const DryOptions& options, Breakers& breakers, const std::vector<Token>& history,
                               std::vector<float> row) {
  const int64_t n = std::ssize(history), first = options.last_n < 0 ? 0 : std::max<int64_t>(0, n - options.last_n);
  int64_t limit = 0;
  while (limit < n - first && !breakers.end_in(std::span(history).first(static_cast<size_t>(n - 1 - limit)),
                                               history[static_cast<size_t>(n - 1 - limit)]))
    ++limit;
  std::map<Token, int64_t> longest;
  for (int64_t place = first + 1; place < n; ++place) {
    int64_t length = 0;
    while (length < limit && place - 1 - length >= first &&
           history[static_cast<size_t>(place - 1 - length)] == history[static_cast<size_t>(n - 1 - length)])
      ++length;
    if (length < options.allowed_length) continue;
    int64_t& known = longest.try_emplace(history[static_cast<size_t>(place)], length).first->second;
    known = std::max(known, length);
  }
  if (limit < options.allowed_length) longest.clear();
  for (const auto& [token, length] : longest)
    if (!breakers.end_in(history, token))
      row[static_cast<size_t>(token)] -= static_cast<float>(
          options.multiplier * std::pow(options.base, static_cast<double>(length - options.allowed_length)));
  return row;
}

TEST(Dry, EqualsItsQuadraticTwinOnRandomHistories) {
  Random random(3);
  const auto below = [&](size_t n) { return size_t{random.below(static_cast<uint32_t>(std::max<size_t>(n, 1)))}; };
  int penalized_rows = 0, broken_rows = 0;
  for (int round = 0; round < 5000; ++round) {
    const size_t letters = 1 + below(4);
    std::vector<Token> history(below(40));
    for (Token& token : history) token = static_cast<Token>(below(letters));
    std::vector<std::vector<Token>> runs(below(3));
    for (std::vector<Token>& run : runs) {
      run.resize(1 + below(3));
      for (Token& token : run) token = static_cast<Token>(below(letters));
    }
    Runs breakers(runs), none({});
    const DryOptions options{.multiplier = 0.8f,
                             .base = 1.5f,
                             .allowed_length = static_cast<int>(below(5)),
                             .last_n = static_cast<int64_t>(below(45)) - 1};
    const std::vector<float> row(5, 1.0f);
    const std::vector<float> expected = dry_formula(options, breakers, history, row);
    const std::vector<float> got = penalized(options, &breakers, history, row);
    for (size_t i = 0; i < row.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], 1e-6 * std::abs(expected[i])) << "round " << round << " token " << i;
    penalized_rows += expected != row ? 1 : 0;
    broken_rows += expected != dry_formula(options, none, history, row) ? 1 : 0;
  }
  EXPECT_GT(penalized_rows, 1000);
  EXPECT_GT(broken_rows, 300);
}

TEST(Dry, RepeatsEqualTheirQuadraticTwin) {
  Random random(4);
  std::vector<int32_t> scratch;
  for (int round = 0; round < 3000; ++round) {
    std::vector<Token> tokens(random.below(60));
    for (Token& token : tokens) token = static_cast<Token>(random.below(1 + static_cast<uint32_t>(round) % 3));
    const std::span<const int32_t> repeats = count_repeats(tokens, scratch);
    ASSERT_EQ(repeats.size(), tokens.size());
    for (size_t k = 1; k < tokens.size(); ++k) {
      const auto end = tokens.rbegin() + static_cast<ptrdiff_t>(k);
      ASSERT_EQ(repeats[k], std::mismatch(end, tokens.rend(), tokens.rbegin()).first - end) << round << " " << k;
    }
  }
}

}  // namespace
}  // namespace facet::runtime
