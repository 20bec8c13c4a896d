// LanguageModel: the one interface that the runtime knows. Two implementations: a Gemma decoder with its cache
// (model/gemma.h) and a scripted puppet (model/puppet.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "model/kv_cache.h"
#include "ops/batch.h"

namespace facet::model {

class LanguageModel {
 public:
  struct Limits {
    int64_t vocab_size;
    int64_t context;  // positions a sequence may reach
    int64_t width;    // of hidden states; 0: none offered
    int64_t max_batch_rows;
  };

  virtual ~LanguageModel() = default;
  virtual Limits limits() const = 0;

  // Sequences; see KvCache.
  virtual Result<SeqId> create_sequence() = 0;
  virtual Result<SeqId> fork(SeqId id, int64_t length) = 0;
  virtual void release(SeqId id) = 0;
  virtual int64_t length(SeqId id) const = 0;
  virtual int64_t truncate(SeqId id, int64_t length) = 0;
  virtual void commit(SeqId id, int64_t length) = 0;
  virtual Result<void> save(SeqId id, ByteSink& out) const = 0;
  virtual Result<SeqId> restore(ByteReader& in) = 0;

  // A hint: rows of these tokens will run soon, so what is read from the file for them may be fetched meanwhile. Tokens
  // outside the vocabulary mean nothing.
  virtual void prefetch(std::span<const Token> /*tokens*/) {}

  // Runs the rows of the batch and gives the sink what they ask for. Reserves cache room itself and advances the
  // lengths; on an Error no length has changed. One thread at a time.
  virtual Result<void> forward(const Batch& batch, ResultSink& sink) = 0;
};

}  // namespace facet::model
