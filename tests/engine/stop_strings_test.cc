// Stop strings: what is shown, what is held back, and that the cuts of a stream make no difference.
#include "engine/stop_strings.h"

#include <gtest/gtest.h>

namespace facet::engine {
namespace {

struct Outcome {
  std::string shown, match;
  bool operator==(const Outcome&) const = default;
};

// cuts: bit i set where the text is cut behind byte i.
Outcome run(const std::vector<std::string>& strings, std::string_view text, unsigned cuts) {
  StopStrings stop(strings);
  Outcome outcome;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((cuts >> i & 1) == 0 && i + 1 < text.size()) continue;
    outcome.shown += stop.push(text.substr(begin, i + 1 - begin));
    begin = i + 1;
  }
  if (!stop.found()) outcome.shown += stop.finish();
  outcome.match = stop.match();
  return outcome;
}

void expect_at_every_cut(const std::vector<std::string>& strings, std::string_view text, const Outcome& expected) {
  for (unsigned cuts = 0; cuts < 1u << text.size(); ++cuts) {
    const Outcome found = run(strings, text, cuts);
    ASSERT_EQ(found, expected) << text << " cut by " << cuts << ": shown " << found.shown << ", match " << found.match;
  }
}

TEST(StopStrings, EndTheTextBeforeThemAtEveryCut) {
  expect_at_every_cut({"END"}, "abENDcd", {"ab", "END"});
  expect_at_every_cut({"aab"}, "aaaab", {"aa", "aab"});
  expect_at_every_cut({"é"}, "xéy", {"x", "é"});
  expect_at_every_cut({"ab"}, "ab", {"", "ab"});
}

TEST(StopStrings, OfSeveralTheOneThatIsWholeFirstWins) {
  expect_at_every_cut({"cd", "bc"}, "abcd", {"a", "bc"});
  expect_at_every_cut({"abcd", "bc"}, "xabcd", {"xa", "bc"});
  expect_at_every_cut({"abc", "ab"}, "xabc", {"x", "ab"});
}

TEST(StopStrings, OfThoseThatEndTogetherTheLongestWins) {
  expect_at_every_cut({"c", "bc", "abc"}, "xabc", {"x", "abc"});
  expect_at_every_cut({"abc", "bc", "c"}, "xabc", {"x", "abc"});
}

TEST(StopStrings, TextThatOnlyBeginsLikeOneIsShownInTheEnd) {
  expect_at_every_cut({"abc", "bcd"}, "ababcx", {"ab", "abc"});
  expect_at_every_cut({"abx"}, "ababab", {"ababab", ""});
  expect_at_every_cut({}, "abc", {"abc", ""});
}

TEST(StopStrings, HoldBackNoMoreThanMayBecomeOne) {
  StopStrings stop({"stop"});
  EXPECT_EQ(stop.push("go st"), "go ");
  EXPECT_EQ(stop.push("a"), "sta");
  EXPECT_EQ(stop.push("s"), "");
  EXPECT_EQ(stop.finish(), "s");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopStrings, EmptyStringsAreLeftOut) {
  StopStrings stop({""});
  EXPECT_EQ(stop.push("a"), "a");
  EXPECT_FALSE(stop.found());
}

TEST(StopStrings, ShowNothingAfterOneWasFound) {
  StopStrings stop({"!"});
  EXPECT_EQ(stop.push("a!b"), "a");
  EXPECT_EQ(stop.push("c"), "");
  EXPECT_EQ(stop.finish(), "");
  EXPECT_EQ(stop.match(), "!");
}

}  // namespace
}  // namespace facet::engine
