// The bytes of a key/value cache: blocks of 64 positions. Who uses which block is model/kv_cache's business.
//
// Two pools, one for sliding and one for full layers; a block id of a pool indexes the slab of every storing layer of
// that kind. A block is zeroed when taken, since 0 × NaN is NaN. Memory untouched so far costs nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/context.h"
#include "tensor/buffer.h"

namespace facet {

using BlockId = int32_t;  // -1: none (released front)

enum class KvPool : uint8_t { sliding, full };

// One storing layer.
struct KvLayerShape {
  KvPool pool;
  int32_t kv_heads, head_dim;
  DType k, v;  // f32, f16, bf16 or i8 (codes and scales)
};

namespace ops {
struct KvAccess;

class KvBlocks {
 public:
  // layers: storing layers in order; capacities in blocks. Errors: exhausted, unsupported (a storage type).
  static Result<KvBlocks> create(const kernels::Table& kernels, std::span<const KvLayerShape> layers,
                                 int64_t sliding_blocks, int64_t full_blocks);

  int64_t capacity(KvPool pool) const { return pool == KvPool::sliding ? sliding_blocks_ : full_blocks_; }
  // Bytes of one block of one layer. Requires types that can be stored.
  static int64_t block_bytes(const KvLayerShape& shape);
  // Bytes of one block over all layers of the pool.
  int64_t block_bytes(KvPool pool) const;
  int n_layers() const { return static_cast<int>(layers_.size()); }

  void zero(KvPool pool, BlockId block);
  // The values of positions first…63 alone; keys nobody sees are masked whatever they are.
  void zero_values(KvPool pool, BlockId block, int first);
  void copy(KvPool pool, BlockId to, BlockId from);
  // All layers of one block, as bytes, for saving; and back. Sizes are block_bytes(pool).
  void save(KvPool pool, BlockId block, std::span<std::byte> out) const;
  void restore(KvPool pool, BlockId block, std::span<const std::byte> in);
  // Fills a block with quiet NaN (keys) and the largest finite value (values): tests prove that nobody reads it.
  void poison(KvPool pool, BlockId block);
  // The same for positions first…63 of a block only.
  void poison_tail(KvPool pool, BlockId block, int first);

 private:
  friend struct KvAccess;
  struct Layer {
    KvLayerShape shape;
    const kernels::KvType* k;
    const kernels::KvType* v;
    int64_t k_head_bytes, v_head_bytes;  // one head, one block
    int64_t block_bytes;
    Buffer slab;  // [block][K heads, then V heads]
  };
  std::vector<Layer> layers_;
  int64_t sliding_blocks_ = 0, full_blocks_ = 0;
};

}  // namespace ops

// Where the keys and values of one sequence's new rows go in one layer. blocks[i] holds positions 64 i … 64 i + 63.
struct KvWriter {
  ops::KvBlocks* blocks = nullptr;
  int layer = 0;  // index among storing layers
  std::span<const BlockId> table;
  int64_t first_position = 0;  // position of the first new row
};

// What a layer may read of one sequence: positions below `end` whose block is not -1.
struct KvView {
  const ops::KvBlocks* blocks = nullptr;
  int layer = 0;
  std::span<const BlockId> table;
  int64_t end = 0;
};

}  // namespace facet
