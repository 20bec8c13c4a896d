// Where the bytes of a head stand in a block of a cache. Private to ops/.
#pragma once

#include "ops/kv_blocks.h"

namespace facet::ops {

struct KvAccess {
  static const KvBlocks::Layer& layer(const KvBlocks& blocks, int i) { return blocks.layers_[static_cast<size_t>(i)]; }
  static KvBlocks::Layer& layer(KvBlocks& blocks, int i) { return blocks.layers_[static_cast<size_t>(i)]; }

  static const std::byte* k(const KvBlocks& blocks, int i, BlockId block, int64_t head) {
    const KvBlocks::Layer& l = layer(blocks, i);
    return l.slab.data() + block * l.block_bytes + head * l.k_head_bytes;
  }
  static const std::byte* v(const KvBlocks& blocks, int i, BlockId block, int64_t head) {
    const KvBlocks::Layer& l = layer(blocks, i);
    return l.slab.data() + block * l.block_bytes + l.shape.kv_heads * l.k_head_bytes + head * l.v_head_bytes;
  }
  static std::byte* k(KvBlocks& blocks, int i, BlockId block, int64_t head) {
    return const_cast<std::byte*>(k(std::as_const(blocks), i, block, head));
  }
  static std::byte* v(KvBlocks& blocks, int i, BlockId block, int64_t head) {
    return const_cast<std::byte*>(v(std::as_const(blocks), i, block, head));
  }
  static const kernels::KvType& k_type(const KvBlocks& blocks, int i) { return *layer(blocks, i).k; }
  static const kernels::KvType& v_type(const KvBlocks& blocks, int i) { return *layer(blocks, i).v; }
  static int64_t kv_heads(const KvBlocks& blocks, int i) { return layer(blocks, i).shape.kv_heads; }
  static int64_t head_dim(const KvBlocks& blocks, int i) { return layer(blocks, i).shape.head_dim; }
};

}  // namespace facet::ops
