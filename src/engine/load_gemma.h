// From load options to a model that runs: whatever needs a real model (not a puppet) loads it through here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/memory_plan.h"
#include "engine/model_files.h"
#include "facet/engine.h"
#include "model/gemma.h"

namespace facet::engine {

struct LoadedGemma {
  std::unique_ptr<model::Gemma> model;
  MemoryPlan plan;
  std::vector<std::string> remarks;  // of quantising on the way
  const char* isa = "";
};

// The kernels of a tier; of the best one for "". Errors: invalid_argument (no such tier), unsupported (this processor
// lacks it).
Result<const kernels::Table*> table_named(const std::string& isa);

// files and pool must outlive the model. Requires files of a checkpoint. Errors: invalid_argument (an option),
// unsupported (a tier that this processor lacks), exhausted (memory), and those of reading weights.
Result<LoadedGemma> load_gemma(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool);

}  // namespace facet::engine
