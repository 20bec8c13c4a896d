// One GGUF file into parts and parts into one file: the same tensors and the same metadata.
#pragma once

#include <filesystem>
#include <vector>

#include "base/progress.h"
#include "convert/outputs.h"
#include "formats/checkpoint_writer.h"

namespace facet::convert {

// in: a GGUF file, or the first part of a split one. The parts are called PREFIX-00001-of-00003.gguf (gguf.md 1.8).
// Returns their paths, in order. Errors: invalid_argument (no limit in `split`; all fits in one part; parts that are
// there already), unsupported (no GGUF file), and those of reading and writing.
Result<std::vector<std::filesystem::path>> split_gguf(const std::filesystem::path& in,
                                                      const std::filesystem::path& prefix,
                                                      const formats::SplitOptions& split, Overwrite overwrite,
                                                      Progress* progress);

// first_part: the first part of a split file. Errors: as above; invalid_argument where it is not split.
Result<void> merge_gguf(const std::filesystem::path& first_part, const std::filesystem::path& out, Overwrite overwrite,
                        Progress* progress);

}  // namespace facet::convert
