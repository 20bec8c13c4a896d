// The key-value pairs of a GGUF file. Arrays stay in the mapped file: a vocabulary of 262,144 strings is not copied.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "facet/result.h"

namespace facet::formats {

// Value types of GGUF v3. Do not renumber.
enum class GgufType : uint32_t { u8 = 0, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
const char* name(GgufType type);

// One value, still as bytes of the file. Numbers convert where they fit; a wrong type or a value that does not fit is
// nullopt.
class GgufValue {
 public:
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  // arrays
  uint64_t count = 1;               // elements of an array
  Bytes bytes;                      // the value, or an array's elements

  std::optional<int64_t> integer() const;  // any integer type or bool
  std::optional<double> number() const;    // any numeric type
  std::optional<bool> boolean() const;     // bool only
  std::optional<std::string_view> string() const;
  bool is_array() const { return type == GgufType::array; }

  // Arrays; nullopt when the element type does not convert.
  std::optional<std::vector<int64_t>> integers() const;
  std::optional<std::vector<float>> floats() const;
  std::optional<std::vector<std::string_view>> strings() const;  // views into the file
  // The same one by one, without the vector, until take(string) is false. Requires strings.
  template <class Take>
  void each_string(Take take) const {
    Bytes rest = bytes;  // the reader has checked that every length stays inside
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t length;
      std::memcpy(&length, rest.data(), sizeof length);
      if (!take(as_text(rest.subspan(sizeof length, length)))) return;
      rest = rest.subspan(sizeof length + length);
    }
  }
};

class GgufMetadata {
 public:
  GgufMetadata() = default;
  explicit GgufMetadata(std::string file) : file_(std::move(file)) {}  // its name, for messages

  const GgufValue* find(std::string_view key) const;
  std::span<const std::pair<std::string_view, GgufValue>> all() const { return pairs_; }

  // The value, or nullopt where the key is absent. A present key of a wrong type is an Error (corrupt, naming file and
  // key).
  Result<std::optional<int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string_view>> string(std::string_view key) const;

  // Requires key not to be present yet.
  void add(std::string_view key, GgufValue value);

 private:
  Error wrong_type(std::string_view key, std::string_view expected, const GgufValue& value) const;

  std::string file_;
  std::vector<std::pair<std::string_view, GgufValue>> pairs_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace facet::formats
