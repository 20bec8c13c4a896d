// Which two neighbours may become one token, and which pair goes first: the whole difference between the two
// algorithms. merger.h does the rest.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/vocab.h"

namespace facet::tokenizer {

// A stretch of a run: at first one character, later what has been merged.
struct Symbol {
  uint32_t begin, size;  // bytes of the run
  Token token;           // -1: no token stands for it; its bytes will
};

// What two neighbours become. The lowest rank goes first.
struct Merge {
  static constexpr uint32_t kNever = UINT32_MAX;
  uint32_t rank = kNever;
  Token result = -1;
};

// Byte-pair encoding: the file lists the pairs, best first.
class RankedMerges {
 public:
  // Errors: corrupt (a merge names a string that is not in the vocabulary), unsupported (a limit).
  static Result<RankedMerges> build(const VocabFile& file, const Vocab& vocab);

  Merge find(std::string_view, const Symbol& left, const Symbol& right) const {
    if (left.token < 0 || right.token < 0) return {};
    const uint64_t key = key_of(left.token, right.token);
    for (size_t i = slot_of(key);; i = i + 1 == slots_.size() ? 0 : i + 1) {
      if (slots_[i].key == key) return {slots_[i].rank, slots_[i].result};
      if (slots_[i].key == kFree) return {};
    }
  }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t key = kFree;
    uint32_t rank = 0;
    Token result = -1;
  };

  static uint64_t key_of(Token left, Token right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    return static_cast<size_t>(static_cast<unsigned __int128>(key * 0x9E3779B97F4A7C15u) * slots_.size() >> 64);
  }
  bool add(Token left, Token right, Merge merge);  // false: too many pairs want its place

  std::vector<Slot> slots_;  // open addressing, at most two thirds full
};

// SentencePiece's form: any pair may merge whose whole is a token; the best score goes first.
class ScoredPieces {
 public:
  ScoredPieces(const VocabFile& file, const Vocab& vocab);

  Merge find(std::string_view run, const Symbol& left, const Symbol& right) const {
    if (size_t{left.size} + right.size > vocab_->longest_piece()) return {};
    const Token whole = vocab_->find_piece(run.substr(left.begin, left.size + right.size));
    return whole < 0 ? Merge() : Merge{ranks_[static_cast<size_t>(whole)], whole};
  }

 private:
  const Vocab* vocab_;
  std::vector<uint32_t> ranks_;  // of the token with this id; equal scores have equal ranks
};

}  // namespace facet::tokenizer
