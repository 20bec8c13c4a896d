// From strings to numbers: an open-addressing table that holds no strings, only 8 bytes a slot.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "tensor/token.h"
#include "tokenizer/text_hash.h"

namespace facet::tokenizer {

class PieceIndex {
 public:
  explicit PieceIndex(size_t entries = 0) : slots_(std::bit_ceil(std::max<size_t>(8, entries + entries / 2))) {}

  // The token whose hash is `hash` and for which same(token) holds; -1 where there is none.
  template <class Same>
  Token find(uint64_t hash, Same same) const {
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash & mask; slots_[i].token >= 0; i = (i + 1) & mask)
      if (slots_[i].tag == hash >> 32 && same(slots_[i].token)) return slots_[i].token;
    return -1;
  }

  // The token that find() will look at first; -1 where there is none.
  Token first(uint64_t hash) const {
    return find(hash, [](Token) { return true; });
  }

  // Adds the token, or puts it in the place of an equal one. False: too many want its place. Requires fewer tokens than
  // announced.
  template <class Same>
  bool put(uint64_t hash, Token token, Same same) {
    const size_t mask = slots_.size() - 1;
    for (size_t probe = 0; probe < kMaxProbes; ++probe) {
      Slot& slot = slots_[(hash + probe) & mask];
      if (slot.token >= 0 && !(slot.tag == hash >> 32 && same(slot.token))) continue;
      slot = {static_cast<uint32_t>(hash >> 32), token};
      return true;
    }
    return false;
  }

  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]); }

 private:
  struct Slot {
    uint32_t tag = 0;
    Token token = -1;
  };
  std::vector<Slot> slots_;  // a power of two, at most two thirds full
};

}  // namespace facet::tokenizer
