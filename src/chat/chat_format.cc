// Recognising a format and its markers, and turning segments into tokens or text. The formats themselves are
// gemma4_writer.cc and gemma3_writer.cc.
#include "chat/chat_format.h"

#include <algorithm>

#include "base/strings.h"
#include "chat/writers.h"

namespace facet::chat {
namespace {

// Finds markers by their strings, never by number: a fine-tune or a small vocabulary may number them differently.
Result<Token> marker(const tokenizer::Tokenizer& tokenizer, std::string_view string) {
  if (const std::optional<Token> token = tokenizer.find(string)) return *token;
  return Error{.code = ErrorCode::unsupported,
               .what = "the vocabulary lacks a marker of the chat format",
               .where = "chat template",
               .expected = std::string(string),
               .found = "no such token"};
}

}  // namespace

Result<ChatFormat> ChatFormat::of(Style style, const tokenizer::Tokenizer& tokenizer) {
  ChatFormat format(style, tokenizer);
  FACET_TRY(format.bos_, marker(tokenizer, "<bos>"));
  const bool gemma3 = style == Style::gemma3;
  FACET_TRY(format.open_turn_, marker(tokenizer, gemma3 ? "<start_of_turn>" : "<|turn>"));
  FACET_TRY(format.close_turn_, marker(tokenizer, gemma3 ? "<end_of_turn>" : "<turn|>"));
  format.stop_tokens_ = {format.close_turn_};
  if (!gemma3) {
    FACET_TRY(format.think_, marker(tokenizer, "<|think|>"));
    FACET_TRY(format.open_channel_, marker(tokenizer, "<|channel>"));
    FACET_TRY(format.close_channel_, marker(tokenizer, "<channel|>"));
    // A model that opens a turn or waits for a tool's result has finished its own.
    format.stop_tokens_.push_back(format.open_turn_);
    if (const std::optional<Token> waits = tokenizer.find("<|tool_response>")) format.stop_tokens_.push_back(*waits);
  }
  for (const Token end : tokenizer.end_tokens())
    if (std::ranges::find(format.stop_tokens_, end) == format.stop_tokens_.end()) format.stop_tokens_.push_back(end);
  return format;
}

Result<std::optional<ChatFormat>> ChatFormat::detect(const tokenizer::Tokenizer& tokenizer,
                                                     std::optional<std::string_view> chat_template, bool large_model) {
  if (!chat_template || chat_template->empty()) return std::optional<ChatFormat>();
  Style style;
  if (chat_template->find("<|turn>") != std::string_view::npos) {
    // The empty thought channel behind the generation prompt, as the template's source spells it.
    const bool empty_channel = chat_template->find("<|channel>thought\\n<channel|>") != std::string_view::npos;
    style = empty_channel || large_model ? Style::gemma4_large : Style::gemma4_small;
  } else if (chat_template->find("<start_of_turn>") != std::string_view::npos) {
    style = Style::gemma3;
  } else {
    return Error{.code = ErrorCode::unsupported,
                 .what = "the file's chat template is of no known family",
                 .where = "chat template",
                 .expected = "the turn markers of Gemma 4 (<|turn>) or Gemma 3 (<start_of_turn>)",
                 .found = "neither"};
  }
  FACET_TRY(ChatFormat format, of(style, tokenizer));
  return std::optional<ChatFormat>(std::move(format));
}

Result<std::vector<Segment>> ChatFormat::segments(std::span<const Message> messages,
                                                  const RenderOptions& options) const {
  return style_ == Style::gemma3 ? Gemma3Writer(*this, options).write(messages)
                                 : Gemma4Writer(*this, options).write(messages);
}

Result<std::vector<Token>> ChatFormat::render(std::span<const Message> messages, const RenderOptions& options) const {
  FACET_TRY(const std::vector<Segment> parts, segments(messages, options));
  std::vector<Token> tokens;
  for (const Segment& part : parts) {
    if (part.marker) {
      tokens.push_back(*part.marker);
    } else {
      tokenizer_->encode(part.text, tokenizer::Markers::no, tokens);
    }
  }
  return tokens;
}

Result<std::string> ChatFormat::render_text(std::span<const Message> messages, const RenderOptions& options) const {
  FACET_TRY(const std::vector<Segment> parts, segments(messages, options));
  std::string text;
  for (const Segment& part : parts) text += part.marker ? tokenizer_->string(*part.marker) : part.text;
  return text;
}

}  // namespace facet::chat
