// RunCutter: where a text may be cut into runs without changing its tokens (spec/tokenizer.md 4.3).
//
// No merge can cross a place whose two characters stand side by side in no piece of the vocabulary. Pieces of Gemma mix
// neither letters with punctuation nor words with following spaces, so runs are about a word long.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/vocab.h"

namespace facet::tokenizer {

class RunCutter {
 public:
  RunCutter() = default;
  explicit RunCutter(const Vocab& vocab);

  // The end of the run that begins at text[at]: the next place that can be cut, or the end.
  size_t run_end(std::string_view text, size_t at) const;

  // Whether some piece holds a newline beside another character. If none does, a run of newlines is a run of its own.
  bool mixes_newlines() const { return mixes_newlines_; }

 private:
  static constexpr uint32_t kBits = 20;
  static uint32_t bit_of(uint32_t a, uint32_t b) {
    return static_cast<uint32_t>((uint64_t{a} << 32 | b) * 0x9E3779B97F4A7C15u >> (64 - kBits));
  }
  void join(uint32_t a, uint32_t b);
  bool may_join(uint32_t a, uint32_t b) const;

  // Exact for pairs of ASCII characters; for others a hash table without keys (pairs that share a bit are merely not
  // cut). Gemma has 34,000 pairs: 3 % of the bits.
  std::array<std::array<uint8_t, 128>, 128> ascii_ = {};
  std::vector<uint64_t> others_;
  bool mixes_newlines_ = false;
};

}  // namespace facet::tokenizer
