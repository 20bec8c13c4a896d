#include "formats/gguf_metadata.h"

#include <cstring>

#include "base/check.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace facet::formats {
namespace {

template <class T>
T load(Bytes bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::optional<int64_t> integer_at(GgufType type, Bytes bytes, size_t i) {
  switch (type) {
    case GgufType::u8: return load<uint8_t>(bytes, i);
    case GgufType::i8: return load<int8_t>(bytes, i);
    case GgufType::u16: return load<uint16_t>(bytes, i);
    case GgufType::i16: return load<int16_t>(bytes, i);
    case GgufType::u32: return load<uint32_t>(bytes, i);
    case GgufType::i32: return load<int32_t>(bytes, i);
    case GgufType::boolean: return load<uint8_t>(bytes, i) != 0 ? 1 : 0;
    case GgufType::i64: return load<int64_t>(bytes, i);
    case GgufType::u64: {
      const uint64_t value = load<uint64_t>(bytes, i);
      if (value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default: return std::nullopt;
  }
}

std::optional<double> number_at(GgufType type, Bytes bytes, size_t i) {
  if (type == GgufType::f32) return load<float>(bytes, i);
  if (type == GgufType::f64) return load<double>(bytes, i);
  if (type == GgufType::boolean) return std::nullopt;
  const std::optional<int64_t> integer = integer_at(type, bytes, i);
  if (!integer) return std::nullopt;
  return static_cast<double>(*integer);
}

// "u64 18446744073709551615", "f32 0.5", "array of string": for messages.
std::string described(const GgufValue& value) {
  if (value.type == GgufType::u64) return cat("u64 ", load<uint64_t>(value.bytes, 0));
  if (value.is_array()) return cat("array of ", name(value.element));
  if (const std::optional<double> number = value.number()) return cat(name(value.type), ' ', *number);
  return name(value.type);
}

}  // namespace

const char* name(GgufType type) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  const auto index = static_cast<size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

std::optional<int64_t> GgufValue::integer() const { return integer_at(type, bytes, 0); }
std::optional<double> GgufValue::number() const { return number_at(type, bytes, 0); }
std::optional<bool> GgufValue::boolean() const {
  if (type != GgufType::boolean) return std::nullopt;
  return load<uint8_t>(bytes, 0) != 0;
}
std::optional<std::string_view> GgufValue::string() const {
  if (type != GgufType::string) return std::nullopt;
  return as_text(bytes);
}

std::optional<std::vector<int64_t>> GgufValue::integers() const {
  if (!is_array()) return std::nullopt;
  std::vector<int64_t> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const std::optional<int64_t> value = integer_at(element, bytes, i);
    if (!value) return std::nullopt;
    out.push_back(*value);
  }
  return out;
}

std::optional<std::vector<float>> GgufValue::floats() const {
  if (!is_array()) return std::nullopt;
  std::vector<float> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const std::optional<double> value = number_at(element, bytes, i);
    if (!value) return std::nullopt;
    out.push_back(static_cast<float>(*value));
  }
  return out;
}

std::optional<std::vector<std::string_view>> GgufValue::strings() const {
  if (!is_array() || element != GgufType::string) return std::nullopt;
  std::vector<std::string_view> out;
  out.reserve(count);
  each_string([&](std::string_view string) {
    out.push_back(string);
    return true;
  });
  return out;
}

Error GgufMetadata::wrong_type(std::string_view key, std::string_view expected, const GgufValue& value) const {
  return {.code = ErrorCode::corrupt,
          .what = "metadata key has the wrong type or range",
          .where = file_.empty() ? excerpt(key) : cat(file_, ": ", excerpt(key)),
          .expected = std::string(expected),
          .found = described(value)};
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &pairs_[found->second].second;
}

Result<std::optional<int64_t>> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<int64_t>();
  const std::optional<int64_t> integer = value->integer();
  if (!integer) return wrong_type(key, "an integer", *value);
  return integer;
}

Result<std::optional<double>> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<double>();
  const std::optional<double> number = value->number();
  if (!number) return wrong_type(key, "a number", *value);
  return number;
}

Result<std::optional<bool>> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  const std::optional<bool> boolean = value->boolean();
  if (!boolean) return wrong_type(key, "a bool", *value);
  return boolean;
}

Result<std::optional<std::string_view>> GgufMetadata::string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<std::string_view>();
  const std::optional<std::string_view> string = value->string();
  if (!string) return wrong_type(key, "a string", *value);
  return string;
}

void GgufMetadata::add(std::string_view key, GgufValue value) {
  const bool inserted = index_.emplace(key, pairs_.size()).second;
  FACET_CHECK(inserted);
  pairs_.emplace_back(key, value);
}

}  // namespace facet::formats
