#include "engine/drafter_plan.h"

#include "engine/load_gemma.h"
#include "model/drafter.h"

namespace facet::engine {

Result<DrafterPlan> plan_drafter(const formats::Checkpoint& checkpoint, const LoadOptions& options) {
  FACET_TRY_VOID(check_options(options));
  FACET_TRY(const kernels::Table* table, table_named(options.isa));
  DrafterPlan plan;
  FACET_TRY(plan.config, model::read_drafter_config(checkpoint));
  ThreadPool pool(threads_or_all(options.threads));
  const Context ctx{.kernels = table,
                    .pool = &pool,
                    .arithmetic = options.exact ? Arithmetic::f32 : Arithmetic::fast,
                    .observer = nullptr};
  MemoryPlan& memory = plan.memory;
  memory.context = memory.largest_context = options.context > 0 ? options.context : plan.config.context;
  memory.held_bytes = held_memory();
  memory.available_bytes = available_memory();
  FACET_TRY(memory.bytes,
            model::Drafter::bytes_needed(checkpoint, ctx, memory.context, {.max_sequences = options.sequences}));
  return plan;
}

}  // namespace facet::engine
