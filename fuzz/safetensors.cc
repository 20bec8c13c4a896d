// A safetensors file of any bytes: an Error, or tensors that tile the data exactly. The header's text is tried as the
// index of a sharded checkpoint too.
//
// covers: src/formats/safetensors.cc
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "formats/checkpoint_writer.h"
#include "formats/safetensors.h"

using namespace facet;

static void walk_tensors(const std::vector<formats::TensorInfo>& tensors, const formats::ByteSource& source) {
  unsigned sum = 0;
  int64_t total = 0;
  for (const formats::TensorInfo& tensor : tensors) {
    const Bytes bytes = source.mapped(tensor.offset, tensor.bytes);
    FACET_CHECK(static_cast<int64_t>(bytes.size()) == tensor.bytes);
    FACET_CHECK(tensor.elements() * info(tensor.type).bytes == tensor.bytes);
    for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
    total += tensor.bytes;
  }
  FACET_CHECK(total <= source.size());
  [[maybe_unused]] static volatile unsigned kept;
  kept = sum;
}

// What was read, written again: the same tensors, in the same order.
static void write_again(const std::vector<formats::TensorInfo>& tensors) {
  std::vector<formats::NewTensor> list;
  int64_t data = 0;
  for (const formats::TensorInfo& tensor : tensors) {
    list.push_back({tensor.name, tensor.type, tensor.shape});
    data += tensor.bytes;
  }
  std::vector<std::byte> bytes = formats::safetensors_header(list);
  FACET_CHECK(bytes.size() % 8 == 0);
  bytes.resize(bytes.size() + static_cast<size_t>(data));
  const auto source = formats::memory_source("again.safetensors", bytes);
  const Result<std::vector<formats::TensorInfo>> again = formats::read_safetensors(*source);
  FACET_CHECK(again.ok() && again->size() == tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    FACET_CHECK((*again)[i].name == tensors[i].name && (*again)[i].type == tensors[i].type &&
                (*again)[i].shape == tensors[i].shape);
}

static void read_index(std::string_view text) {
  const Result<Json> json = Json::parse(text, "model.safetensors.index.json");
  if (!json.ok()) return;
  const Result<formats::ShardIndex> index = formats::read_shard_index(*json, "model.safetensors.index.json");
  if (!index.ok()) {
    FACET_CHECK(!index.error().message().empty());
    return;
  }
  FACET_CHECK(!index->files.empty() && index->files.size() <= index->entries.size());
  for (const std::string& file : index->files) FACET_CHECK(!file.empty() && file.find('/') == file.npos);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  const auto source = formats::memory_source("model.safetensors", bytes);
  const Result<std::vector<formats::TensorInfo>> tensors = formats::read_safetensors(*source);
  if (tensors.ok()) {
    walk_tensors(*tensors, *source);
    write_again(*tensors);
  } else {
    FACET_CHECK(!tensors.error().message().empty());
  }
  if (size > 8) read_index(as_text(bytes.subspan(8)));
  return 0;
}
