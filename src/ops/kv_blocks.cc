#include "ops/kv_blocks.h"

#include <cstring>
#include <limits>
#include <utility>

#include "base/strings.h"
#include "kernels/kv_layout.h"
#include "ops/kv_access.h"

namespace facet::ops {

Result<KvBlocks> KvBlocks::create(const kernels::Table& kernels, std::span<const KvLayerShape> layers,
                                  int64_t sliding_blocks, int64_t full_blocks) {
  KvBlocks blocks;
  blocks.sliding_blocks_ = sliding_blocks;
  blocks.full_blocks_ = full_blocks;
  for (const KvLayerShape& shape : layers) {
    Layer& layer = blocks.layers_.emplace_back();
    layer.shape = shape;
    layer.k = kernels.kv(shape.k);
    layer.v = kernels.kv(shape.v);
    if (layer.k == nullptr || layer.v == nullptr)
      return Error{.code = ErrorCode::unsupported,
                   .what = "keys and values cannot be stored in this type",
                   .where = "cache",
                   .expected = "F32, F16, BF16 or int8",
                   .found = cat(name(shape.k), " and ", name(shape.v))};
    layer.k_head_bytes = layer.k->block_bytes(shape.head_dim);
    layer.v_head_bytes = layer.v->block_bytes(shape.head_dim);
    layer.block_bytes = block_bytes(shape);
    FACET_TRY(layer.slab, Buffer::allocate(blocks.capacity(shape.pool) * layer.block_bytes));
  }
  return blocks;
}

int64_t KvBlocks::block_bytes(const KvLayerShape& shape) {
  return shape.kv_heads *
         (kernels::kv_block_bytes(shape.k, shape.head_dim) + kernels::kv_block_bytes(shape.v, shape.head_dim));
}

int64_t KvBlocks::block_bytes(KvPool pool) const {
  int64_t bytes = 0;
  for (const Layer& layer : layers_)
    if (layer.shape.pool == pool) bytes += layer.block_bytes;
  return bytes;
}

void KvBlocks::zero(KvPool pool, BlockId block) {
  for (Layer& layer : layers_)
    if (layer.shape.pool == pool)
      std::memset(layer.slab.data() + block * layer.block_bytes, 0, static_cast<size_t>(layer.block_bytes));
}

void KvBlocks::zero_values(KvPool pool, BlockId block, int first) {
  for (int i = 0; i < n_layers(); ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    if (layer.shape.pool != pool) continue;
    for (int64_t head = 0; head < layer.shape.kv_heads; ++head)
      layer.v->zero_v(KvAccess::v(*this, i, block, head), first, layer.shape.head_dim);
  }
}

void KvBlocks::copy(KvPool pool, BlockId to, BlockId from) {
  for (Layer& layer : layers_)
    if (layer.shape.pool == pool)
      std::memcpy(layer.slab.data() + to * layer.block_bytes, layer.slab.data() + from * layer.block_bytes,
                  static_cast<size_t>(layer.block_bytes));
}

void KvBlocks::save(KvPool pool, BlockId block, std::span<std::byte> out) const {
  FACET_CHECK(static_cast<int64_t>(out.size()) == block_bytes(pool));
  std::byte* to = out.data();
  for (const Layer& layer : layers_) {
    if (layer.shape.pool != pool) continue;
    std::memcpy(to, layer.slab.data() + block * layer.block_bytes, static_cast<size_t>(layer.block_bytes));
    to += layer.block_bytes;
  }
}

void KvBlocks::restore(KvPool pool, BlockId block, std::span<const std::byte> in) {
  FACET_CHECK(static_cast<int64_t>(in.size()) == block_bytes(pool));
  const std::byte* from = in.data();
  for (Layer& layer : layers_) {
    if (layer.shape.pool != pool) continue;
    std::memcpy(layer.slab.data() + block * layer.block_bytes, from, static_cast<size_t>(layer.block_bytes));
    from += layer.block_bytes;
  }
}

void KvBlocks::poison(KvPool pool, BlockId block) { poison_tail(pool, block, 0); }

void KvBlocks::poison_tail(KvPool pool, BlockId block, int first) {
  for (int i = 0; i < n_layers(); ++i) {
    const KvLayerShape& shape = KvAccess::layer(*this, i).shape;
    if (shape.pool != pool) continue;
    const size_t width = static_cast<size_t>(shape.head_dim);
    const float largest = shape.v == DType::f16 ? 65504.0f : 0x1.FEp127f;  // finite in every storage type
    const std::vector<float> nan(width, std::numeric_limits<float>::quiet_NaN()), huge(width, largest);
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      for (int position = first; position < kernels::kKvBlockKeys; ++position) {
        KvAccess::k_type(*this, i).store_k(KvAccess::k(*this, i, block, head), position, nan.data(), shape.head_dim);
        KvAccess::v_type(*this, i).store_v(KvAccess::v(*this, i, block, head), position, huge.data(), shape.head_dim);
      }
    }
  }
}

}  // namespace facet::ops
