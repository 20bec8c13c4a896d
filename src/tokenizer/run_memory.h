// RunMemory: within one text, the runs that have been seen and the tokens they gave. Prose and code repeat themselves,
// so most runs are copied instead of merged again. Holds places in the text and in the tokens, no copies; lives for one
// call of encode, so calls share nothing.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tensor/token.h"
#include "tokenizer/text_hash.h"

namespace facet::tokenizer {

class RunMemory {
 public:
  // For a text of so many bytes.
  explicit RunMemory(size_t text_bytes)
      : places_(text_bytes < kWorthIt ? 0 : std::min(kPlaces, std::bit_floor(text_bytes / 16))) {}

  bool remembers(std::string_view run) const { return !places_.empty() && run.size() <= kLongestRun; }

  // Appends what the same run gave before. False: it is not known (any more). Requires remembers(run).
  bool recall(std::string_view run, uint64_t hash, std::vector<Token>& out) const {
    const Place& place = places_[slot(hash)];
    if (place.run != run) return false;
    for (size_t i = 0; i < place.count; ++i) out.push_back(out[place.first + i]);
    return true;
  }

  // The tokens of run begin at out[first]. Run must stay where it is as long as this object lives.
  void keep(std::string_view run, uint64_t hash, size_t first, const std::vector<Token>& out) {
    places_[slot(hash)] = {run, first, out.size() - first};
  }

 private:
  static constexpr size_t kWorthIt = 512, kLongestRun = 64, kPlaces = 4096;
  struct Place {
    std::string_view run;
    size_t first = 0, count = 0;
  };
  size_t slot(uint64_t hash) const { return hash & (places_.size() - 1); }

  std::vector<Place> places_;  // a power of two; a newer run takes the place of an older one
};

}  // namespace facet::tokenizer
