// A GGUF file of any bytes: an Error, or a file of which every value and every tensor can be read. Its metadata are
// then read as a model's configuration too.
//
// covers: src/formats/gguf.cc src/formats/gguf_metadata.cc src/model/config_gguf.cc src/formats/gguf_pairs.cc
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "formats/checkpoint_writer.h"
#include "formats/gguf.h"
#include "model/config.h"

using namespace facet;
using formats::GgufType;
using formats::GgufValue;

namespace {

template <class T>
void check_message(const Result<T>& result) {
  if (!result.ok()) FACET_CHECK(!result.error().message().empty());
}

void walk_value(const GgufValue& value) {
  FACET_CHECK(formats::name(value.type)[0] != '\0');
  const bool is_number = value.type != GgufType::string && value.type != GgufType::array;
  FACET_CHECK(!value.string() || value.string()->size() == value.bytes.size());
  FACET_CHECK(value.boolean().has_value() == (value.type == GgufType::boolean));
  FACET_CHECK(is_number || (!value.integer() && !value.number()));
  if (const auto strings = value.strings()) {
    size_t bytes = 0;
    for (const std::string_view text : *strings) bytes += sizeof(uint64_t) + text.size();
    FACET_CHECK(strings->size() == value.count && bytes == value.bytes.size());
  }
  if (const auto integers = value.integers()) FACET_CHECK(integers->size() == value.count);
  if (const auto floats = value.floats()) FACET_CHECK(floats->size() == value.count);
}

void walk_metadata(const formats::GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata.all()) {
    walk_value(value);
    FACET_CHECK(!key.empty() && metadata.find(key) != nullptr);
    check_message(metadata.integer(key));
    check_message(metadata.number(key));
    check_message(metadata.boolean(key));
    check_message(metadata.string(key));
  }
  check_message(formats::gguf_parts("model-00001-of-00002.gguf", metadata));
  const Result<model::Config> config = model::config_from_gguf(metadata, "model.gguf");
  check_message(config);
  if (config.ok()) FACET_CHECK(!model::describe(*config).empty());
  const Result<model::Config> drafter = model::drafter_config_from_gguf(metadata, "model.gguf");
  check_message(drafter);
  if (drafter.ok()) FACET_CHECK(!config.ok() && drafter->drafter.has_value());
}

// Every byte of every tensor is there, and no two tensors share one.
void walk_tensors(const formats::GgufFile& file, const formats::ByteSource& source) {
  unsigned sum = 0;
  int64_t total = 0;
  for (const formats::TensorInfo& tensor : file.tensors) {
    const Bytes bytes = source.mapped(tensor.offset, tensor.bytes);
    FACET_CHECK(static_cast<int64_t>(bytes.size()) == tensor.bytes);
    FACET_CHECK(tensor.elements() >= 0 &&
                tensor.elements() / info(tensor.type).block * info(tensor.type).bytes == tensor.bytes);
    for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
    total += tensor.bytes;
  }
  FACET_CHECK(total <= source.size());
  [[maybe_unused]] static volatile unsigned kept;
  kept = sum;
}

template <class T>
T number_of(Bytes bytes) {
  T value{};
  FACET_CHECK(bytes.size() == sizeof(T));
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}
template <class T>
std::vector<T> numbers_of(Bytes bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// The value by the setter of its type, where there is one.
void set_typed(formats::GgufPairs& pairs, std::string_view key, const GgufValue& value) {
  const bool flags = std::ranges::all_of(value.bytes, [](std::byte byte) { return byte <= std::byte{1}; });
  if (const auto strings = value.strings()) return pairs.set(key, std::span<const std::string_view>(*strings));
  switch (value.is_array() ? value.element : value.type) {
    case GgufType::u32:
      if (value.is_array()) return pairs.set(key, std::span<const uint32_t>(numbers_of<uint32_t>(value.bytes)));
      return pairs.set(key, number_of<uint32_t>(value.bytes));
    case GgufType::i32:
      if (value.is_array()) return pairs.set(key, std::span<const int32_t>(numbers_of<int32_t>(value.bytes)));
      return pairs.set(key, number_of<int32_t>(value.bytes));
    case GgufType::f32:
      if (value.is_array()) return pairs.set(key, std::span<const float>(numbers_of<float>(value.bytes)));
      return pairs.set(key, number_of<float>(value.bytes));
    case GgufType::boolean: {
      if (!flags) break;
      if (!value.is_array()) return pairs.set(key, value.bytes.front() == std::byte{1});
      std::vector<bool> values;
      for (const std::byte byte : value.bytes) values.push_back(byte == std::byte{1});
      return pairs.set(key, values);
    }
    case GgufType::u16:
      if (!value.is_array()) return pairs.set(key, number_of<uint16_t>(value.bytes));
      break;
    case GgufType::string: return pairs.set(key, *value.string());
    default: break;
  }
  pairs.set(key, value);
}

// Every way to set a pair gives the same bytes; what is erased is gone.
void check_pairs(const formats::GgufPairs& copied, const formats::GgufMetadata& metadata) {
  formats::GgufPairs typed;
  for (const auto& [key, value] : metadata.all()) set_typed(typed, key, value);
  FACET_CHECK(typed.bytes() == copied.bytes());
  for (const auto& [key, value] : metadata.all()) set_typed(typed, key, value);  // replaces, in its place
  FACET_CHECK(typed.bytes() == copied.bytes());
  const auto number = static_cast<uint32_t>(typed.size() + (copied.bytes().size() << 12));
  typed.set("general.alignment", number);
  const Result<uint64_t> alignment = typed.alignment();
  check_message(alignment);
  FACET_CHECK(alignment.ok() == (std::has_single_bit(number) && number <= 1 << 20));
  typed.set("general.alignment", "32");
  FACET_CHECK(!typed.alignment().ok());
  for (const auto& [key, value] : metadata.all()) typed.erase(key);
  typed.erase("general.alignment");
  FACET_CHECK(typed.size() == 0 && typed.bytes().empty() && *typed.alignment() == 32);
}

// What was read, written again: the same pairs and tensors.
void write_again(const formats::GgufFile& file) {
  formats::GgufPairs pairs;
  pairs.copy(file.metadata);
  FACET_CHECK(pairs.size() == file.metadata.all().size() && pairs.alignment().ok());
  check_pairs(pairs, file.metadata);
  std::vector<formats::NewTensor> tensors;
  uint64_t data = 0;
  for (const formats::TensorInfo& tensor : file.tensors) {
    tensors.push_back({tensor.name, tensor.type, tensor.shape});
    data += static_cast<uint64_t>(tensor.bytes) + *pairs.alignment();
  }
  std::vector<std::byte> bytes = formats::gguf_header(pairs, tensors, *pairs.alignment());
  constexpr uint64_t kDataMax = 1 << 20;
  if (data > kDataMax) return;
  bytes.resize(bytes.size() + data);
  const auto source = formats::memory_source("again.gguf", bytes);
  const Result<formats::GgufFile> again = formats::read_gguf(*source);
  FACET_CHECK(again.ok() && again->tensors.size() == file.tensors.size());
  for (size_t i = 0; i < file.tensors.size(); ++i)
    FACET_CHECK(again->tensors[i].name == file.tensors[i].name && again->tensors[i].shape == file.tensors[i].shape &&
                again->tensors[i].type == file.tensors[i].type);
  for (size_t i = 0; i < file.metadata.all().size(); ++i) {
    const auto& [key, value] = file.metadata.all()[i];
    const auto& [other_key, other] = again->metadata.all()[i];
    FACET_CHECK(key == other_key && value.type == other.type && std::ranges::equal(value.bytes, other.bytes));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto source = formats::memory_source("model.gguf", std::as_bytes(std::span(data, size)));
  const Result<formats::GgufFile> file = formats::read_gguf(*source);
  check_message(file);
  if (!file.ok()) return 0;
  walk_metadata(file->metadata);
  walk_tensors(*file, *source);
  write_again(*file);
  return 0;
}
