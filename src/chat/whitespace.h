// White space as the published templates trim it: what Python's str.strip() removes.
#pragma once

#include <cstddef>
#include <string_view>

namespace facet::chat {

// Bytes of white space at the front, and at the end.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);

inline std::string_view trim(std::string_view text) {
  text.remove_prefix(leading_space(text));
  text.remove_suffix(trailing_space(text));
  return text;
}

}  // namespace facet::chat
