// GgufPairs: the key-value pairs of a GGUF file that is to be written.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf_metadata.h"

namespace facet::formats {

class GgufPairs {
 public:
  // A pair of the same key is replaced, in its place.
  void set(std::string_view key, uint32_t value) { set_number(key, GgufType::u32, value); }
  void set(std::string_view key, int32_t value) { set_number(key, GgufType::i32, value); }
  void set(std::string_view key, uint16_t value) { set_number(key, GgufType::u16, value); }
  void set(std::string_view key, float value) { set_number(key, GgufType::f32, value); }
  void set(std::string_view key, bool value) { set_number(key, GgufType::boolean, static_cast<uint8_t>(value)); }
  void set(std::string_view key, std::string_view value);
  void set(std::string_view key, const char* value) { set(key, std::string_view(value)); }
  void set(std::string_view key, std::span<const std::string_view> values);
  void set(std::string_view key, std::span<const int32_t> values) {
    set_numbers(key, GgufType::i32, std::as_bytes(values), values.size());
  }
  void set(std::string_view key, std::span<const uint32_t> values) {
    set_numbers(key, GgufType::u32, std::as_bytes(values), values.size());
  }
  void set(std::string_view key, std::span<const float> values) {
    set_numbers(key, GgufType::f32, std::as_bytes(values), values.size());
  }
  void set(std::string_view key, const std::vector<bool>& values);
  // As it was read from another file, whatever its type.
  void set(std::string_view key, const GgufValue& value);
  // All pairs of another file.
  void copy(const GgufMetadata& metadata);
  void erase(std::string_view key);

  size_t size() const { return pairs_.size(); }
  // general.alignment, or 32. Errors: invalid_argument (no power of two of at most 1 MiB).
  Result<uint64_t> alignment() const;
  // All pairs, as they stand in a file.
  std::vector<std::byte> bytes() const;

 private:
  struct Pair {
    std::string key;
    std::vector<std::byte> value;  // type and value
  };
  template <class T>
  void set_number(std::string_view key, GgufType type, T value) {
    set_value(key, type, std::as_bytes(std::span(&value, 1)));
  }
  void set_value(std::string_view key, GgufType type, Bytes value);
  void set_numbers(std::string_view key, GgufType element, Bytes values, size_t count);
  std::vector<std::byte>& value_of(std::string_view key);

  std::vector<Pair> pairs_;
};

}  // namespace facet::formats
