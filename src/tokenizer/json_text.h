// JsonText: walks through JSON text in place. What it passes is not kept: strings are views into the text, and only
// those with escapes are written anew. It checks what it reads (names, strings, integers, commas); what skip() passes
// is left to base/json.h.
//
// A tokenizer.json is 32 MB, most of it one object and one array: as a tree of values they take twice the memory and
// four times the time.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

namespace facet::tokenizer {

class JsonText {
 public:
  // Text must be valid UTF-8 and, like this object, must outlive the strings.
  explicit JsonText(std::string_view text) : text_(text) {}

  // The first character of the next value; 0 at the end of the text.
  char next() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  size_t position() const { return at_; }
  // Back to the value at `position`, to skip it. (Strings must not be read twice: see unescaped_.)
  void go_back(size_t position) {
    at_ = position;
    failed_ = false;
  }

  // Enters a container: '{' or '['. False, and stays, if the next value is none.
  bool enter(char bracket) {
    if (next() != bracket) return false;
    ++at_;
    first_ = true;
    return true;
  }
  // The name of the next member, up to its value; nullopt at the end of the object (which is passed) and where the text
  // is not JSON: then failed().
  std::optional<std::string_view> member() {
    if (!more('}')) return std::nullopt;
    const std::optional<std::string_view> name = string();
    if (!name || next() != ':') return fail();
    ++at_;
    return name;
  }
  // Whether the array has another element, which is next; its end is passed. False too where failed().
  bool element() { return more(']'); }

  // Nullopt, and stays, if the next value is none.
  std::optional<std::string_view> string() {
    if (next() != '"') return std::nullopt;
    const size_t begin = at_ + 1, end = plain_end(begin);
    if (end == text_.size() || text_[end] != '"') return escaped(begin, end);
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }
  // An integer of 64 bits. Nullopt, and stays, if the next value is none.
  std::optional<int64_t> integer();
  // Passes one value, whatever is in it. False at the end of the text.
  bool skip();

  bool failed() const { return failed_; }

 private:
  static constexpr uint64_t kOnes = 0x0101010101010101u, kHigh = 0x80 * kOnes;

  // Eight characters, the first one lowest. Requires that many.
  uint64_t load(size_t at) const {
    uint64_t value;
    std::memcpy(&value, text_.data() + at, sizeof value);
    return std::endian::native == std::endian::little ? value : __builtin_bswap64(value);
  }

  // Indented files are half spaces.
  void skip_space() {
    for (; at_ < text_.size() && static_cast<unsigned char>(text_[at_]) <= ' '; ++at_) {
      if (const char c = text_[at_]; c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
      while (text_.size() - at_ > 8 && load(at_ + 1) == ' ' * kOnes) at_ += 8;
    }
  }

  // The first place from `at` on that ends a string, begins an escape, or is a control character.
  size_t plain_end(size_t at) const {
    for (; text_.size() - at >= 8; at += 8) {
      const uint64_t value = load(at), quote = value ^ '"' * kOnes, slash = value ^ '\\' * kOnes;
      // The lowest mark of each is right; what lies above it may not be.
      const uint64_t marks =
          (((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash) | ((value - ' ' * kOnes) & ~value)) & kHigh;
      if (marks != 0) return at + static_cast<size_t>(std::countr_zero(marks)) / 8;
    }
    while (at < text_.size() && text_[at] != '"' && text_[at] != '\\' && static_cast<unsigned char>(text_[at]) >= ' ')
      ++at;
    return at;
  }

  // Whether the container goes on; passes the comma, or the end.
  bool more(char end) {
    const char c = next();
    if (c == end) {
      ++at_;
      first_ = false;
      return false;
    }
    if (!first_) {
      if (c != ',') return fail(), false;
      ++at_;
    }
    first_ = false;
    return true;
  }

  std::nullopt_t fail() {
    failed_ = true;
    return std::nullopt;
  }
  bool skip_string();
  // The string that begins at `begin` and is plain up to `end`.
  std::optional<std::string_view> escaped(size_t begin, size_t end);
  char* unescape(size_t& at, char* out) const;
  std::optional<uint32_t> hex(size_t at) const;

  std::string_view text_;
  size_t at_ = 0;
  bool first_ = false, failed_ = false;  // first_: no comma yet in this container
  std::unique_ptr<char[]> unescaped_;    // as many bytes as the text, for no string grows; few are ever touched
  size_t unescaped_size_ = 0;
};

}  // namespace facet::tokenizer
