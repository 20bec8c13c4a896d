// The rules of spec/tokenizer.md on small vocabularies: which merge goes first, what is cut out, what bytes become.
#include "tokenizer/small_vocab.h"

#include <algorithm>

namespace facet::tokenizer {
namespace {

using testing::SmallVocab;
using Strings = std::vector<std::string>;

Strings strings(const Tokenizer& tokenizer, std::string_view text, Markers markers = Markers::no) {
  Strings out;
  for (const Token token : tokenizer.encode(text, markers)) out.emplace_back(tokenizer.string(token));
  return out;
}

TEST(Tokenizer, MergesTheBestRankFirstAndTheLeftmostOfEquals) {
  const Tokenizer tokenizer = testing::open(testing::words().gguf());
  EXPECT_EQ(strings(tokenizer, "hello"), Strings{"hello"});
  EXPECT_EQ(strings(tokenizer, "hello wor"), (Strings{"hello", "\xE2\x96\x81wor"}));
  EXPECT_EQ(strings(tokenizer, "lll"), (Strings{"ll", "l"}));
  EXPECT_EQ(strings(tokenizer, "abc"), Strings{"abc"});
  EXPECT_EQ(strings(tokenizer, "aabcc"), (Strings{"a", "abc", "c"}));
}

TEST(Tokenizer, LaterMergesOfAListLose) {
  SmallVocab vocab;
  vocab.add_characters({"a", "b", "c"});
  vocab.merge("b", "c");
  vocab.merge("a", "b");
  EXPECT_EQ(strings(testing::open(vocab.gguf()), "abc"), (Strings{"a", "bc"}));
  EXPECT_EQ(strings(testing::open(vocab.gguf()), "abab"), (Strings{"ab", "ab"}));
}

TEST(Tokenizer, MergesByScoreNeedNoList) {
  SmallVocab vocab;
  vocab.add_characters({"a", "b", "c"});
  const Token ab = vocab.add("ab"), bc = vocab.add("bc");
  vocab.set_score(ab, -9);
  vocab.set_score(bc, -7);
  EXPECT_EQ(strings(testing::open(vocab.gguf(Algorithm::scores)), "abc"), (Strings{"a", "bc"}));
  vocab.set_score(bc, -9);
  EXPECT_EQ(strings(testing::open(vocab.gguf(Algorithm::scores)), "abc"), (Strings{"ab", "c"}))
      << "equal: the left one";
  vocab.set_score(ab, 3);
  vocab.set_score(bc, 0.5);
  EXPECT_EQ(strings(testing::open(vocab.gguf(Algorithm::scores)), "abc"), (Strings{"ab", "c"})) << "positive scores";
}

TEST(Tokenizer, ScoresMergeCharactersThatAreNoTokensThemselves) {
  SmallVocab vocab;
  vocab.add("xy");
  EXPECT_EQ(strings(testing::open(vocab.gguf(Algorithm::scores)), "xyx"), (Strings{"xy", "<0x78>"}));
}

TEST(Tokenizer, TheAlgorithmIsChosenByWhatTheFileHolds) {
  testing::GgufKeys keys = testing::words().gguf();
  keys.set("tokenizer.ggml.model", "llama");
  EXPECT_EQ(strings(testing::open(keys), "abc"), Strings{"abc"});
  keys.set("tokenizer.ggml.pre", "gemma4");
  EXPECT_EQ(strings(testing::open(keys), "hello"), Strings{"hello"});
  keys.erase("tokenizer.ggml.merges");
  EXPECT_FALSE(Tokenizer::from_gguf(keys.metadata(), "test").ok()) << "gemma4 without merges";
}

TEST(Tokenizer, WhatIsInNoTokenBecomesBytes) {
  const Tokenizer tokenizer = testing::open(testing::words().gguf());
  EXPECT_EQ(strings(tokenizer, "aüb"), (Strings{"a", "<0xC3>", "<0xBC>", "b"}));
  EXPECT_EQ(strings(tokenizer, "\xE4\xB8"), (Strings{"<0xE4>", "<0xB8>"})) << "half a character";
  for (int byte = 0x80; byte < 0x100; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "b";
    const std::vector<Token> tokens = tokenizer.encode(text, Markers::no);
    ASSERT_EQ(tokens.size(), 3u);
    EXPECT_EQ(tokenizer.token_class(tokens[1]), TokenClass::byte);
    EXPECT_EQ(tokenizer.decode(tokens), text);
  }
}

TEST(Tokenizer, NothingIsPutInFrontAndNoSpaceIsLost) {
  const Tokenizer tokenizer = testing::open(testing::words().gguf());
  EXPECT_TRUE(tokenizer.encode("", Markers::yes).empty());
  EXPECT_NE(tokenizer.encode("hello", Markers::no), tokenizer.encode(" hello", Markers::no));
  for (size_t n = 1; n < 70; ++n)
    for (const char c : {' ', '\n'}) {
      const std::string run(n, c), text = "a" + run + "b";
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, Markers::no)), text);
    }
}

TEST(Tokenizer, TheSpaceMarkInATextIsASpace) {
  const Tokenizer tokenizer = testing::open(testing::words().gguf());
  EXPECT_EQ(strings(tokenizer, "hello\xE2\x96\x81wor"), (Strings{"hello", "\xE2\x96\x81wor"}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("\xE2\x96\x81", Markers::no)), " ");
}

TEST(Tokenizer, NewlinesThatAreATokenAreThatTokenEvenWithoutMerges) {
  SmallVocab vocab;
  vocab.add_characters({"\n", "a"});
  vocab.add("\n\n\n");
  const Tokenizer tokenizer = testing::open(vocab.gguf());
  EXPECT_EQ(strings(tokenizer, "a\n\n\na"), (Strings{"a", "\n\n\n", "a"}));
  EXPECT_EQ(strings(tokenizer, "\n\n"), (Strings{"\n", "\n"}));
  EXPECT_EQ(strings(tokenizer, "\n\n\n\n"), (Strings{"\n", "\n", "\n", "\n"}));
}

TEST(Tokenizer, NewlinesThatMixWithOtherCharactersAreNotCutOff) {
  SmallVocab vocab;
  vocab.add_characters({"\n", "a"});
  vocab.add("\n\n\n");
  vocab.merge("a", "\n");
  EXPECT_EQ(strings(testing::open(vocab.gguf()), "a\n\n"), (Strings{"a\n", "\n"}));
}

TEST(Tokenizer, ControlTokensAreRecognisedOnlyWhereAllowed) {
  for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
    const Tokenizer tokenizer = testing::open(testing::words().gguf(algorithm));
    const std::string text = "<bos><|turn>hello<turn|><|channel>";
    EXPECT_EQ(strings(tokenizer, text, Markers::yes), (Strings{"<bos>", "<|turn>", "hello", "<turn|>", "<|channel>"}));
    const std::vector<Token> plain = tokenizer.encode(text, Markers::no);
    for (const Token token : plain) EXPECT_NE(tokenizer.token_class(token), TokenClass::marker);
    EXPECT_EQ(tokenizer.decode(plain), text);
  }
}

TEST(Tokenizer, UserDefinedTokensAreAlwaysCutOutLongestFirst) {
  for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
    SmallVocab vocab = testing::words();
    vocab.add("<b>", TokenType::user_defined);
    vocab.add("<b><b>", TokenType::user_defined);
    vocab.add("  ", TokenType::user_defined);  // as GGUF files of Gemma 3 write runs of spaces
    const Tokenizer tokenizer = testing::open(vocab.gguf(algorithm));
    EXPECT_EQ(strings(tokenizer, "a<b>b<b><b><b>"), (Strings{"a", "<b>", "b", "<b><b>", "<b>"}));
    EXPECT_EQ(strings(tokenizer, "  a"), (Strings{"  ", "a"}));
    EXPECT_EQ(strings(tokenizer, "<b"), (Strings{"<0x3C>", "b"}));
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("a  <b>", Markers::no)), "a  <b>") << "they are text, not markers";
  }
}

TEST(Tokenizer, NoMergeCanMakeAMarkerOrAByteToken) {
  SmallVocab vocab;
  vocab.add_characters({"<", "pad>", "0xA", "A>", "<0x4", "1>"});
  vocab.merge("<", "pad>");
  vocab.merge("<0x4", "1>");
  for (const std::string part : {"p", "a", "d", ">", "0", "x", "4", "1"}) vocab.add(part);
  for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
    const Tokenizer tokenizer = testing::open(vocab.gguf(algorithm));
    for (const std::string text : {"<pad>", "<0x41>"}) {
      const std::vector<Token> tokens = tokenizer.encode(text, Markers::no);
      for (const Token token : tokens) EXPECT_EQ(tokenizer.token_class(token), TokenClass::text);
      EXPECT_EQ(tokenizer.decode(tokens), text);
    }
  }
}

TEST(Tokenizer, MarkersShowOnlyWhereAsked) {
  const Tokenizer tokenizer = testing::open(testing::words().gguf());
  const std::vector<Token> tokens = tokenizer.encode("<|turn>hello<turn|>", Markers::yes);
  EXPECT_EQ(tokenizer.decode(tokens), "hello");
  EXPECT_EQ(tokenizer.decode(tokens, Markers::yes), "<|turn>hello<turn|>");
  EXPECT_EQ(tokenizer.piece(*tokenizer.find("<unused0>")), "");
  EXPECT_EQ(tokenizer.piece(-1, Markers::yes), "");
  EXPECT_EQ(tokenizer.piece(static_cast<Token>(tokenizer.size()), Markers::yes), "");
}

TEST(Tokenizer, FindsTokensByTheirOwnString) {
  SmallVocab vocab = testing::words();
  const Token first = vocab.add("dup"), second = vocab.add("dup");
  const Token spaces = vocab.add("  ", TokenType::user_defined);
  const Tokenizer tokenizer = testing::open(vocab.gguf());
  EXPECT_EQ(tokenizer.find("dup"), second) << "the later one";
  EXPECT_EQ(tokenizer.string(first), "dup");
  EXPECT_EQ(tokenizer.find("  "), spaces);
  EXPECT_EQ(tokenizer.string(*tokenizer.find("\xE2\x96\x81\xE2\x96\x81")), "\xE2\x96\x81\xE2\x96\x81");
  EXPECT_EQ(tokenizer.find("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.find(""), std::nullopt);
  for (Token token = 0; token < tokenizer.size(); ++token)
    EXPECT_EQ(tokenizer.find(tokenizer.string(token)), token == first ? second : token);
}

TEST(Tokenizer, RolesComeFromNamesAndFromTheFile) {
  testing::GgufKeys keys = testing::words().gguf();
  keys.set("tokenizer.ggml.add_bos_token", false);
  keys.set("tokenizer.ggml.eot_token_id", uint32_t{5});
  keys.set("tokenizer.chat_template", "{{ messages }}");
  const Tokenizer tokenizer = testing::open(keys);
  EXPECT_TRUE(tokenizer.adds_bos()) << "conversions of Gemma 4 that say false are wrong";
  EXPECT_EQ(std::vector<Token>(tokenizer.end_tokens().begin(), tokenizer.end_tokens().end()),
            (std::vector<Token>{1, 5}));
  EXPECT_EQ(tokenizer.chat_template(), "{{ messages }}");
  EXPECT_EQ(std::vector<Token>(tokenizer.never_sampled().begin(), tokenizer.never_sampled().end()),
            (std::vector<Token>{0, 2, 3, 7}));
  EXPECT_EQ(tokenizer.token_class(7), TokenClass::reserved);
  EXPECT_EQ(tokenizer.token_class(6), TokenClass::marker);

  testing::GgufKeys scored = testing::words().gguf(Algorithm::scores);
  scored.set("tokenizer.ggml.add_bos_token", false);
  EXPECT_FALSE(testing::open(scored).adds_bos());
}

TEST(Tokenizer, BothContainersGiveTheSameTokenizer) {
  SmallVocab vocab = testing::words();
  vocab.add("<b>", TokenType::user_defined);
  const Tokenizer gguf = testing::open(vocab.gguf());
  for (const auto form : {SmallVocab::MergeForm::lines, SmallVocab::MergeForm::pairs}) {
    const Tokenizer json = testing::open(vocab.json(form));
    ASSERT_EQ(json.size(), gguf.size());
    for (Token token = 0; token < gguf.size(); ++token) {
      EXPECT_EQ(json.string(token), gguf.string(token));
      EXPECT_EQ(json.token_class(token), gguf.token_class(token)) << gguf.string(token);
      EXPECT_EQ(json.piece(token), gguf.piece(token));
    }
    for (const std::string text : {"hello   wor\n\nabc世界 <b><|turn><|channel>é\xFF", "<pad><0x41>aabbcc"})
      for (const Markers markers : {Markers::no, Markers::yes})
        EXPECT_EQ(json.encode(text, markers), gguf.encode(text, markers)) << text;
    EXPECT_EQ(json.bos(), gguf.bos());
    EXPECT_EQ(json.adds_bos(), gguf.adds_bos());
    EXPECT_TRUE(std::ranges::equal(json.end_tokens(), gguf.end_tokens()));
    EXPECT_TRUE(std::ranges::equal(json.never_sampled(), gguf.never_sampled()));
  }
}

TEST(Tokenizer, OutlivesTheFileItCameFrom) {
  auto keys = std::make_unique<testing::GgufKeys>(testing::words().gguf());
  keys->set("tokenizer.chat_template", "a template that is too long to be stored in place");
  const Tokenizer tokenizer = testing::open(*keys);
  keys.reset();
  EXPECT_EQ(strings(tokenizer, "hello"), Strings{"hello"});
  EXPECT_EQ(tokenizer.chat_template(), "a template that is too long to be stored in place");
}

}  // namespace
}  // namespace facet::tokenizer
