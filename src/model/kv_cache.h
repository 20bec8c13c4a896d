// KvCache: which block holds which positions of which sequence. Tables only; the bytes belong to ops::KvBlocks.
//
// A sequence has two tables, sliding and full. Block i of a table holds positions 64 i … 64 i + 63 at every storing
// layer of that kind. A block with more than one reference is never written: the writer copies it first. Sliding blocks
// whose keys nobody can need again are released only by commit(), never inside a forward pass: shared layers still read
// them, and drafted rows may be taken back. docs/kv-cache.md tells the whole.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/file.h"
#include "model/config.h"
#include "ops/batch.h"
#include "ops/kv_blocks.h"

namespace facet::model {

struct KvOptions {
  DType sliding_k = DType::bf16, sliding_v = DType::bf16;
  DType full_k = DType::bf16, full_v = DType::bf16;
  int64_t context = 0;      // positions a sequence may reach
  int64_t max_chunk = 512;  // rows of one forward call, at most
  int sequences = 1;        // how many full-length sequences memory is taken for (forks share blocks)
  // Positions that a fork beside each sequence may still be cut back by (see fork()); -1: memory for no forks. The fork
  // keeps the window in front of its end while the sequence moves on.
  int64_t fork_rewind = -1;
};

// Receives or gives the bytes of a saved sequence in order.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<void> write(Bytes bytes) = 0;
};
class ByteReader {
 public:
  virtual ~ByteReader() = default;
  virtual Result<void> read(std::span<std::byte> out) = 0;
};

class KvCache {
 public:
  static Result<KvCache> create(const kernels::Table& kernels, const Config& config, const KvOptions& options);
  // Bytes that create() would take when every block is in use: of one pool, of both.
  static int64_t bytes_needed(const Config& config, const KvOptions& options, KvPool pool);
  static int64_t bytes_needed(const Config& config, const KvOptions& options);

  KvCache(KvCache&&) noexcept;
  ~KvCache();

  Result<SeqId> create_sequence();
  // A new sequence with the first `length` positions of another, sharing its blocks. length must be resumable
  // (resumable(id, length)). Errors: exhausted, invalid_argument.
  Result<SeqId> fork(SeqId id, int64_t length);
  void release(SeqId id);

  int64_t length(SeqId id) const;
  // Makes room for `rows` positions behind length(id): takes and zeroes blocks, copies shared ones. After it, a forward
  // pass of those rows cannot run out. spans: absolute position ranges that may not be resumed inside (image spans).
  // Errors: exhausted; the sequence is unchanged then.
  Result<void> reserve(SeqId id, int64_t rows, std::span<const std::pair<int32_t, int32_t>> spans = {});
  // The rows reserved last have been stored: length grows. (forward() calls it.)
  void advance(SeqId id, int64_t rows);
  // Positions below `length` are final: nobody will take them back, and sliding blocks in front of the window are
  // freed. (A later truncate below goes to 0 if it would need one of those.)
  void commit(SeqId id, int64_t length);
  // Whether a sequence may continue at `length` with every key its layers need.
  bool resumable(SeqId id, int64_t length) const;
  // Shortens to the largest resumable length <= asked (0 if there is none) and returns it.
  int64_t truncate(SeqId id, int64_t length);

  KvWriter writer(int layer, SeqId id);                 // a storing layer's number in the model
  KvView view(int layer, SeqId id, int64_t end) const;  // of the layer, or of its donor

  // Streams everything needed to continue; restore makes a new sequence. A saved sequence fits only the same shape,
  // storage types and tier: a header says so. Errors: corrupt, unsupported, exhausted, io.
  Result<void> save(SeqId id, ByteSink& out) const;
  Result<SeqId> restore(ByteReader& in);

  int64_t free_blocks(KvPool pool) const;
  const KvOptions& options() const;

  // Tests: fills all free blocks and every position outside the live view with NaN keys and huge values.
  void poison_unused();

 private:
  struct State;
  explicit KvCache(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace facet::model
