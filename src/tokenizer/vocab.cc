#include "tokenizer/vocab.h"

#include <algorithm>

#include "base/utf8.h"

namespace facet::tokenizer {
namespace {

bool is_reserved(std::string_view string) {
  constexpr std::string_view kStart = "<unused";
  if (string.size() < kStart.size() + 2 || !string.starts_with(kStart) || string.back() != '>') return false;
  string = string.substr(kStart.size(), string.size() - kStart.size() - 1);
  return std::ranges::all_of(string, [](char c) { return c >= '0' && c <= '9'; });
}

// <|turn>, <turn|>, <|image|>: files call some of these user-defined, so that parsers of output can see them. A user
// must not be able to type them, so they are markers.
bool has_marker_form(std::string_view string) {
  return string.size() >= 4 && string.front() == '<' && string.back() == '>' &&
         (string[1] == '|' || string[string.size() - 2] == '|');
}

TokenClass classify(std::string_view string, TokenType type) {
  constexpr std::string_view kVideo = "<|video|>";  // an ordinary token in early files (spec/tokenizer.md 6.3)
  if (type == TokenType::byte) return TokenClass::byte;
  if (type == TokenType::unused || is_reserved(string)) return TokenClass::reserved;
  if (type == TokenType::control || type == TokenType::unknown || string == kVideo) return TokenClass::marker;
  if (type == TokenType::user_defined && has_marker_form(string)) return TokenClass::marker;
  return TokenClass::text;
}

}  // namespace

std::optional<uint8_t> byte_of(std::string_view string) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (string.size() != 6 || !string.starts_with("<0x") || string.back() != '>') return std::nullopt;
  const size_t high = kDigits.find(string[3]), low = kDigits.find(string[4]);
  if (high == kDigits.npos || low == kDigits.npos) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

void Strings::reserve(size_t count, size_t bytes) {
  offsets_.reserve(count + 1);
  bytes_.reserve(bytes);
}

void Strings::add(std::string_view string) {
  bytes_.insert(bytes_.end(), string.begin(), string.end());
  offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
}

void Strings::add_spaced(std::string_view string) {
  for (size_t mark; (mark = string.find(kSpaceMark)) != string.npos;) {
    bytes_.insert(bytes_.end(), string.begin(), string.begin() + static_cast<std::ptrdiff_t>(mark));
    bytes_.push_back(' ');
    string.remove_prefix(mark + kSpaceMark.size());
  }
  add(string);
}

Result<Vocab> Vocab::build(const VocabFile& file) {
  Vocab vocab;
  vocab.byte_tokens_.fill(-1);
  FACET_TRY_VOID(vocab.add_tokens(file));
  for (size_t byte = 0; byte < 256; ++byte)
    if (vocab.byte_tokens_[byte] < 0)
      return file.unsupported("vocabulary has no token for some byte", "byte tokens <0x00> to <0xFF>",
                              cat("none for byte ", byte));
  FACET_TRY_VOID(vocab.index_pieces(file));
  vocab.index_others();
  return vocab;
}

Result<void> Vocab::add_tokens(const VocabFile& file) {
  const size_t count = file.strings.size();
  if (count == 0) return file.corrupt("vocabulary is empty");
  if (count > kMaxTokens) return file.unsupported("vocabulary is too large", cat("at most ", kMaxTokens), cat(count));
  size_t bytes = 0;
  for (const std::string_view string : file.strings) bytes += string.size();
  if (bytes > UINT32_MAX) return file.unsupported("vocabulary is too large", "less than 4 GiB", cat(bytes, " bytes"));
  strings_.reserve(count, bytes);
  pieces_.reserve(count, bytes);
  classes_.resize(count);
  mergeable_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const std::string_view string = file.strings[i];
    if (string.size() > kMaxTokenBytes)
      return file.unsupported(cat("string of token ", i, " is too long"), cat("at most ", kMaxTokenBytes, " bytes"),
                              cat(string.size(), " bytes"));
    strings_.add(string);
    classes_[i] = classify(string, file.types[i]);
    if (classes_[i] == TokenClass::byte) {
      FACET_TRY_VOID(add_byte(file, static_cast<Token>(i)));
      continue;
    }
    const bool text = classes_[i] == TokenClass::text;
    mergeable_[i] = text && !string.empty() && string.find(' ') == string.npos && utf8_valid(string);
    text ? pieces_.add_spaced(string) : pieces_.add(string);
  }
  return {};
}

Result<void> Vocab::add_byte(const VocabFile& file, Token token) {
  const std::string_view string = file.strings[index(token)];
  const std::optional<uint8_t> byte = byte_of(string);
  if (!byte) return file.corrupt(cat("token ", token, " is of type byte, but does not name one"), "<0x00> to <0xFF>");
  byte_tokens_[*byte] = token;
  const char value = static_cast<char>(*byte);
  pieces_.add({&value, 1});
  return {};
}

Result<void> Vocab::index_pieces(const VocabFile& file) {
  character_page_.assign(kInvalid >> 8, 0);
  character_pages_.emplace_back().fill(-1);
  piece_index_ = PieceIndex(static_cast<size_t>(std::ranges::count(mergeable_, 1)));
  // Memory is asked for the places of the next tokens while this one is put in its own.
  constexpr Token kAhead = 16;
  std::array<uint64_t, kAhead> hashes = {};
  const auto look_ahead = [&](Token token) {
    if (token >= size() || !mergeable(token)) return;
    piece_index_.prefetch(hashes[index(token % kAhead)] = hash_text(piece(token)));
  };
  for (Token token = 0; token < kAhead; ++token) look_ahead(token);
  for (Token token = 0; token < size(); ++token) {
    const uint64_t hash = hashes[index(token % kAhead)];
    look_ahead(token + kAhead);
    if (!mergeable(token)) continue;
    const std::string_view text = piece(token);
    const auto same = [&](Token other) {
      if (piece(other) != text) return false;
      return repeats_ = true;
    };
    if (!piece_index_.put(hash, token, same)) return file.colliding("strings");
    longest_piece_ = std::max(longest_piece_, text.size());
    if (const Character character = character_at(text, 0); character.size == text.size())
      add_character(character.code, token);
  }
  return {};
}

void Vocab::add_character(uint32_t code, Token token) {
  uint16_t& page = character_page_[code >> 8];
  if (page == 0) {
    page = static_cast<uint16_t>(character_pages_.size());
    character_pages_.emplace_back().fill(-1);
  }
  character_pages_[page][code & 255] = token;
}

void Vocab::index_others() {
  for (Token token = 0; token < size(); ++token)
    if (!mergeable(token) && !string(token).empty()) others_.push_back(token);
  std::ranges::sort(others_, [&](Token a, Token b) { return std::pair(string(a), a) < std::pair(string(b), b); });
}

std::optional<Token> Vocab::find(std::string_view wanted) const {
  Token found = -1;
  const auto above = std::ranges::upper_bound(others_, wanted, {}, [&](Token token) { return string(token); });
  if (above != others_.begin() && string(*(above - 1)) == wanted) found = *(above - 1);
  if (!wanted.empty() && wanted.find(' ') == wanted.npos) {
    Strings spaced;
    spaced.add_spaced(wanted);
    found = std::max(found, find_piece(spaced[0]));
  }
  return found < 0 ? std::nullopt : std::optional(found);
}

}  // namespace facet::tokenizer
