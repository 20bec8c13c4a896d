#include "engine/answer_stream.h"

#include <utility>

namespace facet::engine {

AnswerStream::AnswerStream(const tokenizer::Tokenizer& tokenizer, const chat::ChatFormat* format,
                           std::vector<std::string> stop_strings)
    : decoder_(tokenizer), stop_(std::move(stop_strings)) {
  if (format != nullptr) parser_.emplace(*format, tokenizer);
}

AnswerStream::Piece AnswerStream::shown(std::string text, std::string thought) {
  return {.text = stop_.push(text), .thought = std::move(thought)};
}

AnswerStream::Piece AnswerStream::push(Token token) {
  if (!parser_) return shown(decoder_.push(token), {});
  chat::AnswerParser::Piece piece = parser_->push(token);
  return shown(std::move(piece.text), std::move(piece.thought));
}

AnswerStream::Piece AnswerStream::finish() {
  Piece last;
  if (parser_) {
    chat::AnswerParser::Piece piece = parser_->finish();
    last = shown(std::move(piece.text), std::move(piece.thought));
  } else {
    last = shown(decoder_.finish(), {});
  }
  if (!stopped()) last.text += stop_.finish();
  return last;
}

}  // namespace facet::engine
