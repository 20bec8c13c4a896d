// Importance matrices: how large the inputs of each linear are, column by column, over a calibration text. Quantisers
// weigh their errors with them. Files are those of llama.cpp's tools, of both generations (quantization.md 6).
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "facet/result.h"
#include "formats/checkpoint.h"

namespace facet::formats {

struct ImportanceMatrix {
  struct Entry {
    std::vector<float> sums;    // [groups][columns]: sum of squared inputs; groups are experts, 1 otherwise
    std::vector<float> counts;  // rows that were summed up: for each group, or one for all
  };

  std::map<std::string, Entry> entries;  // by the GGUF name of the weight
  std::vector<std::string> datasets;     // file names of the texts
  int64_t chunk_count = 0;               // pieces of text
  int64_t chunk_size = 0;                // tokens a piece

  // Errors: not_found, io, corrupt, unsupported (another kind of file), naming the file and the entry.
  static Result<ImportanceMatrix> read(const std::filesystem::path& path);
  static Result<ImportanceMatrix> read(const ByteSource& source);

  enum class Format : uint8_t { gguf, legacy };  // legacy: "imatrix.dat" of 2023 to 2025
  // Errors: io, exhausted; invalid_argument (a name that the format cannot hold).
  Result<void> write(const std::filesystem::path& path, Format format) const;

  // Adds what another text said. Errors: invalid_argument (an entry of another size).
  Result<void> add(const ImportanceMatrix& other);

  // Mean square of each input of a tensor's rows, [groups][columns]; 1 for experts that nothing reached. nullopt: the
  // tensor was not observed. Errors: invalid_argument (an entry of another size).
  Result<std::optional<std::vector<float>>> importance(const TensorInfo& tensor) const;
};

}  // namespace facet::formats
