#include "base/utf8.h"

#include <algorithm>

namespace facet {
namespace {

unsigned char at(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// What the first byte announces: the length, and the range of the second byte.
struct Lead {
  size_t length;
  unsigned char low, high;
};

Lead lead_of(unsigned char c) {
  if (c < 0x80) return {1, 0, 0};
  if (c >= 0xC2 && c <= 0xDF) return {2, 0x80, 0xBF};
  if (c == 0xE0) return {3, 0xA0, 0xBF};
  if (c == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (c >= 0xE1 && c <= 0xEF) return {3, 0x80, 0xBF};
  if (c == 0xF0) return {4, 0x90, 0xBF};
  if (c >= 0xF1 && c <= 0xF3) return {4, 0x80, 0xBF};
  if (c == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes at the front agree with the character that the first byte announces; at most its length.
size_t matching_prefix(std::string_view text, const Lead& lead) {
  if (text.empty() || lead.length == 0) return 0;
  if (lead.length == 1 || text.size() == 1) return 1;
  if (at(text, 1) < lead.low || at(text, 1) > lead.high) return 1;
  size_t n = 2;
  while (n < lead.length && n < text.size() && (at(text, n) & 0xC0) == 0x80) ++n;
  return n;
}

}  // namespace

size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = lead_of(at(text, 0));
  return lead.length != 0 && matching_prefix(text, lead) == lead.length ? lead.length : 0;
}

size_t utf8_incomplete_tail(std::string_view text) {
  for (size_t n = 1; n <= std::min<size_t>(3, text.size()); ++n) {
    const std::string_view tail = text.substr(text.size() - n);
    if ((at(tail, 0) & 0xC0) == 0x80) continue;
    const Lead lead = lead_of(at(tail, 0));
    return lead.length > n && matching_prefix(tail, lead) == n ? n : 0;
  }
  return 0;
}

bool utf8_valid(std::string_view text) {
  while (!text.empty()) {
    const size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string utf8_repair(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t n = utf8_length(text);
    if (n != 0) {
      out += text.substr(0, n);
    } else {
      out += "\xEF\xBF\xBD";
      n = std::max<size_t>(1, matching_prefix(text, lead_of(at(text, 0))));
    }
    text.remove_prefix(n);
  }
  return out;
}

std::string printable(std::string_view text) {
  const std::string valid = utf8_repair(text);
  std::string out;
  out.reserve(valid.size());
  for (std::string_view rest = valid; !rest.empty();) {
    const std::string_view character = rest.substr(0, utf8_length(rest));
    const unsigned char first = at(character, 0);
    const bool harmless = first == '\n' || first == '\t';
    const bool control = first < 0x20 || first == 0x7F || (first == 0xC2 && at(character, 1) < 0xA0);
    out += control && !harmless ? "\xEF\xBF\xBD" : character;
    rest.remove_prefix(character.size());
  }
  return out;
}

std::string excerpt(std::string_view text) {
  constexpr size_t kMost = 80;
  if (text.size() <= kMost) return std::string(text);
  text = text.substr(0, kMost);
  text.remove_suffix(utf8_incomplete_tail(text));
  return std::string(text) + "\u2026";
}

}  // namespace facet
