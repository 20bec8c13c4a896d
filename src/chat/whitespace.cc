#include "chat/whitespace.h"

#include <algorithm>
#include <array>

namespace facet::chat {
namespace {

// Beyond ASCII: U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000.
constexpr std::array<std::string_view, 19> kWide = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83",
    "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
    "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

bool narrow(char c) { return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20); }

}  // namespace

size_t leading_space(std::string_view text) {
  size_t size = 0;
  for (;;) {
    const std::string_view rest = text.substr(size);
    if (rest.empty()) return size;
    const auto wide = std::ranges::find_if(kWide, [&](std::string_view space) { return rest.starts_with(space); });
    if (!narrow(rest.front()) && wide == kWide.end()) return size;
    size += narrow(rest.front()) ? 1 : wide->size();
  }
}

size_t trailing_space(std::string_view text) {
  size_t size = 0;
  for (;;) {
    const std::string_view rest = text.substr(0, text.size() - size);
    if (rest.empty()) return size;
    const auto wide = std::ranges::find_if(kWide, [&](std::string_view space) { return rest.ends_with(space); });
    if (!narrow(rest.back()) && wide == kWide.end()) return size;
    size += narrow(rest.back()) ? 1 : wide->size();
  }
}

}  // namespace facet::chat
