// Builders of small GGUF and safetensors files, right ones and wrong ones.
//
//   GgufBuilder file;
//   file.number("general.alignment", uint32_t{64}).text("general.name", "tiny");
//   file.tensor("w", DType::f32, {2, 3}, floats_as_bytes(values));
//   write_bytes(folder.path() / "tiny.gguf", file.bytes());
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/file.h"
#include "formats/gguf_metadata.h"
#include "tensor/dtype.h"

namespace facet::testing {

using ByteVector = std::vector<std::byte>;

template <class T>
void append_number(ByteVector& out, T value) {
  const Bytes bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}
ByteVector as_vector(std::string_view text);
ByteVector floats_as_bytes(std::span<const float> values);
void write_bytes(const std::filesystem::path& path, Bytes bytes);

class GgufBuilder {
 public:
  // A tensor record; fields may be set to nonsense before bytes().
  struct Record {
    std::string name;
    std::vector<int64_t> dims;  // as in the file: innermost first
    int32_t type = 0;
    uint64_t offset = 0;
  };

  // Any number or bool.
  template <class T>
  GgufBuilder& number(std::string_view key, T value) {
    ByteVector bytes;
    append_number(bytes, value);
    return pair(key, type_of<T>(), bytes);
  }
  GgufBuilder& text(std::string_view key, std::string_view value);
  GgufBuilder& texts(std::string_view key, std::span<const std::string> values);
  template <class T>
  GgufBuilder& numbers(std::string_view key, std::span<const T> values) {
    ByteVector bytes;
    append_number(bytes, static_cast<uint32_t>(type_of<T>()));
    append_number(bytes, static_cast<uint64_t>(values.size()));
    for (const T value : values) append_number(bytes, value);
    return pair(key, formats::GgufType::array, bytes);
  }
  // A pair whose value is given as bytes, right or not.
  GgufBuilder& pair(std::string_view key, formats::GgufType type, Bytes value);
  // Appends the data, padded to the alignment. shape: outermost first.
  GgufBuilder& tensor(std::string name, DType type, std::vector<int64_t> shape, Bytes data);

  ByteVector bytes() const;

  // What a wrong file gets wrong.
  uint32_t version = 3;
  uint64_t alignment = 32;  // of the data; the key is written by number()
  int64_t more_pairs = 0;   // added to the counts in the header
  int64_t more_tensors = 0;
  std::vector<Record> records;
  ByteVector data;

 private:
  template <class T>
  static constexpr formats::GgufType type_of() {
    using enum formats::GgufType;
    if constexpr (std::is_same_v<T, bool>) return boolean;
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
    constexpr bool is_signed = std::is_signed_v<T>;
    if constexpr (sizeof(T) == 1) return is_signed ? i8 : u8;
    if constexpr (sizeof(T) == 2) return is_signed ? i16 : u16;
    if constexpr (sizeof(T) == 4) return is_signed ? i32 : u32;
    return is_signed ? i64 : u64;
  }

  int64_t n_pairs_ = 0;
  ByteVector pairs_;
};

class SafetensorsBuilder {
 public:
  SafetensorsBuilder& tensor(std::string_view name, DType type, std::span<const int64_t> shape, Bytes data);
  SafetensorsBuilder& floats(std::string_view name, std::vector<int64_t> shape, std::span<const float> values);
  ByteVector bytes() const;
  // A file with this header, whatever it says.
  static ByteVector file(std::string_view header, Bytes data);

 private:
  std::string entries_;
  ByteVector data_;
};

}  // namespace facet::testing
