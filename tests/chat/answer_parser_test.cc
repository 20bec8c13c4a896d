#include <random>

#include "chat/chat_format.h"
#include "support/chat_vocab.h"

namespace facet::chat {
namespace {

using facet::testing::chat_tokenizer;
using tokenizer::Markers;
using tokenizer::Tokenizer;
using Piece = AnswerParser::Piece;

const Tokenizer& vocabulary() {
  static const Tokenizer tokenizer = chat_tokenizer();
  return tokenizer;
}

struct Split {
  std::string text, thought;
  bool operator==(const Split&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Split& s) {
  return out << "text \"" << s.text << "\", thought \"" << s.thought << "\"";
}

Split parse(std::span<const Token> tokens, Style style = Style::gemma4_small) {
  const Result<ChatFormat> format = ChatFormat::of(style, vocabulary());
  AnswerParser parser(*format, vocabulary());
  Split all;
  const auto add = [&](const Piece& piece) {
    all.text += piece.text;
    all.thought += piece.thought;
  };
  for (const Token token : tokens) add(parser.push(token));
  add(parser.finish());
  return all;
}

// Markers become tokens; the text between them becomes whatever pieces the vocabulary has.
std::vector<Token> tokens_of(std::string_view answer) { return vocabulary().encode(answer, Markers::yes); }

// The same answer with every text cut into single bytes.
std::vector<Token> bytes_of(std::string_view answer) {
  std::vector<Token> out;
  for (const Token token : tokens_of(answer)) {
    if (vocabulary().token_class(token) == tokenizer::TokenClass::marker) {
      out.push_back(token);
      continue;
    }
    for (const char c : vocabulary().piece(token)) {
      constexpr const char* kDigits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out.push_back(*vocabulary().find(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">"));
    }
  }
  return out;
}

void expect_split(std::string_view answer, const Split& expected) {
  EXPECT_EQ(parse(tokens_of(answer)), expected) << answer;
  EXPECT_EQ(parse(bytes_of(answer)), expected) << answer << ", byte by byte";
}

TEST(AnswerParser, SplitsThoughtFromText) {
  expect_split("Hello.", {"Hello.", ""});
  expect_split("<|channel>thought\nadd them\n<channel|>4", {"4", "add them"});
  expect_split("<|channel>thought\n<channel|>4", {"4", ""});
  expect_split("<|channel><channel|>4", {"4", ""});
  expect_split("a<|channel>thought\nx<channel|>b<|channel>thought\ny<channel|>c", {"abc", "xy"});
  expect_split("", {"", ""});
}

TEST(AnswerParser, DropsWhiteSpaceAroundTextAndBehindThoughts) {
  expect_split(" \n Hello \xC2\xA0there\n\n ", {"Hello \xC2\xA0there", ""});
  expect_split("<|channel>thought\n  a\n b \n\n<channel|>\n\nc\n", {"c", "  a\n b"});
  expect_split("a \n<|channel>thought\nx<channel|> b", {"a \nb", "x"});
}

TEST(AnswerParser, AChannelThatIsNeverClosedIsThought) {
  expect_split("<|channel>thought\nand so on", {"", "and so on"});
  expect_split("<|channel>thought", {"", ""});
  expect_split("<|channel>tho", {"", ""});
  expect_split("<|channel>", {"", ""});
}

TEST(AnswerParser, AClosingMarkerWithoutAnOpenOneVanishes) {
  expect_split("a<channel|> b", {"a b", ""});
  expect_split("<channel|>a", {"a", ""});
}

TEST(AnswerParser, AThoughtInAThoughtIsOneThought) {
  expect_split("<|channel>thought\na<|channel>thought\nb<channel|>c", {"c", "ab"});
}

TEST(AnswerParser, OtherChannelNames) {
  expect_split("<|channel>final\nx<channel|>", {"x", ""});
  expect_split("<|channel>answer\n x", {"x", ""});
  expect_split("<|channel>thoughtful, and without a name<channel|>x", {"x", "thoughtful, and without a name"});
  expect_split("<|channel>thinking\nx<channel|>y", {"y", "thinking\nx"});
}

TEST(AnswerParser, MarkersSpelledAsTextAreText) {
  const std::string spelled = "use <|channel>thought\n and <channel|>";
  EXPECT_EQ(parse(vocabulary().encode(spelled, Markers::no)), (Split{spelled, ""}));
}

TEST(AnswerParser, OtherMarkersAreSwallowed) { expect_split("a<|think|>b<|tool_response>c<turn|>", {"abc", ""}); }

TEST(AnswerParser, ACharacterIsNeverSplit) {
  const Result<ChatFormat> format = ChatFormat::of(Style::gemma4_small, vocabulary());
  AnswerParser parser(*format, vocabulary());
  const std::vector<Token> bytes = bytes_of("x界");
  ASSERT_EQ(bytes.size(), 4u);
  EXPECT_EQ(parser.push(bytes[0]).text, "x");
  EXPECT_EQ(parser.push(bytes[1]).text, "");
  EXPECT_EQ(parser.push(bytes[2]).text, "");
  EXPECT_EQ(parser.push(bytes[3]).text, "界");
  parser.push(bytes[1]);
  EXPECT_EQ(parser.push(*vocabulary().find("<|channel>")).text, "\xEF\xBF\xBD") << "a marker ends it";
}

TEST(AnswerParser, TextComesAsSoonAsItIsKnown) {
  const Result<ChatFormat> format = ChatFormat::of(Style::gemma4_small, vocabulary());
  AnswerParser parser(*format, vocabulary());
  std::string log;
  for (const Token token : bytes_of(" hi you\n\n.")) log += "[" + parser.push(token).text + "]";
  EXPECT_EQ(log, "[][h][i][][ y][o][u][][][\n\n.]");
}

TEST(AnswerParser, Gemma3HasNoChannels) {
  EXPECT_EQ(parse(tokens_of("a<|channel>thought\nb<channel|>c"), Style::gemma3), (Split{"athought\nbc", ""}));
}

TEST(AnswerParser, EveryCutOfRandomAnswersGivesTheSame) {
  std::mt19937 random(11);
  const char* parts[] = {"<|channel>", "<channel|>", "thought", "thought\n", "\n", " ",
                         "é",          "界",         "final\n", "th",        "x"};
  for (int round = 0; round < 2000; ++round) {
    std::string answer;
    for (int i = 0; i < 8; ++i) answer += parts[random() % std::size(parts)];
    ASSERT_EQ(parse(tokens_of(answer)), parse(bytes_of(answer))) << answer;
  }
}

}  // namespace
}  // namespace facet::chat
