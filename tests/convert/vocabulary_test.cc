// The same tokens through either container's vocabulary.
#include "convert/vocabulary.h"

#include <algorithm>

#include "base/file.h"
#include "formats/checkpoint_writer.h"
#include "formats/gguf.h"
#include "support/expect.h"
#include "support/paths.h"
#include "tokenizer/small_vocab.h"

namespace facet::convert {
namespace {

using tokenizer::Algorithm;
using tokenizer::JsonVocab;
using tokenizer::Markers;
using tokenizer::Tokenizer;
using tokenizer::VocabFile;
using tokenizer::testing::words;

const std::vector<std::string> kTexts = {"hello world",
                                         "  hello\n\nworld ",
                                         "abcabc. <|turn>hello<turn|>",
                                         "世界é",
                                         "\xFF\xFE x \t <unused0> <|channel>",
                                         ""};

model::Config config_of(model::Family family, size_t vocab_size) {
  model::Config config;
  config.family = family;
  config.vocab_size = static_cast<int64_t>(vocab_size);
  config.context = 4096;
  return config;
}

// A vocabulary as the keys of a GGUF file, read again. Keeps what the reader's strings point to.
struct Rewritten {
  std::vector<std::byte> bytes;
  formats::GgufMetadata metadata;
  std::string remark;
};

Result<Rewritten> rewrite(const VocabFile& file, const model::Config& config) {
  Rewritten out;
  formats::GgufPairs pairs;
  FACET_TRY_VOID(add_vocabulary(file, config, pairs, out.remark));
  out.bytes = formats::gguf_header(pairs, {}, 32);
  const auto source = formats::memory_source("rewritten.gguf", out.bytes);
  FACET_TRY(formats::GgufFile read, formats::read_gguf(*source));
  out.metadata = std::move(read.metadata);
  return out;
}

void expect_same_tokens(const Tokenizer& a, const Tokenizer& b, const std::string& text) {
  for (const Markers markers : {Markers::no, Markers::yes})
    EXPECT_EQ(a.encode(text, markers), b.encode(text, markers)) << text;
}

TEST(Vocabulary, JsonBecomesKeysAndKeysBecomeJson) {
  const auto small = words();
  const std::string json = small.json().dump();
  const Tokenizer original = tokenizer::testing::open(small.json());
  for (const model::Family family : {model::Family::gemma4, model::Family::gemma3}) {
    JsonVocab vocab;
    ASSERT_OK(vocab.read(json, "tokenizer.json"));
    const Result<Rewritten> keys = rewrite(vocab.file(), config_of(family, small.strings().size() + 3));
    ASSERT_OK(keys);
    const Result<Tokenizer> from_keys = Tokenizer::from_gguf(keys->metadata, "rewritten");
    ASSERT_OK(from_keys);
    const Result<VocabFile> read = tokenizer::read_gguf_vocab(keys->metadata, "rewritten");
    ASSERT_OK(read);
    EXPECT_EQ(read->strings.size(), small.strings().size() + 3);  // filled up to the model's
    const Result<std::string> again = tokenizer_json(*read, family);
    ASSERT_OK(again);
    const Result<Tokenizer> from_json = Tokenizer::from_json(*again, "again");
    ASSERT_OK(from_json);
    EXPECT_EQ(from_json->size(), original.size());  // and back
    for (const std::string& text : kTexts) {
      expect_same_tokens(original, *from_keys, text);
      expect_same_tokens(original, *from_json, text);
    }
  }
}

// Files of Gemma 3 for other engines: no merges, only scores.
TEST(Vocabulary, ScoresBecomeMergesAndMergesBecomeScores) {
  auto small = words();
  small.merge("d", "e");  // "deh" can be cut in two ways, and so can "row"
  small.merge("e", "h");
  small.merge("r", "o");
  small.merge("o", "w");
  for (Token token = 0; token < static_cast<Token>(small.strings().size()); ++token)
    if (small.scores()[static_cast<size_t>(token)] > -1000) small.set_score(token, -static_cast<float>(token) / 2);
  small.set_score(static_cast<Token>(small.strings().size()) - 1, -1);  // the last one goes first
  const auto keys = small.gguf(Algorithm::scores);
  const Tokenizer scored = tokenizer::testing::open(keys);
  const formats::GgufMetadata metadata = keys.metadata();
  const Result<VocabFile> file = tokenizer::read_gguf_vocab(metadata, "scores");
  ASSERT_OK(file);
  const Result<std::string> json = tokenizer_json(*file, model::Family::gemma3);
  ASSERT_OK(json);
  const Result<Tokenizer> merged = Tokenizer::from_json(*json, "merged");
  ASSERT_OK(merged);

  JsonVocab vocab;
  ASSERT_OK(vocab.read(*json, "merged"));
  const Result<Rewritten> rewritten = rewrite(vocab.file(), config_of(model::Family::gemma3, small.strings().size()));
  ASSERT_OK(rewritten);
  Result<VocabFile> without = tokenizer::read_gguf_vocab(rewritten->metadata, "rewritten");
  ASSERT_OK(without);
  auto scores_only = small;  // the scores that were worked out, and no merges
  const auto scores = rewritten->metadata.find("tokenizer.ggml.scores")->floats();
  for (size_t i = 0; i < scores->size(); ++i) scores_only.set_score(static_cast<Token>(i), (*scores)[i]);
  const Tokenizer rescored = tokenizer::testing::open(scores_only.gguf(Algorithm::scores));
  std::vector<std::string> texts = kTexts;
  texts.insert(texts.end(), {"deh", "row", "rowdehrow"});
  for (const std::string& text : texts) {
    expect_same_tokens(scored, *merged, text);
    expect_same_tokens(scored, rescored, text);
  }
  EXPECT_EQ(scored.piece(scored.encode("deh", Markers::no).front()), "de");
  EXPECT_EQ(scored.piece(scored.encode("row", Markers::no).front()), "r");
}

TEST(Vocabulary, TokensBeyondTheTableAreLeftOutOnlyWhereTheyAreSpecial) {
  auto small = words();
  small.add("<image_soft_token>", tokenizer::TokenType::control);
  const std::string json = small.json().dump();
  JsonVocab vocab;
  ASSERT_OK(vocab.read(json, "tokenizer.json"));
  const size_t count = small.strings().size();
  const Result<Rewritten> cut = rewrite(vocab.file(), config_of(model::Family::gemma3, count - 1));
  ASSERT_OK(cut);
  EXPECT_NE(cut->remark.find("<image_soft_token>"), std::string::npos) << cut->remark;
  const auto too_far = rewrite(vocab.file(), config_of(model::Family::gemma3, count - 2));
  ASSERT_FALSE(too_far.ok());
  EXPECT_EQ(too_far.error().code, ErrorCode::corrupt);
}

TEST(Vocabulary, StringsThatAreNoTextAreRefused) {
  auto small = words();
  small.add("\xFF\xFF");
  const auto keys = small.gguf();
  const formats::GgufMetadata metadata = keys.metadata();
  const Result<VocabFile> file = tokenizer::read_gguf_vocab(metadata, "bytes");
  ASSERT_OK(file);
  EXPECT_EQ(tokenizer_json(*file, model::Family::gemma4).error().code, ErrorCode::unsupported);
}

TEST(Vocabulary, TheRealOneComesBackInEveryPart) {
  FACET_SHARED_OR_SKIP(path, "golden/tokenizer/ggml-vocab-gemma-4.gguf");
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(path);
  ASSERT_OK(checkpoint);
  const Result<VocabFile> file = tokenizer::read_gguf_vocab(checkpoint->metadata(), "vocab");
  ASSERT_OK(file);
  const Result<std::string> json = tokenizer_json(*file, model::Family::gemma4);
  ASSERT_OK(json);
  const Result<Tokenizer> from_json = Tokenizer::from_json(*json, "tokenizer.json");
  ASSERT_OK(from_json);
  JsonVocab vocab;
  ASSERT_OK(vocab.read(*json, "tokenizer.json"));
  model::Config config = config_of(model::Family::gemma4, 262144);
  const Result<Rewritten> back = rewrite(vocab.file(), config);
  ASSERT_OK(back);
  for (const char* key :
       {"tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.mask_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix"}) {
    const formats::GgufValue *expected = checkpoint->metadata().find(key), *found = back->metadata.find(key);
    ASSERT_TRUE(expected != nullptr && found != nullptr) << key;
    EXPECT_TRUE(expected->type == found->type && std::ranges::equal(expected->bytes, found->bytes)) << key;
  }
  const Result<Tokenizer> original = Tokenizer::open(*checkpoint), from_keys = Tokenizer::from_gguf(back->metadata, "");
  ASSERT_OK(from_keys);
  const Result<std::string> inputs = read_file(path.string() + ".inp", 1 << 20);
  ASSERT_OK(inputs);
  expect_same_tokens(*original, *from_json, *inputs);
  expect_same_tokens(*original, *from_keys, *inputs);
}

TEST(Vocabulary, RolesAreNamed) {
  const auto small = words();
  const auto keys = small.gguf();
  const formats::GgufMetadata metadata = keys.metadata();
  const Result<VocabFile> file = tokenizer::read_gguf_vocab(metadata, "small");
  ASSERT_OK(file);
  model::Config config = config_of(model::Family::gemma4, small.strings().size());
  config.eos = {5};
  const Json roles = tokenizer_config_json(*file, config);
  EXPECT_EQ(*roles.find("bos_token"), Json("<bos>"));
  EXPECT_EQ(*roles.find("eos_token"), Json("<turn|>"));
  EXPECT_EQ(*roles.find("sot_token"), Json("<|turn>"));
  EXPECT_EQ(roles.find("image_token"), nullptr);
  EXPECT_EQ(*roles.find("model_max_length"), Json(4096));
}

}  // namespace
}  // namespace facet::convert
