// UTF-8: where characters begin and end, and whether they are valid (Unicode 15, table 3-7).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace facet {

// Length in bytes of the valid character at the front of text; 0 if text is empty or does not begin with one.
size_t utf8_length(std::string_view text);

// How many bytes at the end of text are the beginning of a character that more bytes could complete: 0…3.
size_t utf8_incomplete_tail(std::string_view text);

bool utf8_valid(std::string_view text);

// Valid text: every maximal invalid part becomes U+FFFD.
std::string utf8_repair(std::string_view text);

// Text of a stranger's file for a terminal: what is no character, and control characters but newline and tab, become
// U+FFFD. An escape sequence in a tensor's name thus moves no cursor.
std::string printable(std::string_view text);

// The beginning of a stranger's text for a message: all of it up to 80 bytes, else as many whole characters and "…".
std::string excerpt(std::string_view text);

}  // namespace facet
