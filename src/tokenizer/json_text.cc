#include "tokenizer/json_text.h"

#include <algorithm>
#include <charconv>

namespace facet::tokenizer {

std::optional<int64_t> JsonText::integer() {
  next();
  const std::string_view rest = text_.substr(at_);
  const size_t sign = rest.starts_with('-') ? 1 : 0;
  if (rest.substr(sign).starts_with('0') && rest.size() > sign + 1 && rest[sign + 1] >= '0' && rest[sign + 1] <= '9')
    return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  const auto size = static_cast<size_t>(end - rest.data());
  if (error != std::errc()) return std::nullopt;
  if (size < rest.size() && (rest[size] == '.' || rest[size] == 'e' || rest[size] == 'E')) return std::nullopt;
  at_ += size;
  return value;
}

bool JsonText::skip() {
  size_t depth = 0;
  do {
    switch (next()) {
      case '\0': return false;
      case '"':
        if (!skip_string()) return false;
        break;
      case '{':
      case '[':
        ++depth;
        ++at_;
        break;
      case '}':
      case ']':
        if (depth == 0) return false;
        --depth;
        ++at_;
        break;
      default:
        for (++at_;
             at_ < text_.size() && std::string_view(",:\"{}[] \n\r\t").find(text_[at_]) == std::string_view::npos;)
          ++at_;
    }
    // Between the values of a container.
    while (depth > 0 && (next() == ',' || next() == ':')) ++at_;
  } while (depth > 0);
  return true;
}

bool JsonText::skip_string() {
  for (size_t at = at_ + 1; (at = plain_end(at)) < text_.size(); at += 2) {
    if (text_[at] == '"') return at_ = at + 1, true;
    if (text_[at] != '\\' || text_.size() - at < 2) return false;
  }
  return false;
}

std::optional<std::string_view> JsonText::escaped(size_t begin, size_t end) {
  if (unescaped_ == nullptr) unescaped_ = std::make_unique_for_overwrite<char[]>(text_.size());
  char* const start = unescaped_.get() + unescaped_size_;
  char* out = start;
  for (size_t at = begin;; end = plain_end(at)) {
    std::memcpy(out, text_.data() + at, end - at);
    out += end - at;
    at = end;
    if (at == text_.size()) return fail();
    if (text_[at] == '"') break;
    if (out = text_[at] == '\\' ? unescape(at, out) : nullptr; out == nullptr) return fail();
  }
  at_ = end + 1;
  const auto size = static_cast<size_t>(out - start);
  unescaped_size_ += size;
  return std::string_view(start, size);
}

// Passes the escape at text_[at]; nullptr where it is none.
char* JsonText::unescape(size_t& at, char* out) const {
  constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  if (text_.size() - at < 2) return nullptr;
  if (const size_t i = kNames.find(text_[at + 1]); i != kNames.npos) {
    at += 2;
    *out++ = kMeanings[i];
    return out;
  }
  std::optional<uint32_t> code = hex(at);
  if (!code) return nullptr;
  at += 6;
  if (*code >= 0xD800 && *code < 0xE000) {  // two halves of one character
    const std::optional<uint32_t> low = hex(at);
    if (*code >= 0xDC00 || !low || *low < 0xDC00 || *low >= 0xE000) return nullptr;
    at += 6;
    code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
  }
  const auto byte = [&](uint32_t value) { *out++ = static_cast<char>(value); };
  const size_t length = *code < 0x80 ? 1 : *code < 0x800 ? 2 : *code < 0x10000 ? 3 : 4;
  constexpr uint32_t kLeads[] = {0, 0, 0xC0, 0xE0, 0xF0};
  byte(kLeads[length] | *code >> 6 * (length - 1));
  for (size_t i = length - 1; i-- > 0;) byte(0x80 | (*code >> 6 * i & 0x3F));
  return out;
}

// The code of "\uXXXX" at text_[at].
std::optional<uint32_t> JsonText::hex(size_t at) const {
  if (!text_.substr(std::min(at, text_.size())).starts_with("\\u") || text_.size() - at < 6) return std::nullopt;
  uint32_t code = 0;
  const char* const digits = text_.data() + at + 2;
  const auto [end, error] = std::from_chars(digits, digits + 4, code, 16);
  if (error != std::errc() || end != digits + 4) return std::nullopt;
  return code;
}

}  // namespace facet::tokenizer
