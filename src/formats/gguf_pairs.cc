#include "formats/gguf_pairs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/strings.h"
#include "formats/append.h"

namespace facet::formats {
namespace {

void append_text(std::vector<std::byte>& out, std::string_view text) {
  append_number(out, static_cast<uint64_t>(text.size()));
  append(out, as_bytes(text));
}

}  // namespace

std::vector<std::byte>& GgufPairs::value_of(std::string_view key) {
  const auto found = std::ranges::find(pairs_, key, &Pair::key);
  if (found == pairs_.end()) return pairs_.emplace_back(Pair{std::string(key), {}}).value;
  found->value.clear();
  return found->value;
}

void GgufPairs::set_value(std::string_view key, GgufType type, Bytes bytes) {
  std::vector<std::byte>& value = value_of(key);
  append_number(value, static_cast<uint32_t>(type));
  append(value, bytes);
}

void GgufPairs::set_numbers(std::string_view key, GgufType element, Bytes values, size_t count) {
  std::vector<std::byte>& value = value_of(key);
  append_number(value, static_cast<uint32_t>(GgufType::array));
  append_number(value, static_cast<uint32_t>(element));
  append_number(value, static_cast<uint64_t>(count));
  append(value, values);
}

void GgufPairs::set(std::string_view key, std::string_view text) {
  std::vector<std::byte>& value = value_of(key);
  append_number(value, static_cast<uint32_t>(GgufType::string));
  append_text(value, text);
}

void GgufPairs::set(std::string_view key, std::span<const std::string_view> texts) {
  std::vector<std::byte>& value = value_of(key);
  append_number(value, static_cast<uint32_t>(GgufType::array));
  append_number(value, static_cast<uint32_t>(GgufType::string));
  append_number(value, static_cast<uint64_t>(texts.size()));
  for (const std::string_view text : texts) append_text(value, text);
}

void GgufPairs::set(std::string_view key, const std::vector<bool>& values) {
  std::vector<uint8_t> bytes(values.begin(), values.end());
  set_numbers(key, GgufType::boolean, std::as_bytes(std::span(bytes)), bytes.size());
}

void GgufPairs::set(std::string_view key, const GgufValue& source) {
  if (source.is_array()) return set_numbers(key, source.element, source.bytes, source.count);
  if (source.type == GgufType::string) return set(key, as_text(source.bytes));
  set_value(key, source.type, source.bytes);
}

void GgufPairs::copy(const GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata.all()) set(key, value);
}

void GgufPairs::erase(std::string_view key) {
  std::erase_if(pairs_, [&](const Pair& pair) { return pair.key == key; });
}

Result<uint64_t> GgufPairs::alignment() const {
  constexpr uint64_t kUsual = 32, kMost = uint64_t{1} << 20;
  const auto found = std::ranges::find(pairs_, "general.alignment", &Pair::key);
  if (found == pairs_.end()) return kUsual;
  uint32_t type = 0, value = 0;
  if (found->value.size() == sizeof(type) + sizeof(value)) {
    std::memcpy(&type, found->value.data(), sizeof(type));
    std::memcpy(&value, found->value.data() + sizeof(type), sizeof(value));
  }
  if (type != static_cast<uint32_t>(GgufType::u32) || !std::has_single_bit(value) || value > kMost)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "files cannot be written with this alignment",
                 .where = "general.alignment",
                 .expected = cat("a u32, a power of two, at most ", kMost),
                 .found = cat(value)};
  return uint64_t{value};
}

std::vector<std::byte> GgufPairs::bytes() const {
  std::vector<std::byte> out;
  for (const Pair& pair : pairs_) {
    append_text(out, pair.key);
    append(out, pair.value);
  }
  return out;
}

}  // namespace facet::formats
