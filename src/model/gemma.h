// Gemma: a decoder with its weights, its cache and its context: the real LanguageModel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "formats/weight_store.h"
#include "model/language_model.h"
#include "model/text.h"

namespace facet::model {

struct GemmaOptions {
  Arithmetic arithmetic = Arithmetic::fast;
  const kernels::Table* kernels = nullptr;  // nullptr: the best this processor can run
  ThreadPool* pool = nullptr;               // must outlive the model
  KvOptions kv = {};                        // context 0: the model's own; max_chunk follows max_batch_rows
  int64_t max_batch_rows = 512;
  const formats::TypeMap* types = nullptr;                  // what tensors become; as long as the model
  std::shared_ptr<const formats::PackFile> pack = nullptr;  // weights that are packed already (WeightStore)
  Progress* progress = nullptr;                             // while loading
};

// What a model takes, in bytes, when all of it is in use.
struct ModelBytes {
  int64_t weights = 0;  // matrices and vectors
  int64_t tables = 0;   // rows are read in place in the file: the kernel may drop their pages at any time
  int64_t kv_sliding = 0, kv_full = 0;
  int64_t scratch = 0, logits = 0;  // of a pass
};

// Of the bytes, those that a store and a pass take.
ModelBytes bytes_of(const formats::WeightStore& store, const TextModel& text);

class Gemma : public LanguageModel {
 public:
  // checkpoint must outlive the model. Errors: those of load_weights, exhausted.
  static Result<std::unique_ptr<Gemma>> load(const formats::Checkpoint& checkpoint, const Config& config,
                                             const GemmaOptions& options);
  // What load() would take, found by the same steps without reading a tensor. Errors: those of load().
  static Result<ModelBytes> bytes_needed(const formats::Checkpoint& checkpoint, const Config& config,
                                         const GemmaOptions& options);

  Limits limits() const override;
  Result<SeqId> create_sequence() override { return cache_.create_sequence(); }
  Result<SeqId> fork(SeqId id, int64_t length) override { return cache_.fork(id, length); }
  void release(SeqId id) override { cache_.release(id); }
  int64_t length(SeqId id) const override { return cache_.length(id); }
  int64_t truncate(SeqId id, int64_t length) override { return cache_.truncate(id, length); }
  void commit(SeqId id, int64_t length) override { cache_.commit(id, length); }
  Result<void> save(SeqId id, ByteSink& out) const override { return cache_.save(id, out); }
  Result<SeqId> restore(ByteReader& in) override { return cache_.restore(in); }
  void prefetch(std::span<const Token> tokens) override { text_.prefetch(tokens); }
  Result<void> forward(const Batch& batch, ResultSink& sink) override;

  TextModel& text() { return text_; }
  const TextModel& text() const { return text_; }
  KvCache& cache() { return cache_; }
  const KvCache& cache() const { return cache_; }
  const Context& context() const { return ctx_; }
  void set_observer(ops::Observer* observer) { ctx_.observer = observer; }
  // What was odd about the file but tolerated.
  std::span<const std::string> remarks() const { return text_.weights().remarks; }
  // Bytes of matrices; of vectors, too.
  int64_t packed_bytes() const { return store_.packed_bytes(); }
  int64_t weight_bytes() const { return store_.packed_bytes() + store_.vector_bytes(); }
  const formats::WeightStore& store() const { return store_; }

 private:
  // All but the cache.
  struct Parts {
    Context ctx;
    KvOptions kv;
    formats::WeightStore store;
    TextModel text;
  };
  static Result<Parts> load_parts(const formats::Checkpoint& checkpoint, const Config& config,
                                  const GemmaOptions& options, formats::Packing packing);
  Gemma(Parts parts, KvCache cache)
      : ctx_(parts.ctx), store_(std::move(parts.store)), text_(std::move(parts.text)), cache_(std::move(cache)) {}

  Context ctx_;
  formats::WeightStore store_;
  TextModel text_;
  KvCache cache_;
};

}  // namespace facet::model
