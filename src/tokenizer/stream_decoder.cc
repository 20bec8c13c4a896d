#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

namespace facet::tokenizer {

std::string StreamDecoder::push(Token token) {
  pending_ += tokenizer_->piece(token, markers_);
  const size_t complete = pending_.size() - utf8_incomplete_tail(pending_);
  std::string text = utf8_repair(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = utf8_repair(pending_);
  pending_.clear();
  return text;
}

}  // namespace facet::tokenizer
