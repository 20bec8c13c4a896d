#include "hub/quant_name.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace facet::hub {
namespace {

constexpr std::string_view kSuffix = ".gguf";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Q4_K_M, IQ4_XS, TQ1_0, F16, BF16, MXFP4, NVFP4, FP8, INT8: letters, a number, further parts. In capitals.
bool looks_like_quant(std::string_view word) {
  constexpr std::array<std::string_view, 9> kBegins = {"IQ", "TQ", "Q", "MXFP", "NVFP", "BF", "FP", "F", "INT"};
  for (const std::string_view begin : kBegins) {
    if (!word.starts_with(begin) || word.size() == begin.size() || !is_digit(word[begin.size()])) continue;
    const std::string_view rest = word.substr(begin.size());
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    return digits == rest.size() || rest[digits] == '_';
  }
  return false;
}

// The words that stand between dashes and dots.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const size_t end = text.find_first_of("-.");
    words.push_back(text.substr(0, end));
    if (end == text.npos) return words;
    text.remove_prefix(end + 1);
  }
}

// The label that a name holds; variants of one quantisation are told apart by the word before it.
std::string label_in(std::string_view name) {
  const std::string capitals = upper(name);
  const std::vector<std::string_view> words = words_of(capitals);
  for (size_t i = words.size(); i-- > 0;) {
    if (!looks_like_quant(words[i])) continue;
    const bool variant = i > 0 && (words[i - 1] == "UD" || words[i - 1] == "I1");
    return variant ? std::string(words[i - 1]) + "-" + std::string(words[i]) : std::string(words[i]);
  }
  return {};
}

std::string mapped(std::string_view text, char from, char to, int shift) {
  std::string out(text);
  for (char& c : out)
    if (c >= from && c <= to) c = static_cast<char>(c + shift);
  return out;
}

std::optional<int> number(std::string_view digits) {
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string lower(std::string_view text) { return mapped(text, 'A', 'Z', 'a' - 'A'); }
std::string upper(std::string_view text) { return mapped(text, 'a', 'z', 'A' - 'a'); }

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string_view folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? std::string_view() : path.substr(0, slash);
}

bool is_gguf(std::string_view path) { return lower(path).ends_with(kSuffix); }

SplitName split_name(std::string_view path, std::string_view suffix) {
  std::string_view name = base_name(path);
  if (lower(name).ends_with(suffix)) name.remove_suffix(suffix.size());
  constexpr size_t kDigits = 5, kTail = 1 + kDigits + 4 + kDigits;  // "-00001-of-00003"
  if (name.size() > kTail) {
    const std::string_view tail = name.substr(name.size() - kTail);
    const std::optional<int> part = number(tail.substr(1, kDigits)), count = number(tail.substr(kTail - kDigits));
    if (tail[0] == '-' && tail.substr(1 + kDigits, 4) == "-of-" && part && count && *part >= 1 && *part <= *count)
      return {std::string(name.substr(0, name.size() - kTail)), *part, *count};
  }
  return {std::string(name), 1, 1};
}

std::string quant_label(std::string_view path) {
  if (std::string label = label_in(split_name(path, kSuffix).stem); !label.empty()) return label;
  for (std::string_view folder = folder_of(path); !folder.empty(); folder = folder_of(folder))
    if (std::string label = label_in(base_name(folder)); !label.empty()) return label;
  return {};
}

std::optional<int> quant_bits(std::string_view label) {
  const size_t begin = label.find_first_of("0123456789");
  if (begin == label.npos) return std::nullopt;
  const size_t end = std::min(label.find_first_not_of("0123456789", begin), label.size());
  return number(label.substr(begin, end - begin));
}

}  // namespace facet::hub
