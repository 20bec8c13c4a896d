#include "tokenizer/special_tokens.h"

#include <bit>

namespace facet::tokenizer {
namespace {

enum class Cut : uint8_t { never, with_markers, always };

// Placeholders (<unused7>) are cut out only where the file itself calls them special.
Cut cut_of(TokenClass token_class, TokenType type) {
  switch (token_class) {
    case TokenClass::text: return type == TokenType::user_defined ? Cut::always : Cut::never;
    case TokenClass::marker: return Cut::with_markers;
    case TokenClass::reserved:
      return type == TokenType::control || type == TokenType::user_defined ? Cut::with_markers : Cut::never;
    case TokenClass::byte: return Cut::never;
  }
  return Cut::never;
}

}  // namespace

Result<SpecialTokens> SpecialTokens::build(const VocabFile& file, const Vocab& vocab) {
  std::vector<std::pair<Token, bool>> cut;
  size_t bytes = 0;
  for (Token token = 0; token < vocab.size(); ++token) {
    const Cut how = cut_of(vocab.token_class(token), file.types[static_cast<size_t>(token)]);
    if (how == Cut::never || vocab.string(token).empty()) continue;
    cut.emplace_back(token, how == Cut::always);
    bytes += vocab.string(token).size();
  }
  if (bytes > kMaxSpecialBytes)
    return file.unsupported("special tokens are too long together", cat("at most ", kMaxSpecialBytes, " bytes"),
                            cat(bytes, " bytes"));
  SpecialTokens special;
  special.nodes_.resize(1);
  special.edges_.resize(std::bit_ceil(bytes + bytes / 2 + 8));
  for (const auto& [token, always] : cut)
    if (!special.add(vocab.string(token), token, always)) return file.colliding("special tokens");
  return special;
}

uint32_t SpecialTokens::child(uint32_t node, char byte) const {
  const uint64_t key = key_of(node, byte);
  size_t i = mix(key) & (edges_.size() - 1);
  while (edges_[i].key != key && edges_[i].key != UINT64_MAX) i = (i + 1) & (edges_.size() - 1);
  return edges_[i].node;
}

uint32_t SpecialTokens::add_child(uint32_t node, char byte) {
  const uint64_t key = key_of(node, byte);
  for (size_t probe = 0; probe < kMaxProbes; ++probe) {
    Edge& edge = edges_[(mix(key) + probe) & (edges_.size() - 1)];
    if (edge.key == key) return edge.node;
    if (edge.key != UINT64_MAX) continue;
    edge = {key, static_cast<uint32_t>(nodes_.size())};
    nodes_.emplace_back();
    return edge.node;
  }
  return 0;
}

// Tokens come in ascending order, so the later of two equal ones stays.
bool SpecialTokens::add(std::string_view string, Token token, bool always) {
  uint32_t node = 0;
  for (const char byte : string)
    if (node = add_child(node, byte); node == 0) return false;
  nodes_[node].with_markers = token;
  begins_[1][static_cast<unsigned char>(string.front())] = true;
  if (!always) return true;
  nodes_[node].always = token;
  begins_[0][static_cast<unsigned char>(string.front())] = true;
  return true;
}

SpecialTokens::Match SpecialTokens::find(std::string_view text, size_t from, Markers markers) const {
  const bool with_markers = markers == Markers::yes;
  const std::array<bool, 256>& begins = begins_[with_markers];
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins[static_cast<unsigned char>(text[begin])]) continue;
    Match longest = {begin, 0, -1};
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      node = child(node, text[at]);
      if (node == 0) break;
      const Token token = with_markers ? nodes_[node].with_markers : nodes_[node].always;
      if (token >= 0) longest = {begin, at + 1 - begin, token};
    }
    if (longest.token >= 0) return longest;
  }
  return {text.size(), 0, -1};
}

}  // namespace facet::tokenizer
