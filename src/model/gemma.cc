#include "model/gemma.h"

#include <utility>

#include "base/strings.h"

namespace facet::model {

ModelBytes bytes_of(const formats::WeightStore& store, const TextModel& text) {
  return {.weights = store.packed_bytes() + store.vector_bytes(),
          .tables = store.table_bytes(),
          .scratch = text.scratch_bytes() - text.logit_bytes(),
          .logits = text.logit_bytes()};
}

Result<Gemma::Parts> Gemma::load_parts(const formats::Checkpoint& checkpoint, const Config& config,
                                       const GemmaOptions& options, formats::Packing packing) {
  FACET_CHECK(options.pool != nullptr);
  const Context ctx{.kernels = options.kernels != nullptr ? options.kernels : &kernels::best_table(),
                    .pool = options.pool,
                    .arithmetic = options.arithmetic,
                    .observer = nullptr};
  KvOptions kv = options.kv;
  if (kv.context == 0) kv.context = config.context;
  kv.max_chunk = options.max_batch_rows;

  const Plan plan = make_plan(config);
  formats::WeightStore store(checkpoint, *ctx.kernels, *ctx.pool, options.types, packing, options.pack);
  Progress* const progress = packing == formats::Packing::done ? options.progress : nullptr;
  FACET_TRY(Weights weights, load_weights(checkpoint, config, plan, store, progress));
  FACET_TRY(TextModel text,
            TextModel::create(ctx, config, plan, std::move(weights), options.max_batch_rows, kv.context));
  return Parts{.ctx = ctx, .kv = kv, .store = std::move(store), .text = std::move(text)};
}

Result<std::unique_ptr<Gemma>> Gemma::load(const formats::Checkpoint& checkpoint, const Config& config,
                                           const GemmaOptions& options) {
  FACET_TRY(Parts parts, load_parts(checkpoint, config, options, formats::Packing::done));
  FACET_TRY(KvCache cache, KvCache::create(*parts.ctx.kernels, config, parts.kv));
  return std::unique_ptr<Gemma>(new Gemma(std::move(parts), std::move(cache)));  // private constructor
}

Result<ModelBytes> Gemma::bytes_needed(const formats::Checkpoint& checkpoint, const Config& config,
                                       const GemmaOptions& options) {
  FACET_TRY(const Parts parts, load_parts(checkpoint, config, options, formats::Packing::counted));
  ModelBytes bytes = bytes_of(parts.store, parts.text);
  bytes.kv_sliding = KvCache::bytes_needed(config, parts.kv, KvPool::sliding);
  bytes.kv_full = KvCache::bytes_needed(config, parts.kv, KvPool::full);
  return bytes;
}

LanguageModel::Limits Gemma::limits() const {
  return {.vocab_size = text_.config().vocab_size,
          .context = cache_.options().context,
          .width = text_.config().width,
          .max_batch_rows = text_.max_rows()};
}

Result<void> Gemma::forward(const Batch& batch, ResultSink& sink) {
  for (const SeqRange& range : batch.sequences) {
    std::vector<std::pair<int32_t, int32_t>> spans;  // empty, hence free, for text
    for (const RowSpan& span : batch.bidirectional) {
      if (span.first_row < range.first_row || span.first_row + span.rows > range.first_row + range.rows) continue;
      const int32_t first = static_cast<int32_t>(cache_.length(range.sequence)) + span.first_row - range.first_row;
      spans.emplace_back(first, first + span.rows);
    }
    FACET_TRY_VOID(cache_.reserve(range.sequence, range.rows, spans));
  }
  FACET_TRY_VOID(text_.forward(ctx_, batch, cache_, sink));
  for (const SeqRange& range : batch.sequences) cache_.advance(range.sequence, range.rows);
  return {};
}

}  // namespace facet::model
