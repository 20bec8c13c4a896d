// ChatFormat: messages to prompt tokens, and answer tokens to thought and text, in the format a model was trained on.
// The published formats are written out in code (spec/chat.md); the template stored in a file only tells which one it
// is.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facet/message.h"
#include "facet/result.h"
#include "tensor/token.h"
#include "tokenizer/tokenizer.h"

namespace facet::chat {

enum class Style : uint8_t {
  gemma4_small,  // E2B, E4B
  gemma4_large,  // 12B, 26B-A4B, 31B: a turn without thinking opens with an empty thought channel
  gemma3,        // <start_of_turn>
};

struct RenderOptions {
  Thinking thinking = Thinking::off;
  bool add_generation_prompt = true;
};

// A prompt as segments: marker tokens by id, and plain text that can never contain one.
struct Segment {
  std::optional<Token> marker;
  std::string text;
};

class ChatFormat {
 public:
  // Which format a model speaks: from its template text and vocabulary. nullopt: a base model without one.
  // Errors: unsupported (a template whose markers the vocabulary lacks).
  static Result<std::optional<ChatFormat>> detect(const tokenizer::Tokenizer& tokenizer,
                                                  std::optional<std::string_view> chat_template, bool large_model);
  static Result<ChatFormat> of(Style style, const tokenizer::Tokenizer& tokenizer);

  Style style() const { return style_; }
  // Errors: invalid_argument (roles that cannot follow each other, an empty conversation).
  Result<std::vector<Token>> render(std::span<const Message> messages, const RenderOptions& options) const;
  // The same as text, markers spelled out: for people and golden tests.
  Result<std::string> render_text(std::span<const Message> messages, const RenderOptions& options) const;
  // Tokens that end an answer in this format.
  std::span<const Token> stop_tokens() const { return stop_tokens_; }

 private:
  ChatFormat(Style style, const tokenizer::Tokenizer& tokenizer) : style_(style), tokenizer_(&tokenizer) {}
  Style style_;
  const tokenizer::Tokenizer* tokenizer_;
  std::vector<Token> stop_tokens_;
};

// Splits a streamed answer into thought and text. Fed tokens, one at a time; every cut gives the same pieces.
class AnswerParser {
 public:
  struct Piece {
    std::string text, thought;
  };
  explicit AnswerParser(const ChatFormat& format, const tokenizer::Tokenizer& tokenizer);
  Piece push(Token token);
  Piece finish();

 private:
  enum class State : uint8_t { text, channel_name, thought };
  State state_ = State::text;
  const tokenizer::Tokenizer* tokenizer_;
  std::optional<Token> open_, close_;
  tokenizer::StreamDecoder decoder_;
  std::string held_;
  bool thought_seen_ = false;
};

}  // namespace facet::chat
