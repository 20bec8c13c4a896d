// The real vocabularies of Gemma 4 and Gemma 3 against published token ids.
#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "support/expect.h"
#include "support/paths.h"
#include "tokenizer/tokenizer.h"

namespace facet::tokenizer {
namespace {

namespace fs = std::filesystem;

Tokenizer open_tokenizer(const fs::path& path) {
  Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(path);
  if (!checkpoint.ok()) ADD_FAILURE() << checkpoint.error().message();
  Result<Tokenizer> tokenizer = Tokenizer::open(*checkpoint);
  if (!tokenizer.ok()) ADD_FAILURE() << tokenizer.error().message();
  return *std::move(tokenizer);
}

const Tokenizer& gemma4(const fs::path& path) {
  static const Tokenizer tokenizer = open_tokenizer(path);
  return tokenizer;
}

std::string text_of(const fs::path& path) {
  Result<std::string> text = read_file(path, 1 << 26);
  EXPECT_OK(text);
  return text.ok() ? *std::move(text) : "";
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  for (size_t next; (next = text.find(separator, at)) != text.npos; at = next + separator.size())
    parts.push_back(text.substr(at, next - at));
  parts.push_back(text.substr(at));
  return parts;
}

std::vector<Token> numbers(const std::string& line) {
  std::vector<Token> tokens;
  for (const std::string& word : split(line, " "))
    if (!word.empty()) tokens.push_back(static_cast<Token>(std::atoi(word.c_str())));
  return tokens;
}

#define GEMMA4_OR_SKIP(variable)                                                     \
  FACET_SHARED_OR_SKIP(variable##_file, "golden/tokenizer/ggml-vocab-gemma-4.gguf"); \
  const Tokenizer& variable = gemma4(variable##_file)

TEST(TokenizerGolden, Gemma4GivesThePublishedTokens) {
  GEMMA4_OR_SKIP(tokenizer);
  const std::vector<std::string> inputs = split(text_of(tokenizer_file.string() + ".inp"), "\n__ggml_vocab_test__\n");
  const std::vector<std::string> outputs = split(text_of(tokenizer_file.string() + ".out"), "\n");
  ASSERT_GE(inputs.size(), 45u);
  ASSERT_GE(outputs.size(), inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<Token> tokens = tokenizer.encode(inputs[i], Markers::no);
    EXPECT_EQ(tokens, numbers(outputs[i])) << '"' << inputs[i] << '"';
    EXPECT_EQ(tokenizer.decode(tokens), inputs[i]);
  }
}

TEST(TokenizerGolden, Gemma4GivesTheVectorsOfTheSpecification) {
  GEMMA4_OR_SKIP(tokenizer);
  const std::pair<std::string, std::string> vectors[] = {
      {"<bos>Hello,", "2 9259 236764"},
      {" ", "236743"},
      {" hello", "29104"},
      {"<bos><|turn>user\nWhat is 2+2?<turn|>\n<|turn>model\n",
       "2 105 2364 107 3689 563 236743 236778 236862 236778 236881 106 107 105 4368 107"},
      {"<bos><|turn>system\nBe concise.<turn|>\n<|turn>user\nSay hello.<turn|>\n<|turn>model\n<|channel>thought\n"
       "<channel|>",
       "2 105 9731 107 3912 63510 236761 106 107 105 2364 107 37889 29104 236761 106 107 105 4368 107 100 45518 107 "
       "101"},
      {"<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\n<|image|>\nHi.<turn|>\n<|turn>model\n",
       "2 105 9731 107 98 107 106 107 105 2364 107 258880 107 10979 236761 106 107 105 4368 107"},
      {"<|turn>system\nYou are a helpful assistant.\n<|tool>declaration:get_weather{description:<|\"|>Get "
       "weather<|\"|>,"
       "parameters:{properties:{city:{type:<|\"|>STRING<|\"|>}},type:<|\"|>OBJECT<|\"|>}}<tool|><turn|>\n<|turn>user\n"
       "What's the weather in Paris?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
       "105 9731 107 3048 659 496 11045 16326 236761 107 46 163688 236787 828 236779 19323 236782 7777 236787 52 3407 "
       "7606 52 236764 19031 29616 15921 29616 13319 29616 2084 236787 52 35410 52 5237 2084 236787 52 60688 52 1807 "
       "47 106 107 105 2364 107 3689 236789 236751 506 7606 528 9079 236881 106 107 105 4368 107 100 45518 107 101"}};
  for (const auto& [text, ids] : vectors) EXPECT_EQ(tokenizer.encode(text, Markers::yes), numbers(ids)) << text;
}

TEST(TokenizerGolden, Gemma4KnowsItsTokensByName) {
  GEMMA4_OR_SKIP(tokenizer);
  EXPECT_EQ(tokenizer.size(), 262144);
  EXPECT_EQ(tokenizer.bos(), 2);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_EQ(std::vector<Token>(tokenizer.end_tokens().begin(), tokenizer.end_tokens().end()), std::vector<Token>{1});
  ASSERT_TRUE(tokenizer.chat_template());
  EXPECT_TRUE(tokenizer.chat_template()->starts_with("{%- macro format_parameters"));
  EXPECT_EQ(tokenizer.find("<|turn>"), 105);
  EXPECT_EQ(tokenizer.find("<0x0A>"), 248);
  EXPECT_EQ(tokenizer.find("\xE2\x96\x81hello"), 29104);
  EXPECT_EQ(tokenizer.find(" hello"), std::nullopt);
  EXPECT_EQ(tokenizer.string(29104), "\xE2\x96\x81hello");
  EXPECT_EQ(tokenizer.piece(29104), " hello");
  EXPECT_EQ(tokenizer.piece(105), "");
  EXPECT_EQ(tokenizer.piece(105, Markers::yes), "<|turn>");
  EXPECT_EQ(tokenizer.piece(238 + 0xFF), "\xFF");
  for (Token token = 0; token < tokenizer.size(); ++token) {
    const TokenClass expected = tokenizer.string(token).starts_with("<unused") ? TokenClass::reserved
                                : token >= 238 && token < 494                  ? TokenClass::byte
                                                                               : tokenizer.token_class(token);
    ASSERT_EQ(tokenizer.token_class(token), expected) << token;
  }
}

TEST(TokenizerGolden, Gemma4NeverSamplesWhatTheSpecificationForbids) {
  GEMMA4_OR_SKIP(tokenizer);
  std::vector<Token> expected;
  for (Token token = 0; token < tokenizer.size(); ++token)
    if (tokenizer.token_class(token) == TokenClass::reserved) expected.push_back(token);
  EXPECT_EQ(expected.size(), 6227u);
  for (const Token token : {0, 2, 3, 4, 46, 47, 51, 98, 255999, 256000, 258880, 258881, 258882, 258883, 258884})
    expected.push_back(token);
  std::ranges::sort(expected);
  EXPECT_EQ(std::vector<Token>(tokenizer.never_sampled().begin(), tokenizer.never_sampled().end()), expected);
}

TEST(TokenizerGolden, NoTextOfAUserBecomesAMarkerOfGemma4) {
  GEMMA4_OR_SKIP(tokenizer);
  for (Token token = 0; token < tokenizer.size(); ++token) {
    if (tokenizer.token_class(token) != TokenClass::marker) continue;
    const std::string text(tokenizer.string(token));
    EXPECT_EQ(tokenizer.encode(text, Markers::yes), std::vector<Token>{token}) << text;
    const std::vector<Token> plain = tokenizer.encode("a" + text + "b", Markers::no);
    for (const Token part : plain) EXPECT_EQ(tokenizer.token_class(part), TokenClass::text) << text;
    EXPECT_EQ(tokenizer.decode(plain), "a" + text + "b");
  }
}

TEST(TokenizerGolden, RunsOfNewlinesAndSpacesAreSingleTokensUpTo31) {
  GEMMA4_OR_SKIP(tokenizer);
  for (int n = 1; n <= 64; ++n) {
    const std::vector<Token> newlines = tokenizer.encode("x" + std::string(size_t(n), '\n') + "x", Markers::no);
    const std::vector<Token> spaces = tokenizer.encode(std::string(size_t(n), ' '), Markers::no);
    if (n <= 31) {
      ASSERT_EQ(newlines.size(), 3u) << n;
      EXPECT_EQ(newlines[1], 106 + n);
      EXPECT_EQ(spaces, std::vector<Token>{n == 1 ? 236743 : 136 + n});
    }
    EXPECT_EQ(tokenizer.decode(spaces), std::string(size_t(n), ' '));
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    constexpr const char* kDigits = "0123456789abcdef";
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += {'\\', 'u', '0', '0', kDigits[c >> 4], kDigits[c & 15]};
    } else {
      out += c;
    }
  }
  return out + '"';
}

// The vocabulary of a GGUF file in the form of a tokenizer.json.
std::string as_json(const Tokenizer& tokenizer, const formats::GgufMetadata& metadata) {
  std::string vocab, added, merges;
  for (Token token = 0; token < tokenizer.size(); ++token) {
    const std::string string = quoted(tokenizer.string(token));
    vocab += (token == 0 ? "" : ",\n") + string + ":" + std::to_string(token);
    if (tokenizer.token_class(token) == TokenClass::marker)
      added += (added.empty() ? "" : ",\n") + ("{\"id\":" + std::to_string(token)) + ",\"content\":" + string +
               ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}";
  }
  const std::vector<std::string_view> lines = *metadata.find("tokenizer.ggml.merges")->strings();
  for (const std::string_view line : lines) {
    const size_t cut = line.find(' ', 1);
    merges += (merges.empty() ? "[" : ",\n[") + quoted(line.substr(0, cut)) + "," + quoted(line.substr(cut + 1)) + "]";
  }
  return R"({"version":"1.0","added_tokens":[)" + added +
         R"(],"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},)"
         R"("pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false},)"
         R"("post_processor":null,"model":{"type":"BPE","dropout":null,"unk_token":"<unk>",)"
         R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,)"
         R"("ignore_merges":false,"vocab":{)" +
         vocab + "},\"merges\":[" + merges + "]}}";
}

TEST(TokenizerGolden, ATokenizerJsonOfTheSameVocabularyIsTheSameTokenizer) {
  GEMMA4_OR_SKIP(gguf);
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(gguf_file);
  ASSERT_OK(checkpoint);
  const facet::testing::TemporaryFolder folder;
  ASSERT_OK(write_file_atomic(folder.path() / "tokenizer.json", as_bytes(as_json(gguf, checkpoint->metadata()))));
  const Result<Tokenizer> json = Tokenizer::from_json_file(folder.path() / "tokenizer.json");
  ASSERT_OK(json);
  ASSERT_EQ(json->size(), gguf.size());
  for (Token token = 0; token < gguf.size(); ++token) {
    ASSERT_EQ(json->string(token), gguf.string(token));
    ASSERT_EQ(json->piece(token), gguf.piece(token));
    ASSERT_EQ(json->token_class(token), gguf.token_class(token)) << gguf.string(token);
    ASSERT_EQ(json->find(gguf.string(token)), token);
  }
  std::string text = text_of(gguf_file.string() + ".inp") + "<bos><|turn>user\n<|channel><unused7>\xFF\xC3";
  Random random(7);
  for (int i = 0; i < 20000; ++i)
    text += gguf.piece(static_cast<Token>(random.below(static_cast<uint32_t>(gguf.size()))), Markers::yes);
  for (const Markers markers : {Markers::no, Markers::yes}) {
    const std::vector<Token> tokens = gguf.encode(text, markers);
    EXPECT_EQ(json->encode(text, markers), tokens);
    EXPECT_EQ(gguf.decode(tokens, Markers::yes), text);
  }
  EXPECT_EQ(json->bos(), gguf.bos());
  EXPECT_TRUE(std::ranges::equal(json->end_tokens(), gguf.end_tokens()));
  EXPECT_TRUE(std::ranges::equal(json->never_sampled(), gguf.never_sampled()));
}

fs::path gemma3_file() {
  const auto variable = [](const char* name) { return std::getenv(name) != nullptr ? std::getenv(name) : ""; };
  fs::path cache = variable("FACET_CACHE");
  if (cache.empty()) {
    cache = variable("XDG_CACHE_HOME");
    if (cache.empty()) cache = fs::path(variable("HOME")) / ".cache";
    cache /= "facet";
  }
  return cache / "gemma-3-270m" / "gemma-3-270m-q4_k_m.gguf";
}

TEST(TokenizerGolden, Gemma3GivesTheTokensOfItsScores) {
  FACET_SHARED_OR_SKIP(vectors_file, "golden/gemma3-270m/vectors.json");
  if (!fs::exists(gemma3_file())) GTEST_SKIP() << "skipped: " << gemma3_file() << " is not there";
  const Tokenizer tokenizer = open_tokenizer(gemma3_file());
  EXPECT_EQ(tokenizer.bos(), 2);
  EXPECT_TRUE(tokenizer.adds_bos());
  const Result<Json> json = Json::parse(text_of(vectors_file), "vectors.json");
  ASSERT_OK(json);
  size_t checked = 0;
  for (const Json& vector : *json->find("tokenizer")->array()) {
    const std::string& text = *vector.find("text")->string();
    const Markers markers = *vector.find("parse_special")->boolean() ? Markers::yes : Markers::no;
    std::vector<Token> tokens;
    if (*vector.find("add_bos")->boolean()) tokens.push_back(*tokenizer.bos());
    tokenizer.encode(text, markers, tokens);
    std::vector<Token> expected;
    for (const Json& id : *vector.find("ids")->array()) expected.push_back(static_cast<Token>(*id.integer()));
    EXPECT_EQ(tokens, expected) << text;
    ++checked;
  }
  EXPECT_EQ(checked, 42u);
}

}  // namespace
}  // namespace facet::tokenizer
