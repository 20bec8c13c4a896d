// AnswerStream: tokens of an answer become text, thought and the reason it ended. Knows chat format and stop strings.
#pragma once

#include <optional>
#include <string>

#include "chat/chat_format.h"
#include "engine/stop_strings.h"
#include "tokenizer/tokenizer.h"

namespace facet::engine {

class AnswerStream {
 public:
  struct Piece {
    std::string text, thought;  // what can be shown now
  };

  // format: nullptr for raw text. Both must outlive the stream.
  AnswerStream(const tokenizer::Tokenizer& tokenizer, const chat::ChatFormat* format,
               std::vector<std::string> stop_strings);

  Piece push(Token token);
  // The rest, when no stop string ended the answer.
  Piece finish();
  bool stopped() const { return stop_.found(); }
  const std::string& stop_string() const { return stop_.match(); }

 private:
  Piece shown(std::string text, std::string thought);

  tokenizer::StreamDecoder decoder_;
  std::optional<chat::AnswerParser> parser_;
  StopStrings stop_;
};

}  // namespace facet::engine
