// Vocab: the strings of a vocabulary, what each stands for, and how to find one. Owns its bytes: two blocks for all
// strings, no object for each. How text is cut and merged is left to run_cutter.h and merger.h.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/characters.h"
#include "tokenizer/piece_index.h"
#include "tokenizer/text_hash.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab_file.h"

namespace facet::tokenizer {

// Many strings in one block.
class Strings {
 public:
  void reserve(size_t count, size_t bytes);
  void add(std::string_view string);
  // Adds it with every U+2581 as a space.
  void add_spaced(std::string_view string);
  void prefetch_offset(size_t i) const { __builtin_prefetch(&offsets_[i]); }
  void prefetch_bytes(size_t i) const { __builtin_prefetch(bytes_.data() + offsets_[i]); }
  std::string_view operator[](size_t i) const { return {bytes_.data() + offsets_[i], offsets_[i + 1] - offsets_[i]}; }

 private:
  std::vector<char> bytes_;
  std::vector<uint32_t> offsets_ = {0};
};

class Vocab {
 public:
  // Errors: corrupt (a byte token that is none, byte tokens missing), unsupported (a limit).
  static Result<Vocab> build(const VocabFile& file);

  int64_t size() const { return static_cast<int64_t>(classes_.size()); }
  bool contains(Token token) const { return token >= 0 && token < size(); }

  // These require contains(token).
  std::string_view string(Token token) const { return strings_[index(token)]; }
  std::string_view piece(Token token) const { return pieces_[index(token)]; }  // bytes in text; a marker's string
  TokenClass token_class(Token token) const { return classes_[index(token)]; }
  // Whether merging characters may make this token: text, valid UTF-8, and no plain space in its string (which could
  // not be told from U+2581).
  bool mergeable(Token token) const { return mergeable_[index(token)] != 0; }

  std::optional<Token> find(std::string_view string) const;
  // The mergeable token that stands for this text; -1 where there is none.
  Token find_piece(std::string_view text) const { return find_piece(text, hash_text(text)); }
  Token find_piece(std::string_view text, uint64_t hash) const {
    return piece_index_.find(hash, [&](Token token) { return piece(token) == text; });
  }
  // For many look-ups at once: what find_piece(text, hash) will read, asked for in three steps. Each step reads what
  // the one before asked for, so all look-ups should take one before any takes the next.
  void prefetch_place(uint64_t hash) const { piece_index_.prefetch(hash); }
  Token prefetch_offset(uint64_t hash) const {
    const Token token = piece_index_.first(hash);
    if (token >= 0) pieces_.prefetch_offset(index(token));
    return token;
  }
  void prefetch_bytes(Token token) const {
    if (token >= 0) pieces_.prefetch_bytes(index(token));
  }
  // Whether find_piece(text) is this token; false too where that would have to be looked up.
  bool is_piece(Token token, std::string_view text) const {
    return contains(token) && mergeable(token) && !repeats_ && piece(token) == text;
  }
  // The same for one character; -1 also for an invalid byte.
  Token find_character(uint32_t code) const {
    return code < kInvalid ? character_pages_[character_page_[code >> 8]][code & 255] : -1;
  }
  Token byte_token(char byte) const { return byte_tokens_[static_cast<unsigned char>(byte)]; }
  size_t longest_piece() const { return longest_piece_; }  // of the mergeable ones, in bytes

 private:
  using CharacterPage = std::array<Token, 256>;

  static size_t index(Token token) { return static_cast<size_t>(token); }
  Result<void> add_tokens(const VocabFile& file);
  Result<void> add_byte(const VocabFile& file, Token token);
  Result<void> index_pieces(const VocabFile& file);
  void index_others();
  void add_character(uint32_t code, Token token);

  Strings strings_, pieces_;
  std::vector<TokenClass> classes_;
  std::vector<uint8_t> mergeable_;
  PieceIndex piece_index_;
  std::vector<Token> others_;  // not mergeable, with a string: sorted by it, then by id
  std::vector<uint16_t> character_page_;
  std::vector<CharacterPage> character_pages_;  // the first one is empty
  std::array<Token, 256> byte_tokens_;
  size_t longest_piece_ = 0;
  bool repeats_ = false;  // two mergeable tokens are the same text
};

}  // namespace facet::tokenizer
