// Vocabulary from a tokenizer.json (spec/tokenizer.md 3.1). The file can say much more than Gemma's does: whatever
// would change the tokens and is not built here is refused, never ignored.
//
// The vocabulary and the merges are read in place (json_text.h); all else, a few kilobytes, is parsed as a Json.
#include <simdjson.h>

#include <algorithm>
#include <span>

#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/characters.h"
#include "tokenizer/json_text.h"
#include "tokenizer/vocab_file.h"

namespace facet::tokenizer {
namespace {

const Json* present(const Json* object, std::string_view key) {
  const Json* value = object == nullptr ? nullptr : object->find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string_view string_at(const Json* object, std::string_view key) {
  const Json* value = present(object, key);
  return value == nullptr || value->string() == nullptr ? std::string_view() : *value->string();
}

bool flag(const Json* object, std::string_view key) {
  const Json* value = present(object, key);
  return value != nullptr && value->boolean() != nullptr && *value->boolean();
}

bool replaces_space(const Json* normalizer) {
  return string_at(normalizer, "type") == "Replace" && string_at(normalizer, "content") == kSpaceMark &&
         string_at(present(normalizer, "pattern"), "String") == " ";
}

}  // namespace

class JsonVocab::Reader {
 public:
  Reader(VocabFile& file, std::string_view text) : file_(file), text_(text), at_(text) {}

  Result<void> read() {
    if (!simdjson::validate_utf8(text_.data(), text_.size())) return file_.corrupt("is not JSON", {}, "invalid UTF-8");
    FACET_TRY(root_, read_around());
    const Json* model = present(&root_, "model");
    if (model == nullptr || model->object() == nullptr) return file_.corrupt("has no model", "an object \"model\"");
    FACET_TRY_VOID(check_kind(model));
    FACET_TRY_VOID(check_normalizer());
    FACET_TRY_VOID(check_pre_tokenizer());
    FACET_TRY_VOID(vocab_);
    FACET_TRY_VOID(finish_vocab());
    return merges_;
  }

 private:
  struct Entry {
    int64_t id;
    std::string_view string;
  };

  // Reads model.vocab and model.merges on the way, and returns the rest.
  Result<Json> read_around() {
    const bool walked = !at_.enter('{') || walk_members([&](std::string_view name) {
      return name == "model" && at_.enter('{') ? walk_members([&](std::string_view part) { return read_part(part); })
                                               : at_.skip();
    });
    around_ += text_.substr(copied_);
    Result<Json> rest = Json::parse(around_, file_.where);
    if (rest.ok() && walked) return rest;
    Error error = file_.corrupt("is not JSON");
    if (!rest.ok()) {
      error.code = rest.error().code;
      error.found = cat(rest.error().what, copied_ == 0 ? "" : " (with vocab and merges left out)");
    }
    return error;
  }

  // False where the text is not JSON.
  template <class Read>
  bool walk_members(Read read) {
    while (const std::optional<std::string_view> name = at_.member())
      if (!read(*name)) return false;
    return !at_.failed();
  }

  bool read_part(std::string_view name) {
    if (name != "vocab" && name != "merges") return at_.skip();
    at_.next();
    const size_t begin = at_.position();
    Result<void>& result = name == "vocab" ? vocab_ : merges_;
    result = name == "vocab" ? read_vocab() : read_merges();
    if (!result.ok()) {  // other errors go first
      at_.go_back(begin);
      if (!at_.skip()) return false;
    }
    around_ += text_.substr(copied_, begin - copied_);
    around_ += "null";
    copied_ = at_.position();
    return true;
  }

  Error no_vocab() const { return file_.corrupt("has no vocabulary", "model.vocab"); }
  Error no_merges() const { return file_.corrupt("has no merges", "model.merges"); }

  // Room for most files: an indented pair takes 45 bytes, an indented token 30, "left right" 15. What is reserved and
  // not used is never touched.
  size_t expected_values() const { return (text_.size() - at_.position()) / 15; }

  Result<void> read_vocab() {
    if (!at_.enter('{')) return no_vocab();
    file_.strings.reserve(expected_values());
    file_.types.reserve(expected_values());
    while (const std::optional<std::string_view> string = at_.member()) {
      const std::optional<int64_t> id = at_.integer();
      if (!id) return file_.corrupt(cat("id of token \"", excerpt(*string), "\" is not an integer"));
      // Almost always in order.
      if (static_cast<uint64_t>(*id) == file_.strings.size()) {
        file_.strings.push_back(*string);
        file_.types.push_back(type_of(*string));
      } else {
        unordered_.push_back({*id, *string});
      }
    }
    if (at_.failed()) return file_.corrupt("is not JSON", {}, "a fault in model.vocab");
    return {};
  }

  static TokenType type_of(std::string_view string) { return byte_of(string) ? TokenType::byte : TokenType::normal; }

  // Either "left right" or ["left", "right"].
  Result<void> read_merges() {
    if (!at_.enter('[')) return no_merges();
    file_.merges.reserve(expected_values());
    while (at_.element()) {
      MergeText text = at_.next() == '"' ? merge_of_line(at_.string().value_or("")) : merge_of_pair();
      if (text.left.empty() || text.right.empty())
        return file_.corrupt(cat("merge ", file_.merges.size(), " is not two tokens"));
      file_.merges.push_back(text);
    }
    if (at_.failed()) return file_.corrupt("is not JSON", {}, "a fault in model.merges");
    return {};
  }

  MergeText merge_of_pair() {
    if (!at_.enter('[') || !at_.element()) return {};
    const std::optional<std::string_view> left = at_.string();
    if (!left || !at_.element()) return {};
    const std::optional<std::string_view> right = at_.string();
    if (!right || at_.element() || at_.failed()) return {};
    return {*left, *right};
  }

  Result<void> check_kind(const Json* model) const {
    if (const std::string_view type = string_at(model, "type"); type != "BPE" && present(model, "type") != nullptr)
      return file_.unsupported("tokenizer is of another kind", "BPE", std::string(type));
    if (!flag(model, "byte_fallback"))
      return file_.unsupported("tokenizer is of another kind", "BPE with byte_fallback", "BPE without it");
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const Json* value = present(model, key); value != nullptr && (!value->string() || !value->string()->empty()))
        return file_.unsupported(cat("model.", key, " is not supported"));
    if (flag(model, "ignore_merges")) return file_.unsupported("model.ignore_merges is not supported");
    if (present(model, "dropout") != nullptr) return file_.unsupported("model.dropout is not supported");
    return {};
  }

  // Only: every space becomes U+2581. Some files write a sequence with this one step.
  Result<void> check_normalizer() const {
    const Json* normalizer = present(&root_, "normalizer");
    if (replaces_space(normalizer)) return {};
    const Json* steps = present(normalizer, "normalizers");
    if (steps != nullptr && steps->array() != nullptr && steps->array()->size() == 1 &&
        replaces_space(&steps->array()->front()))
      return {};
    return file_.unsupported("normalizer is of another kind", "Replace of the space by U+2581");
  }

  // A split on the space finds none after normalisation; anything else would.
  Result<void> check_pre_tokenizer() const {
    const Json* value = present(&root_, "pre_tokenizer");
    if (value == nullptr) return {};
    const std::string_view type = string_at(value, "type");
    if (type == "Split" && string_at(present(value, "pattern"), "String") == " ") return {};
    return file_.unsupported("pre_tokenizer is of another kind", "none, or a split on the space", std::string(type));
  }

  // What could not be placed in order, and the added tokens.
  Result<void> finish_vocab() {
    const Json* added = present(&root_, "added_tokens");
    const std::span<const Json> additions =
        added != nullptr && added->array() != nullptr ? std::span(*added->array()) : std::span<const Json>();
    // Holes in the ids are tolerated, absurd ids are not: memory stays in proportion to the file.
    room_ = 2 * (file_.strings.size() + unordered_.size() + additions.size());
    for (const Entry& entry : unordered_) FACET_TRY_VOID(put(entry.id, entry.string, type_of(entry.string)));
    for (const Json& token : additions) FACET_TRY_VOID(add(token));
    const auto eos = std::ranges::find(file_.strings, "<eos>");
    if (eos != file_.strings.end()) file_.ends.push_back(static_cast<Token>(eos - file_.strings.begin()));
    return {};
  }

  Result<void> add(const Json& token) {
    const Json* id = present(&token, "id");
    if (id == nullptr || id->integer() == nullptr) return file_.corrupt("an added token has no id");
    const Json* content = present(&token, "content");
    if (content == nullptr || content->string() == nullptr)
      return file_.corrupt(cat("added token ", *id->integer(), " has no content"));
    const std::string& string = *content->string();
    for (const std::string_view key : {"lstrip", "rstrip", "single_word"})
      if (flag(&token, key)) return file_.unsupported(cat("added token \"", string, "\" has the flag ", key));
    return put(*id->integer(), string, flag(&token, "special") ? TokenType::control : TokenType::user_defined);
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

  VocabFile& file_;
  std::string_view text_;
  JsonText at_;
  Result<void> vocab_ = no_vocab(), merges_ = no_merges();
  std::vector<Entry> unordered_;  // what did not come in the order of its id
  std::string around_;            // the text without vocab and merges, copied up to
  size_t copied_ = 0;
  Json root_;  // of around_; holds the strings of added tokens
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
