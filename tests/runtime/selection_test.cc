// Selections over bounds of blocks against their plain definitions: sort everything, take what is asked for.
#include "runtime/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "runtime/loose_logits.h"
#include "runtime/plain_logits.h"
#include "support/special_floats.h"

namespace facet::runtime {
namespace {

using testing::kInfinity;
using testing::kNaN;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  size_t below(size_t n) { return random_.below(static_cast<uint32_t>(n)); }
  float normal() {  // nearly: a sum of uniform numbers
    double sum = 0;
    for (int i = 0; i < 6; ++i) sum += random_.uniform() - 0.5;
    return static_cast<float>(sum * 4);
  }

  // Rows of every kind that a selection could stumble over.
  std::vector<float> row(size_t n) {
    std::vector<float> values(n);
    const size_t kind = below(8);
    const float equal = normal();
    for (size_t i = 0; i < n; ++i) {
      float& x = values[i];
      x = normal();
      if (kind == 1) x = static_cast<float>(below(4));  // ties everywhere
      if (kind == 2) x = equal;
      if (kind == 3) x = static_cast<float>(i);
      if (kind == 4) x = -static_cast<float>(i);
      if (kind == 5) x = i < n / 2 ? 30.0f : x;  // a softcap's ceiling
      if (kind == 6) x *= below(2) == 0 ? 1e37f : 1e-42f;
    }
    if (below(3) == 0)
      for (float& x : values)
        if (below(4) != 0) x = -kInfinity;
    if (below(40) == 0) std::ranges::fill(values, -kInfinity);
    return values;
  }

  TokenSet set(size_t n) {
    TokenSet set(static_cast<size_t>(logit_blocks(static_cast<int64_t>(n))), 0);
    const size_t kind = below(5);
    const size_t one = below(n);
    for (size_t i = 0; i < n; ++i) {
      const bool in = kind == 0   ? true
                      : kind == 1 ? below(2) == 0
                      : kind == 2 ? below(64) == 0
                      : kind == 3 ? i == one
                                  : i / 64 % 2 == 0;  // whole blocks, and none of others
      if (in) set[i / 64] |= uint64_t{1} << (i % 64);
    }
    return set;
  }

 private:
  Random random_;
};

// All of the set above -inf, best first.
std::vector<Candidate> sorted(const std::vector<float>& values, const TokenSet& set) {
  std::vector<Candidate> all;
  for (size_t i = 0; i < values.size(); ++i)
    if ((set[i / 64] >> (i % 64) & 1) != 0 && values[i] > -kInfinity) all.push_back({static_cast<Token>(i), values[i]});
  std::ranges::sort(all, better);
  return all;
}

void expect_same(const std::vector<Candidate>& found, std::span<const Candidate> expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].token, expected[i].token) << "rank " << i;
    ASSERT_EQ(found[i].logit, expected[i].logit) << "rank " << i;
  }
}

// A vocabulary of n: everything that is selected, by definition and by bounds.
void compare(Generator& generator, size_t n) {
  const std::vector<float> values = generator.row(n);
  const TokenSet set = generator.set(n);
  const std::vector<Candidate> all = sorted(values, set);
  LooseLogits loose(values);
  PlainLogits plain(values);
  for (Logits* const logits : {static_cast<Logits*>(&loose), static_cast<Logits*>(&plain)}) {
    ASSERT_FALSE(first_non_finite(*logits));
    std::vector<Candidate> found;
    for (const size_t k : {size_t{0}, size_t{1}, size_t{2}, size_t{40}, size_t{64}, size_t{1000}, n}) {
      SCOPED_TRACE(::testing::Message() << k << " of " << n);
      keep_best(*logits, set, k, found);
      ASSERT_NO_FATAL_FAILURE(expect_same(found, std::span(all).first(std::min(k, all.size()))));
    }
    const std::optional<Candidate> top = best(*logits, set);
    ASSERT_EQ(top.has_value(), !all.empty());
    if (top) {
      ASSERT_EQ(top->token, all.front().token);
      ASSERT_EQ(top->logit, all.front().logit);
    }
    for (const double lowest : {-std::numeric_limits<double>::infinity(), -1.0, 0.5, 30.0}) {
      std::vector<Candidate> expected = all;
      std::erase_if(expected, [&](const Candidate& c) { return static_cast<double>(c.logit) < lowest; });
      std::ranges::sort(expected, {}, &Candidate::token);
      keep_from(*logits, set, lowest, found);
      ASSERT_NO_FATAL_FAILURE(expect_same(found, expected)) << lowest;
    }
  }
}

TEST(Selection, EqualsItsDefinitionOnRowsOfEveryKind) {
  Generator generator(1);
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE(round);
    ASSERT_NO_FATAL_FAILURE(compare(generator, 1 + generator.below(round % 10 == 0 ? 5000 : 700)));
  }
}

TEST(Selection, EqualsItsDefinitionOnAWholeVocabulary) {
  Generator generator(2);
  for (int round = 0; round < 8; ++round) ASSERT_NO_FATAL_FAILURE(compare(generator, 262144));
}

TEST(Selection, LooksAtFewBlocksOfAVocabulary) {
  Generator generator(3);
  std::vector<float> values(262144);
  for (float& x : values) x = generator.normal();
  const TokenSet all(4096, ~uint64_t{0});
  LooseLogits logits(values);
  ASSERT_FALSE(first_non_finite(logits));
  EXPECT_EQ(logits.blocks_looked_at, 0);
  ASSERT_TRUE(best(logits, all));
  EXPECT_LE(logits.blocks_looked_at, 4);
  logits.blocks_looked_at = 0;
  std::vector<Candidate> found;
  keep_best(logits, all, 64, found);
  EXPECT_LE(logits.blocks_looked_at, 100);
  EXPECT_FALSE(logits.looked_at_all);
}

TEST(Selection, FindsTheFirstThatIsNotFinite) {
  Generator generator(4);
  for (int round = 0; round < 2000; ++round) {
    std::vector<float> values = generator.row(1 + generator.below(700));
    const size_t at = generator.below(values.size());
    for (size_t i = at; i < values.size(); i += 1 + generator.below(200))
      values[i] = generator.below(2) == 0 ? kNaN : kInfinity;
    const bool is_nan = std::isnan(values[at]);
    LooseLogits loose(values);
    PlainLogits plain(values);
    for (Logits* const logits : {static_cast<Logits*>(&loose), static_cast<Logits*>(&plain)}) {
      const std::optional<Candidate> bad = first_non_finite(*logits);
      ASSERT_TRUE(bad);
      ASSERT_EQ(bad->token, static_cast<Token>(at));
      ASSERT_EQ(std::isnan(bad->logit), is_nan);
    }
  }
}

}  // namespace
}  // namespace facet::runtime
