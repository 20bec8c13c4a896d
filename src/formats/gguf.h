// GGUF v2 and v3 files, read in place (spec: gguf.md 1). Nothing is copied but the tensor table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/byte_source.h"
#include "formats/checkpoint.h"
#include "formats/gguf_metadata.h"

namespace facet::formats {

// One file: header, metadata, tensor table. Strings and arrays are views into the source's bytes.
struct GgufFile {
  uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<TensorInfo> tensors;   // offset: from the start of the file
  std::vector<std::string> remarks;  // unusual but tolerated
};

// Parses and validates everything; the source must be mapped or in memory and must outlive the result. Errors: corrupt,
// unsupported (version, byte order, tensor type). Memory taken is proportional to the bytes present, whatever they
// claim.
Result<GgufFile> read_gguf(const ByteSource& source);

// Names of the parts of a split file, in order; one name for a file that is not split.
// Errors: invalid_argument when `path` is a later part (names the first).
Result<std::vector<std::filesystem::path>> gguf_parts(const std::filesystem::path& path, const GgufMetadata& metadata);

}  // namespace facet::formats
