// Vocabularies that lie: every key missing, of another type, of another length; merges and scores that make no sense;
// every kind of tokenizer.json that is not Gemma's. An Error that says what and where, never a crash.
#include <algorithm>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>

#include "support/paths.h"
#include "tokenizer/small_vocab.h"
#include "tokenizer/text_hash.h"

namespace facet::tokenizer {
namespace {

using testing::GgufKeys;
using testing::SmallVocab;

const std::vector<std::string> kNeeded = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type"};

// "" if it can be read.
std::string gguf_error(const GgufKeys& keys) {
  const formats::GgufMetadata metadata = keys.metadata();
  const Result<Tokenizer> tokenizer = Tokenizer::from_gguf(metadata, "test.gguf");
  if (tokenizer.ok()) return "";
  EXPECT_TRUE(tokenizer.error().code == ErrorCode::corrupt || tokenizer.error().code == ErrorCode::unsupported)
      << tokenizer.error().message();
  return tokenizer.error().message();
}

std::string json_error(const Json& json) {
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(json.dump(), "tokenizer.json");
  if (tokenizer.ok()) return "";
  EXPECT_TRUE(tokenizer.error().message().starts_with("tokenizer.json: ")) << tokenizer.error().message();
  return tokenizer.error().message();
}

using ::testing::HasSubstr;

TEST(HostileGguf, AFileWithoutATokenizerIsNotFound) {
  const Result<Tokenizer> tokenizer = Tokenizer::from_gguf(GgufKeys().metadata(), "test.gguf");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.error().code, ErrorCode::not_found);
}

TEST(HostileGguf, EveryNeededKeyIsMissedAndItsTypeIsChecked) {
  for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
    const GgufKeys good = testing::words().gguf(algorithm);
    ASSERT_EQ(gguf_error(good), "");
    std::vector<std::string> needed = kNeeded;
    needed.emplace_back(algorithm == Algorithm::scores ? "tokenizer.ggml.scores" : "tokenizer.ggml.merges");
    for (const std::string& key : needed) {
      GgufKeys keys = good;
      keys.erase(key);
      EXPECT_NE(gguf_error(keys), "") << key;
      keys.set(key, true);
      EXPECT_THAT(gguf_error(keys), HasSubstr("wrong type")) << key;
      keys.set(key, std::vector<std::string>{"a"});
      EXPECT_NE(gguf_error(keys), "") << key << " of another element type or length";
      keys.set(key, std::vector<float>{1, 2});
      EXPECT_NE(gguf_error(keys), "") << key;
    }
  }
}

TEST(HostileGguf, FilesMaySayThatTheyHaveNone) {
  for (const char* model : {"none", "no_vocab"}) {
    GgufKeys keys = testing::words().gguf();
    keys.set("tokenizer.ggml.model", model);
    const Result<Tokenizer> tokenizer = Tokenizer::from_gguf(keys.metadata(), "test");
    ASSERT_FALSE(tokenizer.ok());
    EXPECT_EQ(tokenizer.error().code, ErrorCode::not_found) << model;
  }
}

TEST(HostileGguf, OtherKindsAreUnsupported) {
  for (const char* model : {"gpt2", "bert", "t5", ""}) {
    GgufKeys keys = testing::words().gguf();
    keys.set("tokenizer.ggml.model", model);
    EXPECT_THAT(gguf_error(keys), HasSubstr("another kind")) << model;
  }
  GgufKeys keys = testing::words().gguf(Algorithm::scores);
  keys.set("tokenizer.ggml.add_space_prefix", true);
  EXPECT_THAT(gguf_error(keys), HasSubstr("puts a space before every text"));
}

TEST(HostileGguf, TypesMustBeKnownAndAsManyAsTokens) {
  const size_t count = testing::words().strings().size();
  GgufKeys keys = testing::words().gguf();
  for (const int32_t type : {0, 7, -1, std::numeric_limits<int32_t>::max()}) {
    keys.set("tokenizer.ggml.token_type", std::vector<int32_t>(count, type));
    EXPECT_THAT(gguf_error(keys), HasSubstr("token type is not known"));
  }
  for (const size_t wrong : {count - 1, count + 1}) {
    keys.set("tokenizer.ggml.token_type", std::vector<int32_t>(wrong, 1));
    EXPECT_THAT(gguf_error(keys), HasSubstr("wrong length"));
  }
  keys.set("tokenizer.ggml.token_type", std::vector<int32_t>(count, 1));
  EXPECT_THAT(gguf_error(keys), HasSubstr("no token for some byte"));
  keys.set("tokenizer.ggml.token_type", std::vector<int32_t>(count, 6));
  EXPECT_THAT(gguf_error(keys), HasSubstr("is of type byte, but does not name one"));
}

TEST(HostileGguf, MergesMustNameTwoTokensOfTheVocabulary) {
  GgufKeys keys = testing::words().gguf();
  for (const char* line : {"", " ", "a", "a ", " a", "ab"}) {
    keys.set("tokenizer.ggml.merges", std::vector<std::string>{"h e", line});
    EXPECT_THAT(gguf_error(keys), HasSubstr("merge 1 is not two tokens")) << line;
  }
  for (const char* line : {"a z", "z a", "a d", "a  b", "a b c"}) {
    keys.set("tokenizer.ggml.merges", std::vector<std::string>{line});
    EXPECT_THAT(gguf_error(keys), HasSubstr("not in the vocabulary")) << line;
  }
}

TEST(HostileGguf, ATokenListThatWasCutShortIsNoticed) {
  SmallVocab vocab = testing::words();
  GgufKeys keys = vocab.gguf();
  std::vector<std::string> fewer(vocab.strings().begin(), vocab.strings().end() - 3);
  keys.set("tokenizer.ggml.tokens", fewer);
  EXPECT_THAT(gguf_error(keys), HasSubstr("wrong length"));
  keys.set("tokenizer.ggml.token_type", [&] {
    std::vector<int32_t> types(fewer.size(), 1);
    for (size_t i = 8; i < 264; ++i) types[i] = 6;
    return types;
  }());
  EXPECT_THAT(gguf_error(keys), HasSubstr("not in the vocabulary"));
}

TEST(HostileGguf, RolesMustBeTokens) {
  for (const char* key :
       {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    GgufKeys keys = testing::words().gguf();
    keys.set(key, static_cast<uint32_t>(testing::words().strings().size()));
    EXPECT_THAT(gguf_error(keys), HasSubstr("is not in the vocabulary")) << key;
    keys.set(key, "2");
    EXPECT_NE(gguf_error(keys), "") << key;
  }
}

TEST(HostileGguf, ScoresMayBeInfiniteButNotNotANumber) {
  SmallVocab vocab = testing::words();
  const Token token = vocab.add("zz");
  vocab.set_score(token, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(gguf_error(vocab.gguf(Algorithm::scores)), HasSubstr(cat("score of token ", token, " is not a number")));
  for (const float score : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    vocab.set_score(token, score);
    EXPECT_EQ(testing::open(vocab.gguf(Algorithm::scores)).encode("zz", Markers::no), std::vector<Token>{token});
  }
}

TEST(HostileGguf, OddStringsAreKeptAndNeverEncoded) {
  SmallVocab vocab = testing::words();
  const Token empty = vocab.add(""), invalid = vocab.add("\xFF\xFE"), half = vocab.add("\xE4\xB8");
  vocab.add("", TokenType::control);
  vocab.add("", TokenType::user_defined);
  for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
    const Tokenizer tokenizer = testing::open(vocab.gguf(algorithm));
    EXPECT_EQ(tokenizer.string(empty), "");
    EXPECT_EQ(tokenizer.piece(invalid), "\xFF\xFE");
    EXPECT_EQ(tokenizer.find("\xE4\xB8"), half);
    const std::string text = "\xFF\xFE\xE4\xB8z\xE4\xB8";
    for (const Token token : tokenizer.encode(text, Markers::yes))
      EXPECT_EQ(tokenizer.token_class(token), TokenClass::byte);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, Markers::yes)), text);
  }
}

TEST(HostileGguf, AStringBeyondTheLimitIsUnsupported) {
  SmallVocab vocab = testing::words();
  vocab.add(std::string(kMaxTokenBytes + 1, 'q'));
  EXPECT_THAT(gguf_error(vocab.gguf()), HasSubstr("too long"));
}

TEST(HostileGguf, SpecialTokensBeyondTheLimitAreUnsupported) {
  SmallVocab vocab = testing::words();
  for (int i = 0; i < 1030; ++i)
    vocab.add(std::string(kMaxTokenBytes - 4, 'q') + std::to_string(1000 + i), TokenType::control);
  EXPECT_THAT(gguf_error(vocab.gguf()), HasSubstr("special tokens are too long together"));
}

// Strings of eight letters and signs whose hashes end in 20 zeros: mix() undone, twice.
std::vector<std::string> colliding_strings(size_t count) {
  const auto undone = [](uint64_t mixed) {
    uint64_t inverse = 1;  // of the factor in mix(), modulo 2^64: Newton's steps double the right bits
    for (int i = 0; i < 6; ++i) inverse *= 2 - 0x9E3779B97F4A7C15u * inverse;
    return (mixed ^ mixed >> 32) * inverse;
  };
  const std::string zeros(8, '\0');
  const uint64_t start = undone(undone(hash_text(zeros)));
  std::vector<std::string> strings;
  for (uint64_t i = 1; strings.size() < count; ++i) {
    std::string string(8, ' ');
    const uint64_t bytes = undone(undone(i << 20)) ^ start;
    std::memcpy(string.data(), &bytes, sizeof bytes);
    if (std::ranges::all_of(string, [](char c) { return c > ' ' && c < 127; })) strings.push_back(string);
  }
  return strings;
}

TEST(HostileGguf, StringsMadeToCollideAreRefusedInTime) {
  SmallVocab vocab = testing::words();
  for (const std::string& string : colliding_strings(400)) {
    ASSERT_EQ(hash_text(string) % (1 << 20), 0u);
    vocab.add(string);
  }
  EXPECT_EQ(gguf_error(vocab.gguf()), "");  // some do no harm
  for (const std::string& string : colliding_strings(2000)) vocab.add(string);
  EXPECT_THAT(gguf_error(vocab.gguf()), HasSubstr("too many strings of the vocabulary want the same place"));
}

TEST(HostileGguf, AListWithTheSameMergeTwiceKeepsTheFirst) {
  SmallVocab vocab;
  vocab.add_characters({"a", "b", "c"});
  vocab.merge("a", "b");
  vocab.merge("b", "c");
  vocab.merge("a", "b");
  const Tokenizer tokenizer = testing::open(vocab.gguf());
  EXPECT_EQ(tokenizer.encode("abc", Markers::no), (std::vector<Token>{*tokenizer.find("ab"), *tokenizer.find("c")}));
}

// The later of two equal strings is found, also where a list goes on with the token after the last one.
TEST(HostileGguf, AMergeMakesTheLaterOfTwoEqualTokens) {
  SmallVocab vocab;
  vocab.add_characters({"a", "b", "c"});
  vocab.merge("b", "c");
  vocab.merge("a", "b");
  const Token later = vocab.add("ab");
  EXPECT_EQ(testing::open(vocab.gguf()).encode("ab", Markers::no), std::vector<Token>{later});
}

// Changes one member somewhere inside a tokenizer.json.
Json changed(const std::vector<std::string>& path, const Json& value) {
  Json root = testing::words().json();
  Json* at = &root;
  for (size_t i = 0; i + 1 < path.size(); ++i)
    for (auto& [key, member] : *at->object())
      if (key == path[i]) at = &member;
  at->set(path.back(), value);
  return root;
}

TEST(HostileJson, TextThatIsNoJsonIsCorrupt) {
  const std::string good = testing::words().json().dump();
  for (const size_t size : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1})
    EXPECT_FALSE(Tokenizer::from_json(good.substr(0, size), "tokenizer.json").ok()) << size;
  for (const char* text : {"[]", "3", "null", "{}", R"({"model": []})", R"({"model": {}})", "\xFF"})
    EXPECT_FALSE(Tokenizer::from_json(text, "tokenizer.json").ok()) << text;
  EXPECT_FALSE(Tokenizer::from_json(std::string(5000, '['), "tokenizer.json").ok());
}

// Cut off or with one byte changed, anywhere: refused, or it was no part of the structure. Never a crash.
TEST(HostileJson, EveryFaultOfTheTextIsNoticed) {
  const std::string good = testing::words().json().dump();
  for (size_t size = 0; size < good.size(); ++size)
    ASSERT_FALSE(Tokenizer::from_json(good.substr(0, size), "tokenizer.json").ok()) << size;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    for (const char c : {'\x01', '\xFF', '\n'}) {
      bad[at] = c;
      const bool structure = std::string_view("{}[]:,\"").find(good[at]) != std::string_view::npos;
      if (structure || c != '\n') {
        ASSERT_FALSE(Tokenizer::from_json(bad, "tokenizer.json").ok()) << at;
      }
    }
  }
  for (const char* after : {"x", "{}", ",", "]"})
    EXPECT_FALSE(Tokenizer::from_json(good + after, "tokenizer.json").ok()) << after;
}

TEST(HostileJson, TheKindIsCheckedBeforeTheVocabulary) {
  Json json = changed({"model", "type"}, "Unigram");
  for (auto& [key, member] : *json.object())
    if (key == "model") member.set("vocab", Json::Array{Json::Array{"a", -1.5}});
  EXPECT_THAT(json_error(json), HasSubstr("Unigram"));
}

// A text in which something is replaced once.
std::string replaced(std::string text, std::string_view what, std::string_view by) {
  const size_t at = text.find(what);
  EXPECT_NE(at, text.npos) << what;
  return text.replace(at, what.size(), by);
}

TEST(HostileJson, NamesComeInAnyOrderAndOnce) {
  const std::string good = testing::words().json().dump();
  const Tokenizer tokenizer = testing::open(testing::words().json());
  const std::string text = "hello world  abc\n\n<|turn>";
  const auto expect_same = [&](const std::string& json) {
    const Result<Tokenizer> other = Tokenizer::from_json(json, "tokenizer.json");
    ASSERT_OK(other);
    EXPECT_EQ(other->size(), tokenizer.size());
    EXPECT_EQ(other->encode(text, Markers::yes), tokenizer.encode(text, Markers::yes));
  };
  expect_same(replaced(replaced(good, "\"vocab\"", "\"vo\\u0063ab\""), "\"model\"", "\"\\u006dodel\""));
  const Json json = testing::words().json();
  Json backwards = json;
  Json::Object& root = *backwards.object();
  for (auto& [key, member] : root)
    if (key == "model")
      for (auto& [name, part] : *member.object())
        if (name == "vocab") std::ranges::reverse(*part.object());
  expect_same(backwards.dump());
  for (auto& [key, member] : root)
    if (key == "model") std::ranges::reverse(*member.object());
  std::ranges::reverse(root);
  expect_same(backwards.dump(2));
  for (const char* name : {"\"vocab\"", "\"merges\"", "\"type\":\"BPE\"", "\"model\""})
    EXPECT_FALSE(
        Tokenizer::from_json(replaced(good, name, cat(name, name[1] == 't' ? "," : ":{},", name)), "tokenizer.json")
            .ok())
        << name;
}

TEST(HostileJson, WhatWouldChangeTheTokensIsRefused) {
  ASSERT_EQ(json_error(changed({"model", "type"}, "BPE")), "");
  const Json split = Json::Object{{"type", "Split"}, {"pattern", Json::Object{{"String", " "}}}};
  EXPECT_EQ(json_error(changed({"pre_tokenizer"}, split)), "");
  const Json replace = *testing::words().json().find("normalizer");
  const Json sequence = Json::Object{{"type", "Sequence"}, {"normalizers", Json::Array{replace}}};
  EXPECT_EQ(json_error(changed({"normalizer"}, sequence)), "");
  const Json twice = Json::Object{{"type", "Sequence"}, {"normalizers", Json::Array{replace, replace}}};
  const Json byte_level = Json::Object{{"type", "ByteLevel"}};
  EXPECT_THAT(json_error(changed({"normalizer"}, twice)), HasSubstr("normalizer is of another kind"));
  EXPECT_THAT(json_error(changed({"normalizer"}, Json())), HasSubstr("normalizer is of another kind"));
  EXPECT_THAT(json_error(changed({"normalizer"}, byte_level)), HasSubstr("normalizer is of another kind"));
  EXPECT_THAT(json_error(changed({"normalizer", "content"}, "_")), HasSubstr("normalizer is of another kind"));
  EXPECT_THAT(json_error(changed({"pre_tokenizer"}, byte_level)), HasSubstr("pre_tokenizer is of another kind"));
  EXPECT_THAT(json_error(changed({"model", "type"}, "Unigram")), HasSubstr("Unigram"));
  EXPECT_THAT(json_error(changed({"model", "byte_fallback"}, false)), HasSubstr("byte_fallback"));
  EXPECT_THAT(json_error(changed({"model", "ignore_merges"}, true)), HasSubstr("ignore_merges"));
  EXPECT_THAT(json_error(changed({"model", "dropout"}, 0.5)), HasSubstr("dropout"));
  EXPECT_THAT(json_error(changed({"model", "end_of_word_suffix"}, "</w>")), HasSubstr("end_of_word_suffix"));
}

TEST(HostileJson, IdsMustFitTheFile) {
  for (const int64_t id : {int64_t{-1}, int64_t{1} << 20, int64_t{1} << 40, std::numeric_limits<int64_t>::max()})
    EXPECT_THAT(json_error(changed({"model", "vocab", "a"}, id)), HasSubstr("out of range")) << id;
  EXPECT_THAT(json_error(changed({"model", "vocab", "a"}, "1")), HasSubstr("not an integer"));
  EXPECT_THAT(json_error(changed({"model", "vocab", "a"}, 0)), HasSubstr("two tokens have the id 0"));
  const auto one_added = [](Json token) { return changed({"added_tokens"}, Json::Array{std::move(token)}); };
  EXPECT_NE(json_error(one_added(Json::Object{{"content", "a"}})), "");
  EXPECT_NE(json_error(one_added(Json::Object{{"id", 0}})), "");
  EXPECT_NE(json_error(one_added(Json::Object{{"id", 0}, {"content", "other"}})), "");
  EXPECT_NE(json_error(one_added(3)), "");
  EXPECT_THAT(json_error(one_added(Json::Object{{"id", 0}, {"content", "<pad>"}, {"lstrip", true}})),
              HasSubstr("lstrip"));
}

TEST(HostileJson, HolesInTheIdsAreReserved) {
  const size_t count = testing::words().strings().size();
  const Json json = changed({"model", "vocab", "late"}, static_cast<int64_t>(count + 3));
  const Tokenizer tokenizer = testing::open(json);
  EXPECT_EQ(tokenizer.size(), static_cast<int64_t>(count + 4));
  EXPECT_EQ(tokenizer.token_class(static_cast<Token>(count + 1)), TokenClass::reserved);
  EXPECT_EQ(tokenizer.find("late"), static_cast<Token>(count + 3));
}

TEST(HostileJson, MergesMustNameTwoTokensOfTheVocabulary) {
  for (const Json& merge : {Json("ab"), Json("a "), Json(Json::Array{"a"}), Json(Json::Array{"a", "b", "c"}), Json(3),
                            Json(Json::Array{"a", 1}), Json(Json::Array{"", "a"})})
    EXPECT_THAT(json_error(changed({"model", "merges"}, Json::Array{merge})), HasSubstr("merge 0 is not two tokens"));
  for (const Json& merge : {Json("a z"), Json(Json::Array{"a", "d"}), Json(Json::Array{" ", "a"})})
    EXPECT_THAT(json_error(changed({"model", "merges"}, Json::Array{merge})), HasSubstr("not in the vocabulary"));
  EXPECT_THAT(json_error(changed({"model", "merges"}, 3)), HasSubstr("has no merges"));
}

TEST(HostileJson, AMissingFileIsNotFound) {
  const facet::testing::TemporaryFolder folder;
  const Result<Tokenizer> tokenizer = Tokenizer::from_json_file(folder.path() / "tokenizer.json");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace facet::tokenizer
