// Quantising a GGUF file into another: types by recipe, tensors streamed, memory a few slabs whatever the model's size.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "convert/outputs.h"
#include "convert/recipes.h"
#include "formats/checkpoint_writer.h"
#include "formats/importance.h"
#include "model/config.h"

namespace facet::convert {

struct QuantizeOptions {
  RecipeOptions recipe = {};  // has_importance follows `importance`
  const formats::ImportanceMatrix* importance = nullptr;
  std::string importance_file = {};  // its name, for the metadata
  bool allow_requantize = false;     // block types lose twice; F32, F16 and BF16 do not
  formats::SplitOptions split = {};
  Overwrite overwrite = Overwrite::no;
  bool dry_run = false;  // plan only
  Progress* progress = nullptr;
};

struct QuantizeReport {
  struct Share {
    int64_t tensors = 0, bytes = 0;
  };
  std::map<std::string, Share> types;  // of what was written
  int64_t bytes_before = 0, bytes_after = 0;
  std::vector<std::filesystem::path> files;
  std::vector<std::string> remarks;  // fallbacks, tensors without importance, trained grids
};

// The type of each tensor of a checkpoint (GGUF names) under a recipe. Errors: unsupported (a type that cannot be read
// or written), invalid_argument (importance is needed and missing; a block type that must not be quantised again),
// naming the tensor.
Result<std::vector<ChosenType>> plan_types(std::span<const formats::TensorInfo> tensors, const model::Config& config,
                                           const QuantizeOptions& options);

// Errors: those of plan_types, non_finite, cancelled, exhausted, io; invalid_argument (files that are there already; a
// checkpoint that is no GGUF file).
Result<QuantizeReport> quantize(const formats::Checkpoint& in, const std::filesystem::path& out,
                                const QuantizeOptions& options, ThreadPool& pool);

}  // namespace facet::convert
