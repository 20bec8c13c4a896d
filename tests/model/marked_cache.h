// A cache whose keys and values are recognisable numbers, for tests of its tables.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "model/kv_cache.h"
#include "ops/attention.h"
#include "ops/kv_access.h"
#include "support/expect.h"

namespace facet::model {

// Sliding and full, each storing once and shared once: layers 2 and 3 read 0 and 1.
inline Config marked_config(int64_t window) {
  Config config;
  config.heads = 2;
  config.window = window;
  config.layers = {{.full = false, .head_dim = 2, .kv_heads = 1, .donor = 0},
                   {.full = true, .head_dim = 4, .kv_heads = 2, .donor = 1},
                   {.full = false, .head_dim = 2, .kv_heads = 1, .shares_kv = true, .donor = 0},
                   {.full = true, .head_dim = 4, .kv_heads = 2, .shares_kv = true, .donor = 1}};
  return config;
}

inline KvOptions marked_options(int64_t context, int64_t chunk, int sequences, DType type = DType::f32) {
  return {.sliding_k = type,
          .sliding_v = type,
          .full_k = type,
          .full_v = type,
          .context = context,
          .max_chunk = chunk,
          .sequences = sequences};
}

class MarkedCache {
 public:
  MarkedCache(int64_t window, const KvOptions& options, const kernels::Table& kernels = kernels::usable_tables()[0])
      : pool_(1), context_{.kernels = &kernels, .pool = &pool_}, config_(marked_config(window)) {
    Result<KvCache> made = KvCache::create(kernels, config_, options);
    FACET_CHECK(made.ok());
    cache_.emplace_back(std::move(*made));
    for (const KvPool pool : {KvPool::sliding, KvPool::full}) capacity_.push_back(cache().free_blocks(pool));
    std::vector<KvLayerShape> shapes;
    for (const int layer : {0, 1}) {
      const LayerConfig& l = config_.layers[static_cast<size_t>(layer)];
      shapes.push_back({.pool = layer == 0 ? KvPool::sliding : KvPool::full,
                        .kv_heads = static_cast<int32_t>(l.kv_heads),
                        .head_dim = static_cast<int32_t>(l.head_dim),
                        .k = layer == 0 ? options.sliding_k : options.full_k,
                        .v = layer == 0 ? options.sliding_v : options.full_v});
      is_int8_ |= shapes.back().k == DType::i8;
    }
    Result<ops::KvBlocks> beside = ops::KvBlocks::create(kernels, shapes, 1, 1);
    FACET_CHECK(beside.ok());
    beside_ = *std::move(beside);
  }

  KvCache& cache() { return cache_.front(); }
  const Config& config() const { return config_; }
  int64_t capacity(KvPool pool) const { return capacity_[static_cast<size_t>(pool)]; }
  int64_t used(KvPool pool) { return capacity(pool) - cache().free_blocks(pool); }

  // A sequence that must be possible to make.
  SeqId make() {
    const Result<SeqId> id = cache().create_sequence();
    FACET_CHECK(id.ok());
    return *id;
  }

  // Stores one position for each mark. Marks are whole numbers below 251, which every float type holds exactly.
  Result<void> append(SeqId id, std::span<const int> marks, std::span<const std::pair<int32_t, int32_t>> spans = {}) {
    FACET_TRY_VOID(write(id, marks, spans));
    cache().advance(id, static_cast<int64_t>(marks.size()));
    return {};
  }
  // What a pass leaves behind that fails after it has written them.
  Result<void> write(SeqId id, std::span<const int> marks, std::span<const std::pair<int32_t, int32_t>> spans = {}) {
    const int64_t rows = static_cast<int64_t>(marks.size());
    FACET_TRY_VOID(cache().reserve(id, rows, spans));
    for (const int layer : {0, 1}) write(cache().writer(layer, id), layer, marks);
    return {};
  }
  void write(const KvWriter& writer, int layer, std::span<const int> marks) {
    const int64_t width = this->width(layer), rows = static_cast<int64_t>(marks.size());
    std::vector<float> k, v;
    for (const int mark : marks) {
      for (int64_t i = 0; i < width; ++i) k.push_back(key(layer, mark, i));
      for (int64_t i = 0; i < width; ++i) v.push_back(-key(layer, mark, i));
    }
    ops::write_kv(context_, writer, Mat<const float>(k.data(), rows, width), Mat<const float>(v.data(), rows, width));
  }
  Result<void> append(SeqId id, int rows, int first_mark = 0) {
    std::vector<int> marks;
    for (int i = 0; i < rows; ++i) marks.push_back((first_mark + i) % 251);
    return append(id, marks);
  }

  // Whether layer `layer` shows this mark at a position, in keys and values of every head.
  bool shows(SeqId id, int layer, int64_t position, int mark) {
    const auto [k, v] = load(id, layer, position);
    const auto [expected_k, expected_v] = as_stored(layer % 2, mark);
    return !k.empty() && k == expected_k && v == expected_v;
  }
  // Whether the values at a position of a block that the sequence has are zero.
  bool valueless(SeqId id, int layer, int64_t position) {
    const std::vector<float> v = load(id, layer, position).second;
    return !v.empty() && std::ranges::all_of(v, [](float x) { return x == 0; });
  }
  // Whether a position of a block that the sequence has holds what poison_unused() leaves.
  bool poisoned(SeqId id, int layer, int64_t position) {
    const auto [k, v] = load(id, layer, position);
    for (size_t i = 0; i < k.size(); ++i)
      if (!std::isnan(k[i]) || !(v[i] > 60000.0f && std::isfinite(v[i]))) return false;
    return !k.empty();
  }

  // Distinct blocks in the tables of these sequences.
  int64_t blocks_of(std::span<const SeqId> ids, KvPool pool) {
    std::set<BlockId> blocks;
    for (const SeqId id : ids)
      for (const BlockId block : table(id, pool))
        if (block >= 0) blocks.insert(block);
    return static_cast<int64_t>(blocks.size());
  }
  std::vector<BlockId> table(SeqId id, KvPool pool) {
    const std::span<const BlockId> table = cache().view(pool == KvPool::full ? 1 : 0, id, 0).table;
    return {table.begin(), table.end()};
  }

 private:
  static float key(int layer, int mark, int64_t i) { return static_cast<float>((mark + 7 * layer + i) % 251); }
  int64_t width(int layer) const {
    const LayerConfig& l = config_.layers[static_cast<size_t>(layer)];
    return l.kv_heads * l.head_dim;
  }

  using Rows = std::pair<std::vector<float>, std::vector<float>>;  // keys and values, all heads of one position

  // What a mark looks like in the cache: itself, but in int8, where a block beside the cache tells.
  const Rows& as_stored(int layer, int mark) {
    const auto [found, is_new] = stored_.try_emplace({layer, mark});
    Rows& rows = found->second;
    if (is_new) {
      static constexpr BlockId kBlock = 0;
      write({.blocks = &beside_, .layer = layer, .table = {&kBlock, 1}}, layer, {&mark, 1});
      rows = load({.blocks = &beside_, .layer = layer, .table = {&kBlock, 1}}, layer, 0);
      for (size_t i = 0; i < rows.first.size() && !is_int8_; ++i) {
        FACET_CHECK(rows.first[i] == key(layer, mark, static_cast<int64_t>(i)) && rows.second[i] == -rows.first[i]);
      }
    }
    return rows;
  }

  Rows load(SeqId id, int layer, int64_t position) { return load(cache().view(layer, id, 0), layer, position); }
  // Empty where there is no block.
  Rows load(const KvView& view, int layer, int64_t position) {
    const size_t index = static_cast<size_t>(position / kernels::kKvBlockKeys);
    if (index >= view.table.size() || view.table[index] < 0) return {};
    const LayerConfig& l = config_.layers[static_cast<size_t>(layer)];
    const int inside = static_cast<int>(position % kernels::kKvBlockKeys);
    std::vector<float> k(static_cast<size_t>(width(layer))), v(k.size());
    for (int64_t head = 0; head < l.kv_heads; ++head) {
      using Access = ops::KvAccess;
      const BlockId block = view.table[index];
      Access::k_type(*view.blocks, view.layer)
          .load_k(k.data() + head * l.head_dim, Access::k(*view.blocks, view.layer, block, head), inside, l.head_dim);
      Access::v_type(*view.blocks, view.layer)
          .load_v(v.data() + head * l.head_dim, Access::v(*view.blocks, view.layer, block, head), inside, l.head_dim);
    }
    return {k, v};
  }

  ThreadPool pool_;
  Context context_;
  Config config_;
  std::vector<KvCache> cache_;  // one, which has no default
  std::vector<int64_t> capacity_;
  bool is_int8_ = false;
  ops::KvBlocks beside_;
  std::map<std::pair<int, int>, Rows> stored_;  // by layer and mark
};

}  // namespace facet::model
