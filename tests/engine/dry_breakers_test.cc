#include "engine/dry_breakers.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/expect.h"

namespace facet::engine {
namespace {

const std::vector<std::string> kPieces = {
    "a", "b", ":", "\n", "ab", "b:", ":\n\n", "", "a\nb", "xab:yz", "\xE2\x96", "\x81"};
std::string_view piece_of(Token token) { return kPieces[static_cast<size_t>(token)]; }

bool ends(std::vector<std::string> texts, std::vector<Token> tokens) {
  const Token token = tokens.back();
  tokens.pop_back();
  return DryBreakers(std::move(texts), piece_of).end_in(tokens, token);
}

TEST(DryBreakers, AreFoundInsideTokens) {
  EXPECT_TRUE(ends({":"}, {0, 2}));
  EXPECT_TRUE(ends({":"}, {5}));
  EXPECT_TRUE(ends({"\n"}, {6})) << "with something around it";
  EXPECT_TRUE(ends({"ab:"}, {9}));
  EXPECT_FALSE(ends({":"}, {2, 0})) << "ended before";
  EXPECT_FALSE(ends({}, {2}));
}

TEST(DryBreakers, AreFoundAcrossTokens) {
  EXPECT_TRUE(ends({"aab"}, {0, 4}));
  EXPECT_TRUE(ends({"ab:\n"}, {0, 5, 3}));
  EXPECT_TRUE(ends({"ab:\n"}, {9, 8, 0, 1, 6}));
  EXPECT_FALSE(ends({"ab:\n"}, {0, 5, 3, 3}));
  EXPECT_FALSE(ends({"ab"}, {0, 1, 0}));
  EXPECT_TRUE(ends({"\xE2\x96\x81"}, {10, 11})) << "bytes, not characters";
}

TEST(DryBreakers, AnyOfThemCounts) {
  EXPECT_TRUE(ends({"z", "b:", "q"}, {0, 1, 2}));
  EXPECT_TRUE(ends({"bbbbbbbbbbbbb", "b"}, {0, 1}));
}

// A text that ends in the last token ends in the whole text behind all but that token's bytes.
TEST(DryBreakers, AgreeWithTheWholeText) {
  Random random(5);
  int found = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<Token> tokens(1 + random.below(6));
    for (Token& token : tokens) {
      token = static_cast<Token>(random.below(static_cast<uint32_t>(kPieces.size())));
      if (piece_of(token).empty()) token = 0;
    }
    std::string text(1 + random.below(4), 'a');
    for (char& c : text) c = "ab:\n"[random.below(4)];
    std::string whole;
    for (const Token token : tokens) whole += piece_of(token);
    const size_t before = whole.size() - piece_of(tokens.back()).size();
    bool expected = false;
    for (size_t place = 0; place + text.size() <= whole.size(); ++place)
      expected = expected || (whole.compare(place, text.size(), text) == 0 && place + text.size() > before);
    ASSERT_EQ(ends({text}, tokens), expected) << whole << " " << text;
    found += expected ? 1 : 0;
  }
  EXPECT_GT(found, 1000);
}

TEST(DryBreakers, EmptyAndHugeOnesAreRefused) {
  const auto refused = [](std::vector<std::string> texts) {
    const Result<void> checked = check_dry_breakers(texts);
    return !checked.ok() && checked.error().code == ErrorCode::invalid_argument &&
           checked.error().where == "dry_sequence_breakers";
  };
  EXPECT_OK(check_dry_breakers({}));
  const std::vector<std::string> longest = {std::string(kDryBreakerBytesMax, 'x')};
  EXPECT_OK(check_dry_breakers(longest));
  EXPECT_TRUE(refused({"a", ""}));
  EXPECT_TRUE(refused({std::string(kDryBreakerBytesMax + 1, 'x')}));
  EXPECT_TRUE(refused(std::vector<std::string>(kDryBreakersMax + 1, "x")));
}

}  // namespace
}  // namespace facet::engine
