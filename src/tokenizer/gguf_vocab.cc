// Vocabulary from GGUF metadata (spec/tokenizer.md 3.2 and 11). Two algorithms share the key names; what the file holds
// decides between them, since converters disagree on the name of the model.
#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "tokenizer/vocab_file.h"

namespace facet::tokenizer {
namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens", kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kScores = "tokenizer.ggml.scores", kMerges = "tokenizer.ggml.merges";

class Reader {
 public:
  Reader(const formats::GgufMetadata& metadata, std::string_view where) : metadata_(metadata) { file_.where = where; }

  Result<VocabFile> read() {
    FACET_TRY(const std::optional<std::string_view> model, metadata_.string("tokenizer.ggml.model"));
    if (!model || *model == "none" || *model == "no_vocab")
      return Error{ErrorCode::not_found, "file has no tokenizer", file_.where, "key tokenizer.ggml.model", {}};
    FACET_TRY(const std::optional<std::string_view> pre, metadata_.string("tokenizer.ggml.pre"));
    if (*model != "gemma4" && *model != "llama")
      return file_.unsupported("tokenizer is of another kind", "gemma4 or llama", excerpt(*model));
    FACET_TRY(const formats::GgufValue* tokens, array_of_strings(kTokens));
    file_.strings = *tokens->strings();
    FACET_TRY_VOID(read_types());
    const bool gemma4 = *model == "gemma4" || pre == "gemma4";
    file_.algorithm = gemma4 || metadata_.find(kMerges) != nullptr ? Algorithm::ranked_merges : Algorithm::scores;
    if (file_.algorithm == Algorithm::ranked_merges) {
      FACET_TRY_VOID(read_merges());
    } else {
      FACET_TRY_VOID(read_scores());
    }
    FACET_TRY_VOID(read_roles(gemma4));
    return std::move(file_);
  }

 private:
  Result<const formats::GgufValue*> array(std::string_view key) const {
    const formats::GgufValue* value = metadata_.find(key);
    if (value == nullptr) return file_.corrupt("tokenizer lacks a key", std::string(key));
    if (!value->is_array()) return file_.corrupt(cat(key, " has the wrong type"), "an array", name(value->type));
    return value;
  }

  Result<const formats::GgufValue*> array_of_strings(std::string_view key) const {
    FACET_TRY(const formats::GgufValue* value, array(key));
    if (value->element != formats::GgufType::string)
      return file_.corrupt(cat(key, " has the wrong type"), "strings", name(value->element));
    return value;
  }

  // An array with one element for each token.
  Result<const formats::GgufValue*> per_token(std::string_view key) const {
    FACET_TRY(const formats::GgufValue* value, array(key));
    if (value->count != file_.strings.size())
      return file_.corrupt(cat(key, " has the wrong length"), cat(file_.strings.size()), cat(value->count));
    return value;
  }

  Result<void> read_types() {
    FACET_TRY(const formats::GgufValue* value, per_token(kTypes));
    const std::optional<std::vector<int64_t>> types = value->integers();
    if (!types) return file_.corrupt(cat(kTypes, " has the wrong type"), "integers", name(value->element));
    file_.types.reserve(types->size());
    for (const int64_t type : *types) {
      if (type < 1 || type > 6) return file_.corrupt("token type is not known", "1 to 6", cat(type));
      file_.types.push_back(static_cast<TokenType>(type));
    }
    return {};
  }

  Result<void> read_merges() {
    FACET_TRY(const formats::GgufValue* lines, array_of_strings(kMerges));
    file_.merges.reserve(lines->count);
    Result<void> result;
    lines->each_string([&](std::string_view line) {
      const MergeText merge = merge_of_line(line);
      if (merge.left.empty()) {
        result = file_.corrupt(cat("merge ", file_.merges.size(), " is not two tokens"), "left right", excerpt(line));
        return false;
      }
      file_.merges.push_back(merge);
      return true;
    });
    return result;
  }

  Result<void> read_scores() {
    FACET_TRY(const formats::GgufValue* value, per_token(kScores));
    std::optional<std::vector<float>> scores = value->floats();
    if (!scores) return file_.corrupt(cat(kScores, " has the wrong type"), "numbers", name(value->element));
    const auto nan = std::ranges::find_if(*scores, [](float score) { return std::isnan(score); });
    if (nan != scores->end())
      return file_.corrupt(cat("score of token ", nan - scores->begin(), " is not a number"), "a number", "NaN");
    file_.scores = *std::move(scores);
    FACET_TRY(const std::optional<bool> prefix, metadata_.boolean("tokenizer.ggml.add_space_prefix"));
    if (prefix.value_or(false)) return file_.unsupported("tokenizer puts a space before every text");
    return {};
  }

  Result<std::optional<Token>> token(std::string_view key) const {
    FACET_TRY(const std::optional<int64_t> id, metadata_.integer(key));
    if (!id) return std::optional<Token>();
    if (*id < 0 || *id >= static_cast<int64_t>(file_.strings.size()))
      return file_.corrupt(cat(key, " is not in the vocabulary"), cat("0 to ", file_.strings.size() - 1), cat(*id));
    return std::optional(static_cast<Token>(*id));
  }

  Result<void> read_roles(bool gemma4) {
    FACET_TRY(file_.bos, token("tokenizer.ggml.bos_token_id"));
    FACET_TRY(const std::optional<bool> adds_bos, metadata_.boolean("tokenizer.ggml.add_bos_token"));
    // Some conversions of Gemma 4 wrongly say false; the model needs it (spec/tokenizer.md 3.2).
    file_.adds_bos = gemma4 || adds_bos.value_or(true);
    for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      FACET_TRY(const std::optional<Token> end, token(key));
      if (end) file_.ends.push_back(*end);
    }
    FACET_TRY(file_.chat_template, metadata_.string("tokenizer.chat_template"));
    return {};
  }

  const formats::GgufMetadata& metadata_;
  VocabFile file_;
};

}  // namespace

Result<VocabFile> read_gguf_vocab(const formats::GgufMetadata& metadata, std::string_view where) {
  return Reader(metadata, where).read();
}

}  // namespace facet::tokenizer
