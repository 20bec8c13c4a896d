// A fast hash of 64 bits, for telling accidents apart: damaged headers, changed files. It withstands nobody who looks
// for two inputs of the same hash.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/file.h"

namespace facet {

class Hash64 {
 public:
  // Where one piece ends and the next begins counts: add("ab"), add("c") differs from add("a"), add("bc").
  void add(Bytes bytes) {
    mix(bytes.size());
    uint64_t word = 0;
    for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
      std::memcpy(&word, bytes.data(), sizeof word);
      mix(word);
    }
    if (bytes.empty()) return;
    word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    mix(word);
  }
  void add(std::string_view text) { add(as_bytes(text)); }
  void add(int64_t number) { mix(std::bit_cast<uint64_t>(number)); }

  uint64_t value() const {  // the finaliser of MurmurHash3
    uint64_t x = state_;
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
  }
  // 16 hexadecimal digits.
  std::string text() const {
    std::string digits(16, '0');
    for (size_t i = 0; i < digits.size(); ++i) digits[i] = "0123456789abcdef"[value() >> (60 - 4 * i) & 15];
    return digits;
  }

 private:
  // Each step is one-to-one in the state and in the word: a single changed word always changes the hash.
  void mix(uint64_t word) {
    state_ = (state_ ^ word) * 0x9e3779b97f4a7c15u;
    state_ ^= state_ >> 32;
  }

  uint64_t state_ = 0x243f6a8885a308d3u;
};

}  // namespace facet
