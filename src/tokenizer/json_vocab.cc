// Vocabulary from a tokenizer.json (spec/tokenizer.md 3.1). The file can say much more than Gemma's does: whatever
// would change the tokens and is not built here is refused, never ignored.
#include <simdjson.h>

#include <algorithm>

#include "tokenizer/characters.h"
#include "tokenizer/vocab_file.h"

namespace facet::tokenizer {

namespace dom = simdjson::dom;

class JsonVocab::Reader {
 public:
  Reader(VocabFile& file, std::string_view text) : file_(file), text_(text) {}

  Result<void> read() {
    dom::element root;
    if (const auto error = parser_.parse(text_.data(), text_.size()).get(root); error != simdjson::SUCCESS)
      return file_.corrupt("is not JSON", {}, simdjson::error_message(error));
    dom::object model;
    if (root["model"].get(model) != simdjson::SUCCESS) return file_.corrupt("has no model", "an object \"model\"");
    FACET_TRY_VOID(check_kind(model));
    FACET_TRY_VOID(check_normalizer(root));
    FACET_TRY_VOID(check_pre_tokenizer(root));
    FACET_TRY_VOID(read_vocab(model, root));
    return read_merges(model);
  }

 private:
  static bool absent(dom::object object, std::string_view key) {
    dom::element value;
    return object[key].get(value) != simdjson::SUCCESS || value.is_null();
  }
  static std::string_view string_at(dom::object object, std::string_view key) {
    std::string_view value;
    return object[key].get(value) == simdjson::SUCCESS ? value : std::string_view();
  }
  static bool flag(dom::object object, std::string_view key) {
    bool value = false;
    return object[key].get(value) == simdjson::SUCCESS && value;
  }

  Result<void> check_kind(dom::object model) const {
    if (const std::string_view type = string_at(model, "type"); type != "BPE" && !absent(model, "type"))
      return file_.unsupported("tokenizer is of another kind", "BPE", std::string(type));
    if (!flag(model, "byte_fallback"))
      return file_.unsupported("tokenizer is of another kind", "BPE with byte_fallback", "BPE without it");
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!absent(model, key) && !string_at(model, key).empty())
        return file_.unsupported(cat("model.", key, " is not supported"));
    if (flag(model, "ignore_merges")) return file_.unsupported("model.ignore_merges is not supported");
    if (!absent(model, "dropout")) return file_.unsupported("model.dropout is not supported");
    return {};
  }

  // Only: every space becomes U+2581. Some files write a sequence with this one step.
  Result<void> check_normalizer(dom::element root) const {
    dom::object normalizer;
    dom::array steps;
    if (root["normalizer"].get(normalizer) == simdjson::SUCCESS) {
      if (replaces_space(normalizer)) return {};
      if (normalizer["normalizers"].get(steps) == simdjson::SUCCESS && steps.size() == 1 &&
          steps.at(0).get(normalizer) == simdjson::SUCCESS && replaces_space(normalizer))
        return {};
    }
    return file_.unsupported("normalizer is of another kind", "Replace of the space by U+2581");
  }

  static bool replaces_space(dom::object normalizer) {
    std::string_view pattern;
    return string_at(normalizer, "type") == "Replace" && string_at(normalizer, "content") == kSpaceMark &&
           normalizer["pattern"]["String"].get(pattern) == simdjson::SUCCESS && pattern == " ";
  }

  // A split on the space finds none after normalisation; anything else would.
  Result<void> check_pre_tokenizer(dom::element root) const {
    dom::element value;
    if (root["pre_tokenizer"].get(value) != simdjson::SUCCESS || value.is_null()) return {};
    std::string_view type, pattern;
    if (value["type"].get(type) == simdjson::SUCCESS && type == "Split" &&
        value["pattern"]["String"].get(pattern) == simdjson::SUCCESS && pattern == " ")
      return {};
    return file_.unsupported("pre_tokenizer is of another kind", "none, or a split on the space", std::string(type));
  }

  Result<void> read_vocab(dom::object model, dom::element root) {
    dom::object vocab;
    if (model["vocab"].get(vocab) != simdjson::SUCCESS) return file_.corrupt("has no vocabulary", "model.vocab");
    dom::array added;
    std::vector<std::pair<dom::object, int64_t>> additions;
    if (root["added_tokens"].get(added) == simdjson::SUCCESS) {
      for (const dom::element element : added) {
        dom::object token;
        int64_t id = 0;
        if (element.get(token) != simdjson::SUCCESS || token["id"].get(id) != simdjson::SUCCESS)
          return file_.corrupt("an added token has no id");
        additions.emplace_back(token, id);
      }
    }
    // Holes in the ids are tolerated, absurd ids are not: memory stays in proportion to the file.
    // (size() saturates at 2^24 - 1, above the limit of vocabularies.)
    room_ = 2 * (vocab.size() + additions.size());
    for (const dom::key_value_pair field : vocab) {
      int64_t id = 0;
      if (field.value.get(id) != simdjson::SUCCESS)
        return file_.corrupt(cat("id of token \"", field.key, "\" is not an integer"));
      FACET_TRY_VOID(put(id, field.key, byte_of(field.key) ? TokenType::byte : TokenType::normal));
    }
    for (const auto& [token, id] : additions) FACET_TRY_VOID(add(token, id));
    const auto eos = std::ranges::find(file_.strings, "<eos>");
    if (eos != file_.strings.end()) file_.ends.push_back(static_cast<Token>(eos - file_.strings.begin()));
    return {};
  }

  Result<void> add(dom::object token, int64_t id) {
    std::string_view content;
    if (token["content"].get(content) != simdjson::SUCCESS)
      return file_.corrupt(cat("added token ", id, " has no content"));
    for (const std::string_view key : {"lstrip", "rstrip", "single_word"})
      if (flag(token, key)) return file_.unsupported(cat("added token \"", content, "\" has the flag ", key));
    return put(id, content, flag(token, "special") ? TokenType::control : TokenType::user_defined);
  }

  // Added tokens usually repeat an entry of the vocabulary; two different strings must not share an id.
  Result<void> put(int64_t id, std::string_view string, TokenType type) {
    if (id < 0 || static_cast<uint64_t>(id) >= room_)
      return file_.corrupt(cat("id of token \"", string, "\" is out of range"), cat("below ", room_), cat(id));
    const auto i = static_cast<size_t>(id);
    if (i >= file_.strings.size()) {
      file_.strings.resize(i + 1);
      file_.types.resize(i + 1, TokenType::unused);
    }
    if (file_.types[i] != TokenType::unused && file_.strings[i] != string)
      return file_.corrupt(cat("two tokens have the id ", id), std::string(file_.strings[i]), std::string(string));
    file_.strings[i] = string;
    file_.types[i] = type;
    return {};
  }

  // Either "left right" or ["left", "right"].
  Result<void> read_merges(dom::object model) {
    dom::array merges;
    if (model["merges"].get(merges) != simdjson::SUCCESS) return file_.corrupt("has no merges", "model.merges");
    file_.merges.reserve(merges.size());
    for (const dom::element merge : merges) {
      MergeText text;
      std::string_view line;
      dom::array pair;
      if (merge.get(line) == simdjson::SUCCESS) {
        const size_t cut = line.find(' ', 1);
        if (cut != line.npos) text = {line.substr(0, cut), line.substr(cut + 1)};
      } else if (merge.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
                 pair.at(0).get(text.left) != simdjson::SUCCESS || pair.at(1).get(text.right) != simdjson::SUCCESS) {
        text = {};
      }
      if (text.left.empty() || text.right.empty())
        return file_.corrupt(cat("merge ", file_.merges.size(), " is not two tokens"));
      file_.merges.push_back(text);
    }
    return {};
  }

  VocabFile& file_;
  std::string_view text_;
  dom::parser parser_;
  uint64_t room_ = 0;
};

JsonVocab::JsonVocab() = default;
JsonVocab::~JsonVocab() = default;

Result<void> JsonVocab::read(std::string_view tokenizer_json, std::string_view where) {
  file_.where = where;
  file_.algorithm = Algorithm::ranked_merges;
  reader_ = std::make_unique<Reader>(file_, tokenizer_json);
  return reader_->read();
}

}  // namespace facet::tokenizer
