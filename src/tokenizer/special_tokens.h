// SpecialTokens: the tokens that are cut out of a text before anything else, as whole strings: user-defined pieces
// always, control tokens where the caller allows them.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "tokenizer/vocab.h"

namespace facet::tokenizer {

class SpecialTokens {
 public:
  SpecialTokens() = default;
  // Errors: unsupported (more than kMaxSpecialBytes).
  static Result<SpecialTokens> build(const VocabFile& file, const Vocab& vocab);

  struct Match {
    size_t begin, size;  // begin == text.size(): there is none
    Token token;
  };
  // The first one in text[from, end); the longest where several begin there.
  Match find(std::string_view text, size_t from, Markers markers) const;

 private:
  struct Node {
    Token always = -1, with_markers = -1;  // what ends here; with_markers includes always
  };
  struct Edge {
    uint64_t key = UINT64_MAX;
    uint32_t node = 0;
  };

  static uint64_t key_of(uint32_t node, char byte) { return uint64_t{node} << 8 | static_cast<unsigned char>(byte); }
  uint32_t child(uint32_t node, char byte) const;               // 0: none
  uint32_t add_child(uint32_t node, char byte);                 // 0: too many want its place
  bool add(std::string_view string, Token token, bool always);  // false: the same

  std::vector<Node> nodes_;                           // a tree of prefixes; nodes_[0] is the root
  std::vector<Edge> edges_;                           // its edges, in an open-addressing table of a power of two
  std::array<std::array<bool, 256>, 2> begins_ = {};  // whether some token begins with this byte; [with markers]
};

}  // namespace facet::tokenizer
