// Tokenizer: text to token ids and back, exactly as the model's own tokenizer does it (docs/tokenizer.md).
//
// Two entry points for text, never one with a guess: control tokens are recognised only where the caller allows them,
// so text that comes from users, tools or files can never become one.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/gguf_metadata.h"
#include "tensor/token.h"

namespace facet::tokenizer {

enum class Markers : uint8_t { no, yes };  // whether control-token strings in the text become control tokens
enum class AddBos : uint8_t { no, yes };

// What a token is, by its string and type in the vocabulary.
enum class TokenClass : uint8_t {
  text,      // ordinary piece; user-defined pieces such as runs of spaces too
  byte,      // <0xNN>
  marker,    // control token or visible marker (<|turn>, <|channel>, …)
  reserved,  // <unusedN>
};

class Tokenizer {
 public:
  // From a checkpoint: GGUF metadata, or the folder's tokenizer.json. Errors: not_found (no tokenizer), unsupported,
  // corrupt.
  static Result<Tokenizer> open(const formats::Checkpoint& checkpoint);
  static Result<Tokenizer> from_gguf(const formats::GgufMetadata& metadata, std::string_view where);
  static Result<Tokenizer> from_json(std::string_view tokenizer_json, std::string_view where);
  static Result<Tokenizer> from_json_file(const std::filesystem::path& tokenizer_json);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Never fails: invalid UTF-8 becomes byte tokens. No BOS is added. Any thread.
  std::vector<Token> encode(std::string_view text, Markers markers) const;
  // The same, appended to out.
  void encode(std::string_view text, Markers markers, std::vector<Token>& out) const;

  // The bytes a token stands for in text; markers give their string only where asked.
  std::string_view piece(Token token, Markers markers = Markers::no) const;
  std::string decode(std::span<const Token> tokens, Markers markers = Markers::no) const;

  int64_t size() const;
  // The vocabulary's own string of a token (spaces as U+2581).
  std::string_view string(Token token) const;
  // The token with exactly this string, the later one where the vocabulary has it twice.
  std::optional<Token> find(std::string_view string) const;
  TokenClass token_class(Token token) const;

  std::optional<Token> bos() const;
  bool adds_bos() const;                      // raw text of this model begins with BOS
  std::span<const Token> end_tokens() const;  // what the file itself calls eos / eot
  // Tokens that must never be sampled (spec/tokenizer.md 6.2): reserved ones, placeholders, pad, bos …
  std::span<const Token> never_sampled() const;
  // The file's own chat template, if any (GGUF).
  std::optional<std::string_view> chat_template() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Turns a stream of tokens into text without ever splitting a character.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, Markers markers = Markers::no)
      : tokenizer_(&tokenizer), markers_(markers) {}
  // Text that has become complete with this token; may be empty.
  std::string push(Token token);
  // What is left at the end: invalid remains become U+FFFD.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  Markers markers_;
  std::string pending_;
};

}  // namespace facet::tokenizer
