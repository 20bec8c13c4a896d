// From load options to a model that runs: whatever needs a real model (not a puppet) loads it through here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "engine/memory_plan.h"
#include "engine/model_files.h"
#include "engine/packed_weights.h"
#include "facet/engine.h"
#include "model/gemma.h"

namespace facet::engine {

// Hands the loader's progress to the caller's function, which must outlive it and may be empty.
class CallbackProgress : public Progress {
 public:
  explicit CallbackProgress(const ProgressCallback& callback) : callback_(callback) {}
  bool update(std::string_view phase, int64_t done, int64_t total) override {
    return !callback_ || callback_(phase, done, total);
  }

 private:
  const ProgressCallback& callback_;
};

struct LoadedGemma {
  PackedWeights packed;
  std::unique_ptr<model::Gemma> model;  // after what it points to
  MemoryPlan plan;
  const char* isa = "";
};

// The kernels of a tier; of the best one for "". Errors: invalid_argument (no such tier), unsupported (this processor
// lacks it).
Result<const kernels::Table*> table_named(const std::string& isa);

// Errors: invalid_argument (an option out of its range), unsupported (a tier that this processor lacks).
Result<void> check_options(const LoadOptions& options);

// What load_gemma() would take, decided as it decides; no tensor is read. remarks: of quantising on the way. Requires
// files of a checkpoint. Errors: those of load_gemma(), but for memory.
Result<MemoryPlan> plan_gemma(const ModelFiles& files, const LoadOptions& options, std::vector<std::string>& remarks);
// Changes of the options with which the model would fit, each by itself, as words of the command line: "-c 4096",
// "--kv bf16", "--quant Q8_0"; both at once where neither suffices; nothing where nothing helps.
std::vector<std::string> what_would_fit(const ModelFiles& files, const LoadOptions& options, const MemoryPlan& plan);

// files and pool must outlive the model. Requires files of a checkpoint. Errors: invalid_argument (an option),
// unsupported (a tier that this processor lacks), exhausted (memory), and those of reading weights.
Result<LoadedGemma> load_gemma(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool);
// packed: opened before, for these files and options.
Result<LoadedGemma> load_gemma(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool,
                               PackedWeights packed);

}  // namespace facet::engine
