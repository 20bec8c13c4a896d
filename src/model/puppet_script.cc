#include "model/puppet_script.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "base/strings.h"

namespace facet::model {
namespace {

constexpr float kSaid = 30, kUnsaid = -30;  // the bounds of a softcap of 30: a said token is all but certain

Error bad(std::string where, std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = std::move(where),
          .expected = std::move(expected),
          .found = std::move(found)};
}

Error wrong_kind(std::string where, const char* expected, const Json& found) {
  return bad(std::move(where), "has the wrong kind", expected, found.kind());
}

Result<void> check_members(const Json& object, std::string_view where, std::initializer_list<std::string_view> known) {
  if (object.object() == nullptr) return wrong_kind(std::string(where), "an object", object);
  for (const auto& member : *object.object())
    if (std::ranges::find(known, member.first) == known.end())
      return bad(std::string(where), "unknown member", list(known), member.first);
  return {};
}

Result<void> read_integer(const Json& object, std::string_view where, const char* name, int64_t low, int64_t high,
                          int64_t& out) {
  const Json* value = object.find(name);
  if (value == nullptr) return {};
  const std::string place = cat(where, ": ", name);
  if (value->integer() == nullptr) return wrong_kind(place, "an integer", *value);
  if (*value->integer() < low || *value->integer() > high)
    return bad(place, "out of range", cat(low, " to ", high), cat(*value->integer()));
  out = *value->integer();
  return {};
}

Result<void> read_delay(const Json& object, std::string_view where, const char* name, double& out) {
  const Json* value = object.find(name);
  if (value == nullptr) return {};
  const std::string place = cat(where, ": ", name);
  if (!value->is_number()) return wrong_kind(place, "a number of milliseconds", *value);
  if (!(value->number() >= 0 && value->number() <= PuppetScript::kDelayMaxMs))
    return bad(place, "out of range", cat("0 to ", PuppetScript::kDelayMaxMs), cat(value->number()));
  out = value->number();
  return {};
}

Result<void> read_logit(const Json& value, const std::string& where, float& out) {
  if (!value.is_number()) return wrong_kind(where, "a number", value);
  if (!(std::fabs(value.number()) <= std::numeric_limits<float>::max()))
    return bad(where, "out of range", "a finite 32-bit float", cat(value.number()));
  out = static_cast<float>(value.number());
  return {};
}

// Reads the answers; keeps the vocabulary and counts the steps on the way.
class ScriptReader {
 public:
  explicit ScriptReader(const PuppetVocabulary& vocabulary) : vocabulary_(vocabulary) {}

  Result<PuppetAnswer> answer(const Json& json, const std::string& where);
  // A token by number, or by text that is exactly one.
  Result<Token> token(const Json& json, const std::string& where);
  static PuppetStep saying(Token token) { return {.logits = {{token, kSaid}}, .rest = kUnsaid, .error = {}}; }

 private:
  Result<std::vector<Token>> tokens(const Json& json, const std::string& where);
  Result<void> say(const Json& json, const std::string& where, std::vector<PuppetStep>& out);
  Result<PuppetStep> step(const Json& json, const std::string& where);
  Result<void> logits(const Json& json, const std::string& where, PuppetStep& out);
  Result<void> values(const Json& json, const std::string& where, PuppetStep& out);
  Result<void> add(PuppetStep step, const std::string& where, std::vector<PuppetStep>& out);

  const PuppetVocabulary& vocabulary_;
  int64_t steps_ = 0;
};

Result<Token> ScriptReader::token(const Json& json, const std::string& where) {
  if (const int64_t* id = json.integer()) {
    if (*id < 0 || *id >= vocabulary_.size)
      return bad(where, "token is not in the vocabulary", cat("0 to ", vocabulary_.size - 1), cat(*id));
    return static_cast<Token>(*id);
  }
  if (json.string() == nullptr) return wrong_kind(where, "a token: its id, or text that is one token", json);
  const std::vector<Token> found = vocabulary_.encode(*json.string());
  if (found.size() != 1)
    return bad(where, cat("\"", *json.string(), "\" is not one token"), "1 token", cat(found.size()));
  return found.front();
}

Result<std::vector<Token>> ScriptReader::tokens(const Json& json, const std::string& where) {
  if (json.string() != nullptr) return vocabulary_.encode(*json.string());
  if (json.array() == nullptr) return wrong_kind(where, "text, or an array of tokens", json);
  std::vector<Token> out;
  for (const Json& item : *json.array()) {
    FACET_TRY(const Token id, token(item, cat(where, "[", out.size(), "]")));
    out.push_back(id);
  }
  return out;
}

Result<void> ScriptReader::add(PuppetStep step, const std::string& where, std::vector<PuppetStep>& out) {
  if (++steps_ > PuppetScript::kStepsMax)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the script is too long",
                 .where = where,
                 .expected = cat("at most ", PuppetScript::kStepsMax, " tokens in all")};
  out.push_back(std::move(step));
  return {};
}

Result<void> ScriptReader::say(const Json& json, const std::string& where, std::vector<PuppetStep>& out) {
  if (const std::string* text = json.string()) {
    for (const Token id : vocabulary_.encode(*text)) FACET_TRY_VOID(add(saying(id), where, out));
    return {};
  }
  if (json.integer() != nullptr) {
    FACET_TRY(const Token id, token(json, where));
    return add(saying(id), where, out);
  }
  FACET_TRY(PuppetStep one, step(json, where));
  return add(std::move(one), where, out);
}

Result<PuppetStep> ScriptReader::step(const Json& json, const std::string& where) {
  FACET_TRY_VOID(check_members(json, where, {"token", "logits", "rest", "values", "broken", "error", "ms"}));
  PuppetStep out;
  int kinds = 0;
  if (const Json* value = json.find("token")) {
    FACET_TRY(const Token id, token(*value, where + ": token"));
    out = saying(id);
    ++kinds;
  }
  if (const Json* value = json.find("logits")) {
    FACET_TRY_VOID(logits(*value, where + ": logits", out));
    ++kinds;
  }
  if (const Json* value = json.find("values")) {
    FACET_TRY_VOID(values(*value, where + ": values", out));
    ++kinds;
  }
  if (const Json* value = json.find("broken")) {
    const std::string text = value->string() != nullptr ? *value->string() : value->kind();
    if (text != "nan" && text != "infinite") return bad(where + ": broken", "is not known", "nan or infinite", text);
    out.broken = text == "nan" ? PuppetStep::Broken::nan : PuppetStep::Broken::infinite;
    ++kinds;
  }
  if (const Json* value = json.find("error")) {
    if (value->string() == nullptr || value->string()->empty())
      return wrong_kind(where + ": error", "the text of a message", *value);
    out.error = *value->string();
    ++kinds;
  }
  if (kinds != 1) return bad(where, "a step does one thing", "one of token, logits, values, broken, error", cat(kinds));
  if (const Json* value = json.find("rest")) {
    if (json.find("logits") == nullptr) return bad(where, "rest without logits", "logits", "none");
    FACET_TRY_VOID(read_logit(*value, where + ": rest", out.rest));
  }
  FACET_TRY_VOID(read_delay(json, where, "ms", out.extra_ms));
  return out;
}

// [[token, logit], …]
Result<void> ScriptReader::logits(const Json& json, const std::string& where, PuppetStep& out) {
  if (json.array() == nullptr) return wrong_kind(where, "an array of [token, logit]", json);
  for (const Json& pair : *json.array()) {
    const std::string place = cat(where, "[", out.logits.size(), "]");
    if (pair.array() == nullptr || pair.array()->size() != 2) return wrong_kind(place, "[token, logit]", pair);
    FACET_TRY(const Token id, token((*pair.array())[0], place));
    float logit = 0;
    FACET_TRY_VOID(read_logit((*pair.array())[1], place, logit));
    for (const auto& earlier : out.logits)
      if (earlier.first == id) return bad(place, "token given twice", "each token once", cat(id));
    out.logits.emplace_back(id, logit);
  }
  return {};
}

// One logit for every token: for small vocabularies.
Result<void> ScriptReader::values(const Json& json, const std::string& where, PuppetStep& out) {
  if (json.array() == nullptr) return wrong_kind(where, "an array of logits", json);
  if (static_cast<int64_t>(json.array()->size()) != vocabulary_.size)
    return bad(where, "has the wrong length", cat(vocabulary_.size), cat(json.array()->size()));
  for (const Json& value : *json.array()) {
    const Token id = static_cast<Token>(out.logits.size());
    float logit = 0;
    FACET_TRY_VOID(read_logit(value, cat(where, "[", id, "]"), logit));
    out.logits.emplace_back(id, logit);
  }
  return {};
}

Result<PuppetAnswer> ScriptReader::answer(const Json& json, const std::string& where) {
  FACET_TRY_VOID(check_members(json, where, {"after", "say", "repeat"}));
  PuppetAnswer out;
  if (const Json* after = json.find("after")) {
    FACET_TRY(out.after, tokens(*after, where + ": after"));
  }
  const Json* said = json.find("say");
  if (said == nullptr) return bad(where, "member is missing", "say", "none");
  if (said->array() != nullptr) {
    for (size_t i = 0; i < said->array()->size(); ++i)
      FACET_TRY_VOID(say((*said->array())[i], cat(where, ": say[", i, "]"), out.steps));
  } else {
    FACET_TRY_VOID(say(*said, where + ": say", out.steps));
  }
  if (const Json* repeat = json.find("repeat")) {
    if (repeat->boolean() == nullptr) return wrong_kind(where + ": repeat", "true or false", *repeat);
    out.repeat = *repeat->boolean();
  }
  if (out.repeat && out.steps.empty()) return bad(where, "nothing to repeat", "at least one token", "0");
  return out;
}

}  // namespace

Result<PuppetFiles> puppet_files(const Json& file, std::string_view where) {
  FACET_TRY_VOID(check_members(file, where,
                               {"puppet", "vocabulary", "size", "context", "batch_rows", "width", "window",
                                "cache_rows", "delay", "end", "answers"}));
  int64_t version = 0;
  FACET_TRY_VOID(read_integer(file, where, "puppet", 0, std::numeric_limits<int64_t>::max(), version));
  if (version != 1)
    return Error{.code = ErrorCode::unsupported,
                 .what = "not a puppet file that this program knows",
                 .where = std::string(where),
                 .expected = "\"puppet\": 1",
                 .found = cat(version)};
  PuppetFiles out;
  const Json* vocabulary = file.find("vocabulary");
  if (vocabulary == nullptr) return bad(std::string(where), "member is missing", "vocabulary", "none");
  if (vocabulary->string() == nullptr || vocabulary->string()->empty())
    return wrong_kind(cat(where, ": vocabulary"), "a path", *vocabulary);
  out.vocabulary = *vocabulary->string();
  if (const Json* size = file.find("size")) {
    const std::string text = size->string() != nullptr ? *size->string() : size->kind();
    if (text != "small" && text != "large") return bad(cat(where, ": size"), "is not known", "small or large", text);
    out.large_model = text == "large";
  }
  return out;
}

Result<PuppetScript> PuppetScript::parse(const Json& file, std::string_view where, const PuppetVocabulary& vocabulary) {
  FACET_TRY_VOID(puppet_files(file, where));
  PuppetScript out;
  FACET_TRY_VOID(read_integer(file, where, "context", 1, kContextMax, out.context));
  FACET_TRY_VOID(read_integer(file, where, "batch_rows", 1, kContextMax, out.batch_rows));
  FACET_TRY_VOID(read_integer(file, where, "width", 0, 65536, out.width));
  FACET_TRY_VOID(read_integer(file, where, "window", 0, kContextMax, out.window));
  FACET_TRY_VOID(read_integer(file, where, "cache_rows", 0, int64_t{1} << 30, out.cache_rows));
  if (const Json* delay = file.find("delay")) {
    const std::string place = cat(where, ": delay");
    FACET_TRY_VOID(check_members(*delay, place, {"prompt_row_ms", "token_ms"}));
    FACET_TRY_VOID(read_delay(*delay, place, "prompt_row_ms", out.prompt_row_ms));
    FACET_TRY_VOID(read_delay(*delay, place, "token_ms", out.token_ms));
  }
  ScriptReader reader(vocabulary);
  Token end = vocabulary.end;
  if (const Json* value = file.find("end")) {
    FACET_TRY(end, reader.token(*value, cat(where, ": end")));
  }
  out.end = ScriptReader::saying(end);
  const Json* answers = file.find("answers");
  if (answers == nullptr) return bad(std::string(where), "member is missing", "answers", "none");
  if (answers->array() == nullptr) return wrong_kind(cat(where, ": answers"), "an array", *answers);
  for (const Json& json : *answers->array()) {
    FACET_TRY(PuppetAnswer answer, reader.answer(json, cat(where, ": answers[", out.answers.size(), "]")));
    out.answers.push_back(std::move(answer));
  }
  return out;
}

}  // namespace facet::model
