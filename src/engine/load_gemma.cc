#include "engine/load_gemma.h"

#include "base/strings.h"
#include "engine/types_at_load.h"

namespace facet::engine {
namespace {

// Hands the loader's progress to the caller's function.
class CallbackProgress : public Progress {
 public:
  explicit CallbackProgress(const ProgressCallback& callback) : callback_(callback) {}
  bool update(std::string_view phase, int64_t done, int64_t total) override {
    return !callback_ || callback_(phase, done, total);
  }

 private:
  const ProgressCallback& callback_;
};

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

Result<LoadedGemma> load_gemma(const ModelFiles& files, const LoadOptions& options, ThreadPool& pool) {
  FACET_TRY(const kernels::Table* table, table_named(options.isa));
  model::GemmaOptions gemma{.arithmetic = options.exact ? Arithmetic::f32 : Arithmetic::fast,
                            .kernels = table,
                            .pool = &pool,
                            .max_batch_rows = options.batch_rows};
  FACET_TRY(gemma.kv, kv_options(options));
  LoadedGemma loaded;
  FACET_TRY(const formats::TypeMap types, types_at_load(files, options.quant, loaded.remarks));
  gemma.types = &types;
  FACET_TRY(loaded.plan, plan_memory(files, gemma.kv, options.batch_rows, available_memory(), types));
  gemma.kv.context = loaded.plan.context;
  CallbackProgress progress(options.progress);
  gemma.progress = &progress;
  FACET_TRY(loaded.model, model::Gemma::load(*files.checkpoint, files.config, gemma));
  loaded.isa = kernels::name(table->isa);
  return loaded;
}

}  // namespace facet::engine
