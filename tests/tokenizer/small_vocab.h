// Small vocabularies built in code, in both containers, so that a clone alone can test the tokenizer.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "support/expect.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab_file.h"

namespace facet::tokenizer::testing {

// The keys of a GGUF file, in memory; every key can be changed or taken away.
class GgufKeys {
 public:
  void set(const std::string& key, std::string_view text) { put(key, formats::GgufType::string, 1, bytes(text)); }
  void set(const std::string& key, const char* text) { set(key, std::string_view(text)); }
  void set(const std::string& key, bool value) { put(key, formats::GgufType::boolean, 1, raw<uint8_t>({value})); }
  void set(const std::string& key, uint32_t value) { put(key, formats::GgufType::u32, 1, raw<uint32_t>({value})); }
  void set(const std::string& key, const std::vector<float>& values) {
    put(key, formats::GgufType::array, values.size(), raw(values), formats::GgufType::f32);
  }
  void set(const std::string& key, const std::vector<int32_t>& values) {
    put(key, formats::GgufType::array, values.size(), raw(values), formats::GgufType::i32);
  }
  void set(const std::string& key, const std::vector<std::string>& values) {
    std::string out;
    for (const std::string& value : values) {
      const uint64_t size = value.size();
      out.append(static_cast<const char*>(static_cast<const void*>(&size)), sizeof size);
      out += value;
    }
    put(key, formats::GgufType::array, values.size(), out, formats::GgufType::string);
  }
  void erase(const std::string& key) {
    std::erase_if(entries_, [&](const auto& entry) { return entry->key == key; });
  }

  // Valid as long as this object is and does not change.
  formats::GgufMetadata metadata() const {
    formats::GgufMetadata metadata;
    for (const auto& entry : entries_)
      metadata.add(entry->key, {.type = entry->type,
                                .element = entry->element,
                                .count = entry->count,
                                .bytes = as_bytes(std::string_view(entry->bytes))});
    return metadata;
  }

 private:
  struct Entry {
    std::string key, bytes;
    formats::GgufType type, element;
    uint64_t count;
  };
  template <class T>
  static std::string raw(const std::vector<T>& values) {
    std::string out(values.size() * sizeof(T), '\0');
    if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
    return out;
  }
  static std::string bytes(std::string_view text) { return std::string(text); }
  void put(const std::string& key, formats::GgufType type, uint64_t count, std::string bytes,
           formats::GgufType element = formats::GgufType::u8) {
    erase(key);
    entries_.push_back(std::make_shared<Entry>(Entry{key, std::move(bytes), type, element, count}));
  }
  std::vector<std::shared_ptr<const Entry>> entries_;
};

// A vocabulary in the making: control tokens, the 256 byte tokens, then whatever a test adds.
class SmallVocab {
 public:
  SmallVocab() {
    for (const char* name : {"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"}) add(name, TokenType::control);
    add("<|channel>", TokenType::user_defined);
    add("<unused0>");
    constexpr const char* kDigits = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte)
      add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", TokenType::byte);
  }

  Token add(const std::string& string, TokenType type = TokenType::normal) {
    strings_.push_back(string);
    types_.push_back(static_cast<int32_t>(type));
    scores_.push_back(type == TokenType::normal ? -static_cast<float>(strings_.size()) : -1000.0f);
    return static_cast<Token>(strings_.size() - 1);
  }
  void add_characters(const std::vector<std::string>& characters) {
    for (const std::string& character : characters) add(character);
  }
  // Adds the whole too, unless it is there.
  void merge(const std::string& left, const std::string& right) {
    if (std::find(strings_.begin(), strings_.end(), left + right) == strings_.end()) add(left + right);
    merges_.emplace_back(left, right);
  }

  const std::vector<std::string>& strings() const { return strings_; }
  const std::vector<float>& scores() const { return scores_; }
  const std::vector<std::pair<std::string, std::string>>& merges() const { return merges_; }
  void set_score(Token token, float score) { scores_[static_cast<size_t>(token)] = score; }

  GgufKeys gguf(Algorithm algorithm = Algorithm::ranked_merges) const {
    GgufKeys keys;
    keys.set("tokenizer.ggml.model", algorithm == Algorithm::ranked_merges ? "gemma4" : "llama");
    keys.set("tokenizer.ggml.tokens", strings_);
    keys.set("tokenizer.ggml.token_type", types_);
    keys.set("tokenizer.ggml.scores", scores_);
    if (algorithm == Algorithm::ranked_merges) {
      std::vector<std::string> lines;
      for (const auto& [left, right] : merges_) lines.push_back(left + " " + right);
      keys.set("tokenizer.ggml.merges", lines);
    }
    keys.set("tokenizer.ggml.bos_token_id", uint32_t{2});
    keys.set("tokenizer.ggml.eos_token_id", uint32_t{1});
    return keys;
  }

  enum class MergeForm { lines, pairs };
  Json json(MergeForm form = MergeForm::pairs) const {
    Json::Object vocab;
    Json::Array added, merges;
    for (size_t i = 0; i < strings_.size(); ++i) {
      const auto type = static_cast<TokenType>(types_[i]);
      vocab.emplace_back(strings_[i], static_cast<int64_t>(i));
      if (type == TokenType::control || type == TokenType::user_defined)
        added.push_back(Json::Object{{"id", static_cast<int64_t>(i)},
                                     {"content", strings_[i]},
                                     {"special", type == TokenType::control},
                                     {"normalized", false}});
    }
    for (const auto& [left, right] : merges_)
      merges.push_back(form == MergeForm::lines ? Json(left + " " + right) : Json(Json::Array{left, right}));
    Json::Object pattern = {{"String", " "}};
    Json::Object normalizer = {{"type", "Replace"}, {"pattern", std::move(pattern)}, {"content", "\xE2\x96\x81"}};
    Json::Object model = {{"type", "BPE"},     {"byte_fallback", true},     {"ignore_merges", false},
                          {"dropout", Json()}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}};
    return Json::Object{{"version", "1.0"},
                        {"added_tokens", std::move(added)},
                        {"normalizer", std::move(normalizer)},
                        {"pre_tokenizer", Json()},
                        {"model", std::move(model)}};
  }

 private:
  std::vector<std::string> strings_;
  std::vector<int32_t> types_;
  std::vector<float> scores_;
  std::vector<std::pair<std::string, std::string>> merges_;
};

inline Tokenizer open(const GgufKeys& keys) {
  const formats::GgufMetadata metadata = keys.metadata();
  Result<Tokenizer> tokenizer = Tokenizer::from_gguf(metadata, "test.gguf");
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.error().message();
    std::abort();
  }
  return *std::move(tokenizer);
}

inline Tokenizer open(const Json& json) {
  Result<Tokenizer> tokenizer = Tokenizer::from_json(json.dump(), "tokenizer.json");
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.error().message();
    std::abort();
  }
  return *std::move(tokenizer);
}

// Words, spaces, newlines, two scripts; as small as a vocabulary can be that has everything of Gemma's.
inline SmallVocab words() {
  SmallVocab vocab;
  vocab.add_characters({"\n", "\xE2\x96\x81", "a", "b", "c", "d", "e", "h", "l", "o", "r", "w", "é", "世", "界", "."});
  vocab.merge("\n", "\n");
  vocab.merge("\xE2\x96\x81", "\xE2\x96\x81");
  vocab.merge("\xE2\x96\x81\xE2\x96\x81", "\xE2\x96\x81");
  vocab.merge("l", "l");
  vocab.merge("h", "e");
  vocab.merge("ll", "o");
  vocab.merge("he", "llo");
  vocab.merge("\xE2\x96\x81", "w");
  vocab.merge("o", "r");
  vocab.merge("\xE2\x96\x81w", "or");
  vocab.merge("世", "界");
  vocab.merge("a", "b");
  vocab.merge("b", "c");
  vocab.merge("ab", "c");
  vocab.merge("a", "bc");
  return vocab;
}

}  // namespace facet::tokenizer::testing
