#include "engine/load_gemma.h"

#include <optional>

#include "base/strings.h"
#include "engine/types_at_load.h"

namespace facet::engine {
namespace {

// What is tried to make a model fit, the largest first.
constexpr const char* kKvTypes[] = {"bf16", "int8"};
constexpr const char* kQuants[] = {"Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"};

// types: must outlive the model.
Result<model::GemmaOptions> gemma_options(const LoadOptions& options, ThreadPool& pool, const formats::TypeMap& types) {
  model::GemmaOptions gemma{.arithmetic = options.exact ? Arithmetic::f32 : Arithmetic::fast,
                            .pool = &pool,
                            .max_batch_rows = options.batch_rows,
                            .types = &types};
  FACET_TRY(gemma.kernels, table_named(options.isa));
  FACET_TRY(gemma.kv, kv_options(options));
  return gemma;
}

Result<MemoryPlan> planned(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool,
                           int64_t available_bytes, std::vector<std::string>& remarks) {
  FACET_TRY(const formats::TypeMap types, types_at_load(files, options.quant, remarks));
  FACET_TRY(const model::GemmaOptions gemma, gemma_options(options, pool, types));
  return plan_memory(files, gemma, available_bytes);
}

}  // namespace

Result<const kernels::Table*> table_named(const std::string& isa) {
  if (isa.empty()) return &kernels::best_table();
  const std::optional<kernels::Isa> named = kernels::isa_named(isa);
  if (!named)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "there is no such tier",
                 .where = "load options",
                 .expected = "scalar, avx2 or avx512",
                 .found = isa};
  const kernels::Table* table = kernels::table_of(*named);
  if (table == nullptr)
    return Error{.code = ErrorCode::unsupported,
                 .what = "this processor cannot run the tier",
                 .where = "load options",
                 .expected = cat("at most ", kernels::name(kernels::best_table().isa)),
                 .found = isa};
  return table;
}

Result<void> check_options(const LoadOptions& options) {
  const auto in_range = [](const char* what, int64_t low, int64_t high, int64_t found) -> Result<void> {
    if (found >= low && found <= high) return {};
    return Error{.code = ErrorCode::invalid_argument,
                 .what = what,
                 .where = "load options",
                 .expected = cat(low, " to ", high),
                 .found = cat(found)};
  };
  constexpr int kMaxThreads = 1024;
  constexpr int64_t kMaxContext = int64_t{1} << 24, kMaxBatchRows = 1 << 16, kMaxSequences = 4096;
  FACET_TRY_VOID(in_range("number of threads is out of range", 0, kMaxThreads, options.threads));
  FACET_TRY_VOID(in_range("context is out of range", 0, kMaxContext, options.context));
  FACET_TRY_VOID(in_range("rows of a batch are out of range", 1, kMaxBatchRows, options.batch_rows));
  FACET_TRY_VOID(in_range("number of sequences is out of range", 1, kMaxSequences, options.sequences));
  FACET_TRY_VOID(table_named(options.isa));
  FACET_TRY_VOID(kv_options(options));
  return {};
}

Result<MemoryPlan> plan_gemma(const ModelFiles& files, const LoadOptions& options, std::vector<std::string>& remarks) {
  FACET_TRY_VOID(check_options(options));
  ThreadPool pool(threads_or_all(options.threads));
  return planned(files, options, pool, available_memory(), remarks);
}

std::vector<std::string> what_would_fit(const ModelFiles& files, const LoadOptions& options, const MemoryPlan& plan) {
  ThreadPool pool(threads_or_all(options.threads));
  std::vector<std::string> advice;
  const auto fits = [&](const LoadOptions& changed) -> std::optional<MemoryPlan> {
    std::vector<std::string> remarks;
    const Result<MemoryPlan> made = planned(files, changed, pool, plan.available_bytes, remarks);
    return made.ok() && made->fits() ? std::optional(*made) : std::nullopt;
  };
  if (plan.largest_context > 0) advice.push_back(cat("-c ", plan.largest_context));
  LoadOptions changed = options;
  for (const char* type : kKvTypes) {
    changed.kv_type = type;
    if (!fits(changed)) continue;
    advice.push_back(cat("--kv ", type));
    break;
  }
  changed = options;
  for (const char* type : kQuants) {
    changed.quant = type;
    if (!fits(changed)) continue;
    advice.push_back(cat("--quant ", type));
    break;
  }
  if (!advice.empty() || options.context == 0) return advice;
  changed.context = 0;
  for (const char* type : kQuants) {
    changed.quant = type;
    const std::optional<MemoryPlan> made = fits(changed);
    if (!made) continue;
    advice.push_back(cat("--quant ", type, " -c ", made->context));
    break;
  }
  return advice;
}

Result<LoadedGemma> load_gemma(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool) {
  FACET_TRY_VOID(table_named(options.isa));
  FACET_TRY(PackedWeights packed, PackedWeights::open(files, options));
  return load_gemma(files, options, pool, std::move(packed));
}

Result<LoadedGemma> load_gemma(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool,
                               PackedWeights packed) {
  LoadedGemma loaded{.packed = std::move(packed), .model = nullptr, .plan = {}};
  FACET_TRY(model::GemmaOptions gemma, gemma_options(options, pool, loaded.packed.types()));
  FACET_TRY(loaded.plan, plan_memory(files, gemma, available_memory()));
  if (!loaded.plan.fits()) return does_not_fit(loaded.plan, files.path, what_would_fit(files, options, loaded.plan));
  gemma.kv.context = loaded.plan.context;
  gemma.pack = loaded.packed.file();
  CallbackProgress progress(options.progress);
  gemma.progress = &progress;
  FACET_TRY(loaded.model, model::Gemma::load(*files.checkpoint, files.config, gemma));
  FACET_TRY_VOID(loaded.packed.keep(files, loaded.model->store(), progress));
  loaded.isa = kernels::name(gemma.kernels->isa);
  return loaded;
}

}  // namespace facet::engine
