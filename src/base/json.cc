#include "base/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/strings.h"
#include "base/utf8.h"

namespace facet {
namespace {

// Builds a Json from nlohmann's events; stops at the first broken limit or duplicate name.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(std::string_view text, std::string_view where, Json::Limits limits)
      : text_(text), where_(where), limits_(limits) {}

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(static_cast<int64_t>(value))); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return add(Json(static_cast<int64_t>(value)));
    return add(Json(static_cast<double>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }

  bool start_object(size_t) override { return open(Json(Json::Object())); }
  bool start_array(size_t) override { return open(Json(Json::Array())); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (!levels_.back().names.insert(value).second)
      return fail({.code = ErrorCode::corrupt,
                   .what = cat("JSON object has the name \"", excerpt(value), "\" twice"),
                   .where = where_});
    levels_.back().key = std::move(value);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& problem) override {
    size_t line = 1, column = 1;
    for (size_t i = 0; i + 1 < position && i < text_.size(); ++i) {
      ++column;
      if (text_[i] == '\n') ++line, column = 1;
    }
    // "[json.exception.parse_error.101] parse error at line …: syntax error while … last read: '…'; expected …". What
    // was read last may be as long as the text.
    std::string_view detail = problem.what();
    if (const size_t colon = detail.find(": "); colon != detail.npos) detail.remove_prefix(colon + 2);
    constexpr size_t kLongest = 300;
    const std::string shown = detail.size() <= kLongest ? std::string(detail) : excerpt(detail);
    return fail({.code = ErrorCode::corrupt,
                 .what = cat("not valid JSON at line ", line, ", column ", column, ": ", shown),
                 .where = where_});
  }

  Result<Json> take() {
    if (error_) return *std::move(error_);
    return std::move(root_);
  }

 private:
  struct Level {
    Json value;
    std::string key;
    std::unordered_set<std::string> names;
  };

  bool fail(Error error) {
    error_ = std::move(error);
    return false;
  }

  bool add(Json value) {
    if (++values_ > limits_.values)
      return fail({.code = ErrorCode::exhausted,
                   .what = "JSON text holds too many values",
                   .where = where_,
                   .expected = cat("at most ", limits_.values),
                   .found = "more"});
    if (levels_.empty()) {
      root_ = std::move(value);
    } else if (Json::Array* array = levels_.back().value.array()) {
      array->push_back(std::move(value));
    } else {
      levels_.back().value.object()->emplace_back(std::move(levels_.back().key), std::move(value));
    }
    return true;
  }

  bool open(Json container) {
    if (static_cast<int>(levels_.size()) >= limits_.depth)
      return fail({.code = ErrorCode::exhausted,
                   .what = "JSON is nested too deeply",
                   .where = where_,
                   .expected = cat("at most ", limits_.depth, " levels"),
                   .found = "more"});
    levels_.push_back({.value = std::move(container), .key = {}, .names = {}});
    return true;
  }

  bool close() {
    Json done = std::move(levels_.back().value);
    levels_.pop_back();
    return add(std::move(done));
  }

  std::string_view text_;
  std::string where_;
  Json::Limits limits_;
  std::vector<Level> levels_;
  size_t values_ = 0;
  Json root_;
  std::optional<Error> error_;
};

nlohmann::ordered_json convert(const Json& value) {
  if (value.is_null()) return nullptr;
  if (const bool* b = value.boolean()) return *b;
  if (const int64_t* i = value.integer()) return *i;
  if (value.is_number()) return std::isfinite(value.number()) ? nlohmann::ordered_json(value.number()) : nullptr;
  if (const std::string* s = value.string()) return *s;
  if (const Json::Array* array = value.array()) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const Json& item : *array) out.push_back(convert(item));
    return out;
  }
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  // Names are unique already; out[key] would search for each, in quadratic time.
  auto& members = out.get_ref<nlohmann::ordered_json::object_t&>();
  for (const auto& [key, item] : *value.object())
    members.nlohmann::ordered_json::object_t::Container::emplace_back(key, convert(item));
  return out;
}

}  // namespace

Result<Json> Json::parse(std::string_view text, std::string_view where, Limits limits) {
  if (text.size() > limits.bytes)
    return Error{.code = ErrorCode::exhausted,
                 .what = "JSON text is too large",
                 .where = std::string(where),
                 .expected = cat("at most ", limits.bytes, " bytes"),
                 .found = cat(text.size(), " bytes")};
  Builder builder(text, where, limits);
  nlohmann::json::sax_parse(text, &builder);
  return builder.take();
}

double Json::number() const {
  if (const int64_t* i = integer()) return static_cast<double>(*i);
  if (const double* d = std::get_if<double>(&value_)) return *d;
  return 0;
}

const Json* Json::find(std::string_view key) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  for (const auto& [name, value] : *members)
    if (name == key) return &value;
  return nullptr;
}

void Json::set(std::string key, Json value) {
  if (is_null()) value_ = Object();
  for (auto& [name, old] : *object()) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  object()->emplace_back(std::move(key), std::move(value));
}

const char* Json::kind() const {
  constexpr const char* kNames[] = {"null", "a boolean", "an integer", "a number", "a string", "an array", "an object"};
  return kNames[value_.index()];
}

std::string Json::dump(int indent) const {
  return convert(*this).dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace facet
