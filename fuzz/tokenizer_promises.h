// What every tokenizer must keep, whatever its vocabulary and whatever the text; and a small vocabulary as a GGUF file.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "formats/gguf.h"
#include "tokenizer/tokenizer.h"

namespace facet::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {static_cast<const char*>(static_cast<const void*>(data)), size};
}

// U+2581 stands for the space in vocabularies, so a text that has it comes back with spaces.
inline std::string with_spaces(std::string text) {
  for (size_t mark; (mark = text.find("\xE2\x96\x81")) != text.npos;) text.replace(mark, 3, " ");
  return text;
}

// Encoding loses nothing, makes no marker that was not asked for, and streams as it decodes.
inline void check_text(const tokenizer::Tokenizer& tokenizer, std::string_view text) {
  using tokenizer::Markers, tokenizer::TokenClass;
  for (const Markers markers : {Markers::no, Markers::yes}) {
    const std::vector<Token> tokens = tokenizer.encode(text, markers);
    FACET_CHECK(tokens.size() <= text.size());
    for (const Token token : tokens) {
      FACET_CHECK(token >= 0 && token < tokenizer.size());
      const TokenClass token_class = tokenizer.token_class(token);
      FACET_CHECK(markers == Markers::yes || token_class == TokenClass::text || token_class == TokenClass::byte);
    }
    FACET_CHECK(with_spaces(tokenizer.decode(tokens, Markers::yes)) == with_spaces(std::string(text)));
    tokenizer::StreamDecoder decoder(tokenizer, Markers::yes);
    std::string streamed;
    for (const Token token : tokens) {
      const std::string part = decoder.push(token);
      FACET_CHECK(utf8_valid(part));
      streamed += part;
    }
    streamed += decoder.finish();
    FACET_CHECK(streamed == utf8_repair(tokenizer.decode(tokens, Markers::yes)));
  }
}

inline void check_vocabulary(const tokenizer::Tokenizer& tokenizer) {
  for (Token token = 0; token < tokenizer.size(); ++token) {
    const std::string_view string = tokenizer.string(token);
    const std::optional<Token> found = tokenizer.find(string);
    FACET_CHECK(string.empty() ? !found : found && *found >= token && tokenizer.string(*found) == string);
  }
  for (const std::span<const Token> tokens : {tokenizer.end_tokens(), tokenizer.never_sampled()})
    for (const Token token : tokens) FACET_CHECK(token >= 0 && token < tokenizer.size());
  FACET_CHECK(!tokenizer.bos() || (*tokenizer.bos() >= 0 && *tokenizer.bos() < tokenizer.size()));
  FACET_CHECK(!tokenizer.adds_bos() || tokenizer.bos());
  if (const std::optional<std::string_view> text = tokenizer.chat_template())
    static_cast<void>(utf8_valid(*text));  // reads every byte
}

// Bytes of a GGUF file that holds nothing but a vocabulary: byte tokens, some control tokens, letters a to e, newlines,
// spaces, two characters of other scripts, and words made of them.
class SmallGguf {
 public:
  explicit SmallGguf(bool scores) {
    for (const char* name : {"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>"}) add(name, 3);
    add("<b>", 4);
    add("<|channel>", 4);
    for (int byte = 0; byte < 256; ++byte) {
      constexpr const char* kDigits = "0123456789ABCDEF";
      add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", 6);
    }
    for (const char* character : {"a", "b", "c", "d", "e", "\n", "\xE2\x96\x81", "é", "世", "<", ">"})
      add(character, 1);
    for (const auto& [left, right] : {std::pair("a", "b"),
                                      {"b", "c"},
                                      {"ab", "c"},
                                      {"a", "bc"},
                                      {"\xE2\x96\x81", "a"},
                                      {"\n", "\n"},
                                      {"\xE2\x96\x81", "\xE2\x96\x81"},
                                      {"\xE2\x96\x81", "ab"},
                                      {"é", "世"},
                                      {"d", "d"},
                                      {"dd", "dd"},
                                      {"dd", "d"}})
      merge(left, right);
    write(scores);
  }
  std::string_view bytes() const { return file_; }

 private:
  void add(const std::string& string, uint32_t type) {
    strings_.push_back(string);
    types_.push_back(type);
  }
  void merge(const std::string& left, const std::string& right) {
    bool known = false;
    for (const std::string& string : strings_) known = known || string == left + right;
    if (!known) add(left + right, 1);
    merges_.push_back(left + " " + right);
  }

  template <class T>
  void number(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    file_.append(bytes, sizeof(T));
  }
  void string(std::string_view text) {
    number<uint64_t>(text.size());
    file_ += text;
  }
  void array(std::string_view key, formats::GgufType type, size_t count) {
    string(key);
    number(static_cast<uint32_t>(formats::GgufType::array));
    number(static_cast<uint32_t>(type));
    number<uint64_t>(count);
  }
  void write(bool scores) {
    file_ = "GGUF";
    number<uint32_t>(3);
    number<uint64_t>(0);
    number<uint64_t>(4);
    string("tokenizer.ggml.model");
    number(static_cast<uint32_t>(formats::GgufType::string));
    string(scores ? "llama" : "gemma4");
    array("tokenizer.ggml.tokens", formats::GgufType::string, strings_.size());
    for (const std::string& each : strings_) string(each);
    array("tokenizer.ggml.token_type", formats::GgufType::u32, types_.size());
    for (const uint32_t type : types_) number(type);
    if (scores) {
      array("tokenizer.ggml.scores", formats::GgufType::f32, strings_.size());
      for (size_t i = 0; i < strings_.size(); ++i) number(-static_cast<float>(i / 2));
    } else {
      array("tokenizer.ggml.merges", formats::GgufType::string, merges_.size());
      for (const std::string& each : merges_) string(each);
    }
  }

  std::vector<std::string> strings_, merges_;
  std::vector<uint32_t> types_;
  std::string file_;
};

inline tokenizer::Tokenizer small_tokenizer(bool scores) {
  const SmallGguf small(scores);
  const auto source = formats::memory_source("small.gguf", as_bytes(small.bytes()));
  const Result<formats::GgufFile> file = formats::read_gguf(*source);
  FACET_CHECK(file.ok());
  Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::from_gguf(file->metadata, "small.gguf");
  FACET_CHECK(tokenizer.ok());
  return *std::move(tokenizer);
}

}  // namespace facet::fuzz
