// A hash of short strings for the tables of this folder. Never stored, so it may change.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace facet::tokenizer {

// Places that a table looks at before it gives up: no vocabulary comes near (Gemma 4: 91), but strings made for the
// purpose would all want the same place, and the time would grow with their square.
inline constexpr size_t kMaxProbes = 1024;

inline uint64_t mix(uint64_t a) {
  a *= 0x9E3779B97F4A7C15u;
  return a ^ a >> 32;
}

inline uint64_t hash_text(std::string_view text) {
  const auto load = [&](size_t at, size_t n) {
    uint64_t value = 0;
    std::memcpy(&value, text.data() + at, n);
    return value;
  };
  uint64_t hash = text.size() * 0xD6E8FEB86659FD93u;
  size_t at = 0;
  for (; text.size() - at >= 8; at += 8) hash = mix(hash ^ load(at, 8));
  const size_t left = text.size() - at;  // the last bytes by fixed-size loads, which may overlap
  if (left >= 4)
    hash = mix(hash ^ (load(at, 4) | load(at + left - 4, 4) << 32));
  else if (left > 0)
    hash = mix(hash ^ (load(at, 1) | load(at + left / 2, 1) << 8 | load(at + left - 1, 1) << 16));
  return mix(hash);
}

}  // namespace facet::tokenizer
