// The memory of a drafter, which runs beside a target and reads its cache.
#pragma once

#include "engine/memory_plan.h"
#include "facet/engine.h"
#include "formats/checkpoint.h"
#include "model/config.h"

namespace facet::engine {

struct DrafterPlan {
  model::Config config;
  MemoryPlan memory;  // no cache; the context is the target's, the drafter's own where the options leave it open
};

// No tensor is read. options.sequences draft together. Errors: unsupported (no drafter), corrupt, invalid_argument (an
// option out of its range).
Result<DrafterPlan> plan_drafter(const formats::Checkpoint& checkpoint, const LoadOptions& options);

}  // namespace facet::engine
