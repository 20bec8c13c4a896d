// Hugging Face folders to GGUF files and back: tensors, configuration, vocabulary, chat template (docs/convert.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "convert/outputs.h"
#include "formats/checkpoint_writer.h"
#include "model/config.h"

namespace facet::convert {

struct ConvertOptions {
  std::optional<DType> type = {};  // of matrices: F32, F16, BF16. Empty: as they are; blocks become BF16 in a folder
  formats::SplitOptions split = {};
  Overwrite overwrite = Overwrite::no;
  Progress* progress = nullptr;
};

struct Converted {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> remarks;  // what was left out, and why: one sentence each
};

// in: a Hugging Face folder, and out the name of a GGUF file; or in a GGUF file, and out a folder. Decoders of Gemma 4
// and Gemma 3, and drafters. Everything is checked before the first byte is written: every tensor by name and shape,
// and whether the target can say what the source says. Errors: invalid_argument (both of one kind; files that are there
// already), unsupported, corrupt, exhausted, io, cancelled.
Result<Converted> convert(const std::filesystem::path& in, const std::filesystem::path& out,
                          const ConvertOptions& options);

// The two directions.
Result<Converted> to_gguf(const formats::Checkpoint& in, const std::filesystem::path& out,
                          const ConvertOptions& options);
Result<Converted> to_folder(const formats::Checkpoint& in, const std::filesystem::path& out,
                            const ConvertOptions& options);

// The configuration of a decoder or a drafter, whichever it is.
Result<model::Config> read_any_config(const formats::Checkpoint& checkpoint);

}  // namespace facet::convert
