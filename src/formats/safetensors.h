// safetensors files, read in place (spec: gguf.md 2).
#pragma once

#include <vector>

#include "formats/byte_source.h"
#include "formats/checkpoint.h"

namespace facet::formats {

// Parses and validates the header: the tensors must tile the data exactly. offset: from the start of the file.
// Errors: corrupt, unsupported (a type facet does not know).
Result<std::vector<TensorInfo>> read_safetensors(const ByteSource& source);

// The file names in the weight map of a model.safetensors.index.json, each once, and the names of the tensors they
// hold.
struct ShardIndex {
  struct Entry {
    std::string tensor, file;
  };
  std::vector<std::string> files;
  std::vector<Entry> entries;
};
Result<ShardIndex> read_shard_index(const Json& index, const std::string& where);

}  // namespace facet::formats
