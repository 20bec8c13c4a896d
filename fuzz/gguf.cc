// A GGUF file of any bytes: an Error, or a file of which every value and every tensor can be read. Its metadata are
// then read as a model's configuration too.
//
// covers: src/formats/gguf.cc src/formats/gguf_metadata.cc src/model/config_gguf.cc
#include <cstdint>

#include "base/check.h"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto source = formats::memory_source("model.gguf", std::as_bytes(std::span(data, size)));
  const Result<formats::GgufFile> file = formats::read_gguf(*source);
  check_message(file);
  if (!file.ok()) return 0;
  walk_metadata(file->metadata);
  walk_tensors(*file, *source);
  return 0;
}
