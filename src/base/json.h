// The one JSON value and reader. nlohmann/json does the parsing, behind json.cc. (The vocabulary and
// merges of a tokenizer.json, 32 MB, are read in place by tokenizer/json_text.h.)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "facet/result.h"

namespace facet {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the order of the text; names are unique

  Json() = default;                                         // null
  Json(std::nullptr_t) {}                                   // NOLINT
  Json(bool value) : value_(value) {}                       // NOLINT
  Json(int value) : value_(static_cast<int64_t>(value)) {}  // NOLINT
  Json(int64_t value) : value_(value) {}                    // NOLINT
  Json(double value) : value_(value) {}                     // NOLINT
  Json(const char* value) : value_(std::string(value)) {}   // NOLINT
  Json(std::string value) : value_(std::move(value)) {}     // NOLINT
  Json(Array value) : value_(std::move(value)) {}           // NOLINT
  Json(Object value) : value_(std::move(value)) {}          // NOLINT

  struct Limits {
    int depth = 64;
    size_t bytes = size_t{256} << 20;
    size_t values = size_t{1} << 20;  // a value of two bytes of text ("0,") takes 40 in memory, a member about 150
  };
  // Strict RFC 8259 UTF-8 text. Errors: corrupt (with line and column; duplicate names too), exhausted (a limit).
  // `where` names the text in messages.
  static Result<Json> parse(std::string_view text, std::string_view where, Limits limits);
  static Result<Json> parse(std::string_view text, std::string_view where) { return parse(text, where, Limits()); }

  bool is_null() const { return value_.index() == 0; }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&value_); }
  // Integers count as numbers.
  bool is_number() const { return value_.index() == 2 || value_.index() == 3; }
  double number() const;  // 0 unless is_number()
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }
  Array* array() { return std::get_if<Array>(&value_); }
  Object* object() { return std::get_if<Object>(&value_); }

  // The member of an object, or nullptr (also when this is not an object).
  const Json* find(std::string_view key) const;
  // Adds or replaces a member; turns null into an object first.
  void set(std::string key, Json value);

  // "an object", "a string", …: for messages.
  const char* kind() const;
  // Compact text; with indent >= 0 pretty-printed. Invalid UTF-8 in strings becomes U+FFFD. NaN and infinities become
  // null.
  std::string dump(int indent = -1) const;

  bool operator==(const Json&) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

}  // namespace facet
