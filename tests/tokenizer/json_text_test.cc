// JsonText against the reader of all other JSON (base/json.h): what both read is the same, and so is what both refuse.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"
#include "tokenizer/json_text.h"

namespace facet::tokenizer {
namespace {

const char* pick(Random& random, const std::vector<const char*>& choices) {
  return choices[random.below(static_cast<uint32_t>(choices.size()))];
}

TEST(JsonText, ReadsTheStringsThatJsonReads) {
  const std::vector<const char*> parts = {"a",
                                          "plain text of some length",
                                          "\"",
                                          "\\\"",
                                          "\\\\",
                                          "\\n",
                                          "\\t\\r\\b\\f",
                                          "\\/",
                                          "é",
                                          "▁世",
                                          "\\u00e9",
                                          "\\u0041",
                                          "\\ud83e\\udd99",
                                          "\\ud83e",
                                          "\\udd99",
                                          "\\u12",
                                          "\\x",
                                          "\\",
                                          "\n",
                                          "\x01"};
  Random random(3);
  size_t read = 0, refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = "\"";
    for (uint32_t n = random.below(6); n > 0; --n) text += pick(random, parts);
    text += "\"";
    JsonText at(text);
    const std::optional<std::string_view> string = at.string();
    const Result<Json> json = Json::parse(text, "text");
    if (json.ok()) {
      ASSERT_EQ(string, *json->string()) << text;
      ++read;
    } else {
      // It may have read a string that ends before the text does.
      ASSERT_TRUE(!string || at.position() < text.size()) << text;
      ++refused;
    }
  }
  EXPECT_GT(read, 1000u);
  EXPECT_GT(refused, 1000u);
}

TEST(JsonText, ReadsIntegersAndNothingElseAsIntegers) {
  for (const auto& [text, value] : {std::pair("0", 0L),
                                    {"-0", 0L},
                                    {"7", 7L},
                                    {" \n\t\r -12,", -12L},
                                    {"262143}", 262143L},
                                    {"9223372036854775807", INT64_MAX},
                                    {"-9223372036854775808", INT64_MIN}}) {
    JsonText at(text);
    EXPECT_EQ(at.integer(), value) << text;
  }
  for (const char* text : {"", "-", "01", "-01", "1.0", "1e3", "1E3", "+1", "x", "\"1\"", "null", "9223372036854775808",
                           "99999999999999999999999"}) {
    JsonText at(text);
    EXPECT_EQ(at.integer(), std::nullopt) << text;
  }
}

// The sum of an array of integers; nullopt where it is none.
std::optional<int64_t> sum(std::string_view text) {
  JsonText at(text);
  int64_t sum = 0;
  if (!at.enter('[')) return std::nullopt;
  while (at.element()) {
    const std::optional<int64_t> value = at.integer();
    if (!value) return std::nullopt;
    sum += *value;
  }
  return at.failed() ? std::nullopt : std::optional(sum);
}

TEST(JsonText, ContainersNeedTheirCommas) {
  EXPECT_EQ(sum("[]"), 0);
  EXPECT_EQ(sum(" [ 1 ,\n2,3 ] "), 6);
  for (const char* text : {"", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,,2]", "{}", "[1}"})
    EXPECT_EQ(sum(text), std::nullopt) << text;

  JsonText at(R"({ "a": 1, "b": {"c": [2]}, "d": 3 })");
  ASSERT_TRUE(at.enter('{'));
  EXPECT_EQ(at.member(), "a");
  EXPECT_EQ(at.integer(), 1);
  EXPECT_EQ(at.member(), "b");
  ASSERT_TRUE(at.enter('{'));
  EXPECT_EQ(at.member(), "c");
  EXPECT_TRUE(at.skip());
  EXPECT_EQ(at.member(), std::nullopt);
  EXPECT_EQ(at.member(), "d");
  EXPECT_EQ(at.integer(), 3);
  EXPECT_EQ(at.member(), std::nullopt);
  EXPECT_FALSE(at.failed());
  for (const char* text : {"{", "{a", "{\"a\"", "{\"a\" 1}", "{1:2}", "{,\"a\":1}"}) {
    JsonText broken(text);
    ASSERT_TRUE(broken.enter('{'));
    EXPECT_EQ(broken.member(), std::nullopt) << text;
    EXPECT_TRUE(broken.failed()) << text;
  }
}

TEST(JsonText, SkipPassesOneValue) {
  for (const std::string value : {"1", "-1.5e3", "null", "true", "\"a\\\"]}\\\\\"", "[]", "{}",
                                  "[[1, 2], {\"a\": \"]\"}]", "{\"a\": [\"}\", {}], \"b\": null}"})
    for (const char* after : {"", ",1", "]", "}", " ,"}) {
      const std::string text = value + after;
      JsonText at(text);
      EXPECT_TRUE(at.skip()) << text;
      EXPECT_EQ(at.position(), value.size()) << text;
    }
  for (const char* text : {"", "[", "{\"a\":", "\"a", "\"a\\", "[\"a\n\"]", "]", "}"}) {
    JsonText at(text);
    EXPECT_FALSE(at.skip()) << text;
  }
}

}  // namespace
}  // namespace facet::tokenizer
