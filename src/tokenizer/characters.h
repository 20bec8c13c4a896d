// Characters of a text: where they begin, and their code. Inlined, since the encoder looks at every byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace facet::tokenizer {

// U+2581 stands for the space in vocabularies. Inside the tokenizer pieces and text hold the plain space instead.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

struct Character {
  uint32_t code;  // code point; kInvalid + byte for a byte that begins no valid character
  uint32_t size;  // in bytes
};
inline constexpr uint32_t kInvalid = 0x110000;

// The character at text[at]. Requires at < text.size(). Agrees with utf8_length (base/utf8.h) on what is valid.
inline Character character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<unsigned char>(text[at + i]); };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t left = text.size() - at;
  if (lead >= 0xE0 && lead < 0xF0 && left >= 3 && follows(1) && follows(2)) {
    const uint32_t code = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) return {code, 3};
  } else if (lead >= 0xC2 && lead < 0xE0 && left >= 2 && follows(1)) {
    return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  } else if (lead >= 0xF0 && lead < 0xF5 && left >= 4 && follows(1) && follows(2) && follows(3)) {
    const uint32_t code = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    if (code >= 0x10000 && code < 0x110000) return {code, 4};
  }
  return {kInvalid + lead, 1};
}

}  // namespace facet::tokenizer
