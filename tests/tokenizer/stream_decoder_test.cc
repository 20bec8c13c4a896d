// The stream decoder: whole characters only, whatever the tokens cut; and decode(encode(text)) == text.
#include "base/random.h"
#include "base/utf8.h"
#include "tokenizer/small_vocab.h"

namespace facet::tokenizer {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer tokenizer = testing::open(testing::words().gguf());
  return tokenizer;
}

const Tokenizer& scored() {
  static const Tokenizer tokenizer = testing::open(testing::words().gguf(Algorithm::scores));
  return tokenizer;
}

// Text as byte tokens only.
std::vector<Token> bytes_of(std::string_view text) {
  std::vector<Token> tokens;
  for (const char byte : text) tokens.push_back(8 + static_cast<unsigned char>(byte));
  return tokens;
}

TEST(StreamDecoder, NeverShowsHalfACharacter) {
  const std::string text = "aé世🦙b\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9 z";
  StreamDecoder decoder(tokenizer());
  std::string shown;
  for (const Token token : bytes_of(text)) {
    const std::string part = decoder.push(token);
    EXPECT_TRUE(utf8_valid(part));
    shown += part;
    EXPECT_TRUE(text.starts_with(shown));
  }
  EXPECT_EQ(decoder.finish(), "");
  EXPECT_EQ(shown, text);
}

TEST(StreamDecoder, EveryCutOfAnyBytesGivesTheRepairedText) {
  Random random(4);
  const std::string pieces[] = {"a", "é", "世", "🦙", "\xC3", "\xE4\xB8", "\xF0\x9F\xA6", "\x80", "\xFF", "\xED\xA0"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = 0; i < 6; ++i) text += pieces[random.below(std::size(pieces))];
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      // Everything before the cut as the tokens of the encoder, the rest as bytes.
      std::vector<Token> tokens = tokenizer().encode(text.substr(0, cut), Markers::no);
      for (const Token token : bytes_of(text.substr(cut))) tokens.push_back(token);
      StreamDecoder decoder(tokenizer());
      std::string shown;
      for (const Token token : tokens) {
        shown += decoder.push(token);
        ASSERT_TRUE(utf8_valid(shown));
      }
      shown += decoder.finish();
      ASSERT_EQ(shown, utf8_repair(text));
      ASSERT_EQ(decoder.finish(), "");
    }
  }
}

TEST(StreamDecoder, InvalidBytesAppearAsSoonAsTheyCannotBecomeACharacter) {
  StreamDecoder decoder(tokenizer());
  EXPECT_EQ(decoder.push(bytes_of("\xE4")[0]), "");
  EXPECT_EQ(decoder.push(bytes_of("\xB8")[0]), "");
  EXPECT_EQ(decoder.push(*tokenizer().find("a")),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoder.push(bytes_of("\x80")[0]), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.push(bytes_of("\xF0")[0]), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

TEST(StreamDecoder, MarkersAreTextOnlyWhereAsked) {
  const Token turn = *tokenizer().find("<|turn>");
  EXPECT_EQ(StreamDecoder(tokenizer()).push(turn), "");
  EXPECT_EQ(StreamDecoder(tokenizer(), Markers::yes).push(turn), "<|turn>");
  EXPECT_EQ(StreamDecoder(tokenizer()).push(-7), "");
}

TEST(StreamDecoder, TheFirstSpaceStays) {
  StreamDecoder decoder(tokenizer());
  EXPECT_EQ(decoder.push(*tokenizer().find("\xE2\x96\x81wor")), " wor");
}

TEST(RoundTrip, DecodeGivesBackWhatWasEncoded) {
  Random random(5);
  const std::string pieces[] = {"a", "b",    " ",       "  ",     "\n", "hello", "世界",
                                "é", "🦙", "<|turn>", "<0x41>", "\t", "\r\n"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    const uint32_t length = random.below(40);
    for (uint32_t i = 0; i < length; ++i)
      text += random.below(8) == 0 ? std::string(1, static_cast<char>(random.below(256)))
                                   : pieces[random.below(std::size(pieces))];
    std::string expected = text;
    for (size_t mark; (mark = expected.find("\xE2\x96\x81")) != expected.npos;) expected.replace(mark, 3, " ");
    for (const Tokenizer* each : {&tokenizer(), &scored()}) {
      ASSERT_EQ(each->decode(each->encode(text, Markers::no)), expected);
      ASSERT_EQ(each->decode(each->encode(text, Markers::yes), Markers::yes), expected);
    }
  }
}

// Repeated words are copied from where they stood first; the tokens must not depend on what came before.
TEST(RoundTrip, ALongTextIsTheSumOfItsLines) {
  Random random(6);
  for (const Tokenizer* each : {&tokenizer(), &scored()}) {
    std::string text;
    std::vector<Token> expected;
    for (int line = 0; line < 400; ++line) {
      std::string words = "\n";
      for (int i = 0; i < 9; ++i)
        words += std::string(" ") + (random.below(2) == 0 ? "hello" : "wor") + static_cast<char>('a' + random.below(5));
      text += words;
      each->encode(words, Markers::no, expected);
    }
    EXPECT_EQ(each->encode(text, Markers::no), expected);
    std::vector<Token> appended = {1, 2, 3};
    each->encode(text, Markers::no, appended);
    expected.insert(expected.begin(), {1, 2, 3});
    EXPECT_EQ(appended, expected) << "what was in the list before stays";
  }
}

}  // namespace
}  // namespace facet::tokenizer
