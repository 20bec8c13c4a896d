#include "tokenizer/run_cutter.h"

namespace facet::tokenizer {

RunCutter::RunCutter(const Vocab& vocab) : others_((size_t{1} << kBits) / 64) {
  for (Token token = 0; token < vocab.size(); ++token) {
    if (!vocab.mergeable(token)) continue;
    const std::string_view piece = vocab.piece(token);
    Character last = character_at(piece, 0);
    for (size_t at = last.size; at < piece.size(); at += last.size) {
      const Character next = character_at(piece, at);
      join(last.code, next.code);
      last = next;
    }
  }
}

void RunCutter::join(uint32_t a, uint32_t b) {
  if ((a == '\n') != (b == '\n')) mixes_newlines_ = true;
  if (a < 128 && b < 128) {
    ascii_[a][b] = 1;
  } else {
    others_[bit_of(a, b) / 64] |= uint64_t{1} << bit_of(a, b) % 64;
  }
}

bool RunCutter::may_join(uint32_t a, uint32_t b) const {
  if (a < 128 && b < 128) return ascii_[a][b] != 0;
  // Beside a newline the answer must be exact: section 4.2 asks for runs of nothing but newlines.
  if ((a == '\n') != (b == '\n') && !mixes_newlines_) return false;
  return (others_[bit_of(a, b) / 64] >> bit_of(a, b) % 64 & 1) != 0;
}

size_t RunCutter::run_end(std::string_view text, size_t at) const {
  Character last = character_at(text, at);
  for (at += last.size; at < text.size(); at += last.size) {
    const Character next = character_at(text, at);
    if (!may_join(last.code, next.code)) break;
    last = next;
  }
  return at;
}

}  // namespace facet::tokenizer
