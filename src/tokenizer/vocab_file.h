// What a file says of its vocabulary, in one form for every container: the loaders fill it, everything else is built
// from it. Strings are views into the file's bytes, which must outlive it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "facet/result.h"
#include "formats/gguf_metadata.h"
#include "tensor/token.h"

namespace facet::tokenizer {

// Token types as GGUF numbers them. Do not renumber.
enum class TokenType : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

// Two adjacent tokens become one. Position in the list is the rank: the lowest goes first.
struct MergeText {
  std::string_view left, right;
};

// "left right". Tokens hold no plain space, so the first one after the first byte separates. Anything else: both empty.
inline MergeText merge_of_line(std::string_view line) {
  const size_t cut = line.find(' ', 1);
  if (cut == line.npos || cut + 1 == line.size()) return {};
  return {line.substr(0, cut), line.substr(cut + 1)};
}

enum class Algorithm : uint8_t {
  ranked_merges,  // byte-pair encoding by a list of merges: Gemma 4, and every tokenizer.json
  scores,         // the pair whose whole has the best score goes first: GGUF files of Gemma 1 to 3
};

struct VocabFile {
  std::string where;  // for messages
  Algorithm algorithm = Algorithm::ranked_merges;
  std::vector<std::string_view> strings;  // spaces as U+2581
  std::vector<TokenType> types;           // as many
  std::vector<MergeText> merges;          // ranked_merges
  std::vector<float> scores;              // scores: as many as strings
  std::optional<Token> bos;
  bool adds_bos = true;
  std::vector<Token> ends;
  std::optional<std::string_view> chat_template;

  Error corrupt(std::string what, std::string expected = {}, std::string found = {}) const {
    return {ErrorCode::corrupt, std::move(what), where, std::move(expected), std::move(found)};
  }
  Error unsupported(std::string what, std::string expected = {}, std::string found = {}) const {
    return {ErrorCode::unsupported, std::move(what), where, std::move(expected), std::move(found)};
  }
  Error colliding(std::string_view what) const {
    return unsupported(cat("too many ", what, " of the vocabulary want the same place of a table"),
                       "strings that were not made for it");
  }
};

// Limits of a vocabulary. The longest string of Gemma's is 93 bytes; matching costs this much for each byte of text.
inline constexpr size_t kMaxTokenBytes = 1024;
inline constexpr size_t kMaxTokens = size_t{1} << 24;
// Bytes of all special tokens together (Gemma 3: 76 kB); the tree that finds them takes up to 60 bytes for each.
inline constexpr size_t kMaxSpecialBytes = size_t{1} << 20;

// The byte that <0x00> to <0xFF> stand for.
std::optional<uint8_t> byte_of(std::string_view string);

// From the keys tokenizer.* of a GGUF file. Errors: not_found (no tokenizer), corrupt, unsupported.
Result<VocabFile> read_gguf_vocab(const formats::GgufMetadata& metadata, std::string_view where);

// From the text of a tokenizer.json. The strings of file() are views into the text and into this object, which both
// must outlive it.
class JsonVocab {
 public:
  JsonVocab();
  ~JsonVocab();
  // Errors: corrupt, unsupported (another kind of tokenizer, or a setting of one that Gemma does not use), exhausted
  // (too much beside the vocabulary and the merges).
  Result<void> read(std::string_view tokenizer_json, std::string_view where);
  const VocabFile& file() const { return file_; }

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
  VocabFile file_;
};

}  // namespace facet::tokenizer
