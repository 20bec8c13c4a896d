// ChatFormat: messages to prompt tokens, and answer tokens to thought and text, in the format a model was trained on.
// The published formats are written out in code (docs/chat.md); the template stored in a file only tells which one it
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

// How faithfully the published Gemma 4 template is followed where its result is broken (spec/chat.md 7).
enum class Repairs : uint8_t {
  none,  // byte for byte
  on,    // a late developer message is a system turn; two answers in a row are joined by a line break
};

struct RenderOptions {
  Thinking thinking = Thinking::off;
  bool add_generation_prompt = true;
  Repairs repairs = Repairs::on;
};

// A prompt as segments: marker tokens by id, and plain text that can never contain one.
struct Segment {
  std::optional<Token> marker;
  std::string text;
};

class ChatFormat {
 public:
  // Which format a model speaks: from its template text and vocabulary; the tokenizer must outlive it. large_model:
  // whether a Gemma 4 model is one of the larger (has no per-layer embeddings), where the template does not tell.
  // nullopt: a base model without a template.
  // Errors: unsupported (a template of another family, or whose markers the vocabulary lacks).
  static Result<std::optional<ChatFormat>> detect(const tokenizer::Tokenizer& tokenizer,
                                                  std::optional<std::string_view> chat_template, bool large_model);
  static Result<ChatFormat> of(Style style, const tokenizer::Tokenizer& tokenizer);

  Style style() const { return style_; }
  // Errors: invalid_argument (an empty conversation, roles that cannot follow each other), unsupported (thinking, where
  // the format has none).
  Result<std::vector<Token>> render(std::span<const Message> messages, const RenderOptions& options) const;
  // The same as text, markers spelled out: for people and golden tests.
  Result<std::string> render_text(std::span<const Message> messages, const RenderOptions& options) const;
  // Tokens that end an answer in this format, those that the file itself calls ends among them.
  std::span<const Token> stop_tokens() const { return stop_tokens_; }
  // The markers around a channel (a thought); nullopt where the format has none.
  std::optional<Token> open_channel() const { return open_channel_; }
  std::optional<Token> close_channel() const { return close_channel_; }

 private:
  ChatFormat(Style style, const tokenizer::Tokenizer& tokenizer) : style_(style), tokenizer_(&tokenizer) {}
  Result<std::vector<Segment>> segments(std::span<const Message> messages, const RenderOptions& options) const;

  Style style_;
  const tokenizer::Tokenizer* tokenizer_;
  Token bos_ = 0, open_turn_ = 0, close_turn_ = 0;
  std::optional<Token> think_, open_channel_, close_channel_;
  std::vector<Token> stop_tokens_;

  friend class Gemma4Writer;
  friend class Gemma3Writer;
};

// Splits a streamed answer into thought and text. Fed tokens, one at a time; the pieces put together depend on the
// tokens' bytes alone, not on how the text was cut into tokens. White space around text and behind a thought is
// dropped, as it is when the answer is shown to the model again. Knows nothing of stop tokens: whoever feeds it stops.
class AnswerParser {
 public:
  struct Piece {
    std::string text, thought;
  };
  AnswerParser(const ChatFormat& format, const tokenizer::Tokenizer& tokenizer);
  Piece push(Token token);
  // The end. What an unclosed channel held is thought.
  Piece finish();

 private:
  enum class State : uint8_t { text, channel_name, thought };
  void take(std::string_view bytes, Piece& out);
  void take_name(Piece& out);
  void say(std::string_view bytes, Piece& out);
  void think(std::string_view bytes, Piece& out);

  State state_ = State::text;
  std::optional<Token> open_, close_;
  tokenizer::StreamDecoder decoder_;
  std::string name_;                        // of a channel, until it is known
  bool text_begins_ = true;                 // leading white space is still to be dropped
  std::string text_space_, thought_space_;  // white space that counts only if something follows
};

}  // namespace facet::chat
