// Attention over cached keys (docs/attention.md). Work is cut into units: a tile of rows of one sequence, one KV head,
// up to 32 of its query heads. A unit walks the absolute groups of 512 keys that its rows see; each group starts its
// own online softmax and is folded into the ones before it, so that it makes no difference who computes a group. When
// units are few, as in decoding, groups become units of their own and are folded afterwards, in the same order.
#include "ops/attention.h"

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/kv_layout.h"
#include "ops/access.h"
#include "ops/kv_access.h"

namespace facet::ops {
namespace {

using kernels::kKvBlockKeys;
using kernels::kKvGroupKeys;
using kernels::SoftmaxState;

constexpr int64_t kTileQueries = 32;  // query heads times rows of a unit
constexpr int64_t kSplitUnits = 16;   // with fewer units than this, groups are split
constexpr int64_t kRoundGroups = 32;  // groups computed before they are folded
constexpr int64_t kGroupBlocks = kKvGroupKeys / kKvBlockKeys;
constexpr int64_t kHeadDimMax = 4096;  // as configurations are read (model/config_fields.h)
constexpr SoftmaxState kEmpty{.max = -std::numeric_limits<float>::infinity(), .sum = 0};

// Memory of one running softmax over a tile: states, then weighted values.
int64_t partial_floats(int64_t head_dim) { return kTileQueries * (2 + kernels::padded_head(head_dim)); }
// A tile's queries and scores; queries again, in bf16 or coded; scores again, as probabilities in bf16.
int64_t tile_floats(int64_t head_dim) {
  const int64_t formed = kernels::coded_query_bytes(head_dim) / static_cast<int64_t>(sizeof(float));
  return kTileQueries * (kernels::padded_head(head_dim) + kKvBlockKeys + formed + kKvBlockKeys / 2);
}
// Memory of a thread: a tile and two partials.
int64_t thread_floats(int64_t head_dim) { return tile_floats(head_dim) + 2 * partial_floats(head_dim); }

struct TileMemory {
  TileMemory(float* memory, int64_t head_dim)
      : q(memory),
        scores(q + kTileQueries * kernels::padded_head(head_dim)),
        q_bf16(static_cast<uint16_t*>(static_cast<void*>(scores + kTileQueries * kKvBlockKeys))),
        q_coded(static_cast<std::byte*>(static_cast<void*>(q_bf16))),
        p_bf16(
            static_cast<uint16_t*>(static_cast<void*>(q_coded + kTileQueries * kernels::coded_query_bytes(head_dim)))),
        rest(memory + tile_floats(head_dim)) {}
  float *q, *scores;
  uint16_t* q_bf16;  // one of both: a tile meets keys of one type
  std::byte* q_coded;
  uint16_t* p_bf16;
  float* rest;
};

class Partial {
 public:
  Partial(float* memory, int64_t head_dim) : memory_(memory), stride_(kernels::padded_head(head_dim)) {}
  SoftmaxState* states() const { return static_cast<SoftmaxState*>(static_cast<void*>(memory_)); }
  float* acc() const { return memory_ + 2 * kTileQueries; }
  int64_t stride() const { return stride_; }
  void clear(int64_t queries) const {
    std::fill_n(states(), queries, kEmpty);
    std::fill_n(acc(), queries * stride_, 0.0f);
  }

 private:
  float* memory_;
  int64_t stride_;
};

// Consecutive rows of one sequence.
struct Tile {
  int32_t first_row, rows;
};

// What attend() was called with.
struct Task {
  const kernels::Table& kernels;
  Mat<float> out;
  Mat<const float> q;
  std::span<const KvView> views;
  std::span<const QueryRow> rows;
  const AttentionShape& shape;
  bool fast = false;  // bf16 queries and probabilities where the kernels multiply them
  std::span<const Tile> tiles = {};

  int64_t group_heads() const { return shape.heads / shape.kv_heads; }
  int64_t tile_heads() const { return std::min(group_heads(), kTileQueries); }
  int64_t tile_rows() const { return kTileQueries / tile_heads(); }
  int64_t head_tiles() const { return (group_heads() + tile_heads() - 1) / tile_heads(); }
  int64_t units() const { return static_cast<int64_t>(tiles.size()) * shape.kv_heads * head_tiles(); }
};

// Rows of one sequence, one KV head, some of its query heads. Units of the same KV head stand together.
class Unit {
 public:
  Unit(const Task& task, int64_t unit) : task_(task) {
    const int64_t tiles = static_cast<int64_t>(task.tiles.size()), head_tile = unit / tiles % task.head_tiles();
    const Tile& tile = task.tiles[static_cast<size_t>(unit % tiles)];
    first_row_ = tile.first_row;
    n_rows_ = tile.rows;
    kv_head_ = unit / tiles / task.head_tiles();
    first_head_ = kv_head_ * task.group_heads() + head_tile * task.tile_heads();
    n_heads_ = std::min(task.tile_heads(), (kv_head_ + 1) * task.group_heads() - first_head_);
    for (int64_t i = 0; i < n_rows_; ++i) {
      const QueryRow& row = task.rows[static_cast<size_t>(first_row_ + i)];
      begin_ = std::min(begin_, row.begin);
      end_ = std::max(end_, row.end);
    }
  }

  int64_t queries() const { return n_rows_ * n_heads_; }
  int64_t first_group() const { return begin_ / kKvGroupKeys; }
  int64_t end_group() const { return (end_ + kKvGroupKeys - 1) / kKvGroupKeys; }

  // Queries of the unit, one after the other: row by row, head by head; in the form that meets the keys.
  void gather(const TileMemory& memory) const {
    const int64_t d = task_.shape.head_dim, stride = kernels::padded_head(d);
    for (int64_t i = 0; i < queries(); ++i) {
      const float* q = query(i);
      float* const copy = memory.q + i * stride;
      if (k_type().rotates) {
        std::copy_n(q, d, copy);
        task_.kernels.hadamard(copy, d);
        q = copy;
      }
      if (keys_meet_codes())
        k_type().code_query(memory.q_coded + i * kernels::coded_query_bytes(d), q, d);
      else if (keys_meet_bf16())
        task_.kernels.round_bf16(memory.q_bf16 + i * stride, q, d);
      else if (q != copy)
        std::copy_n(q, d, copy);
    }
  }

  // The online softmax over one group of keys, from its beginning.
  void compute_group(int64_t group, const Partial& partial, const TileMemory& memory) const {
    partial.clear(queries());
    for (int64_t block = group * kGroupBlocks; block < (group + 1) * kGroupBlocks; ++block) {
      std::array<int, kTileQueries> from, to;
      visible(block, from, to);
      // Queries that see nothing of the block are left out, so that they are what they would be in another tile.
      for (int64_t first = 0, last; first < queries(); first = last) {
        const auto sees = [&](int64_t i) { return from[static_cast<size_t>(i)] < to[static_cast<size_t>(i)]; };
        for (last = first + 1; last < queries() && sees(last) == sees(first);) ++last;
        if (sees(first)) step(block, first, last - first, from.data(), to.data(), partial, memory);
      }
    }
  }

  void fold(const Partial& into, const Partial& group) const {
    for (int64_t i = 0; i < queries(); ++i)
      task_.kernels.softmax_fold(into.states() + i, into.acc() + i * into.stride(), group.states() + i,
                                 group.acc() + i * group.stride(), task_.shape.head_dim);
  }

  // out = acc / sum, turned back where values were turned.
  void finish(const Partial& total) const {
    const int64_t d = task_.shape.head_dim;
    for (int64_t i = 0; i < queries(); ++i) {
      float* to = row(task_.out, first_row_ + i / n_heads_) + (first_head_ + i % n_heads_) * d;
      std::copy_n(total.acc() + i * total.stride(), d, to);
      task_.kernels.scale(to, 1 / total.states()[i].sum, d);
      if (v_type().rotates) task_.kernels.hadamard(to, d);
    }
  }

 private:
  const KvView& view() const {
    return task_.views[static_cast<size_t>(task_.rows[static_cast<size_t>(first_row_)].slot)];
  }
  const kernels::KvType& k_type() const { return KvAccess::k_type(*view().blocks, view().layer); }
  const kernels::KvType& v_type() const { return KvAccess::v_type(*view().blocks, view().layer); }
  bool keys_meet_codes() const { return k_type().scores_coded != nullptr; }
  bool keys_meet_bf16() const { return task_.fast && k_type().scores_bf16 != nullptr; }
  bool values_meet_bf16() const { return task_.fast && v_type().accumulate_bf16 != nullptr; }
  const float* query(int64_t i) const {
    return row(task_.q, first_row_ + i / n_heads_) + (first_head_ + i % n_heads_) * task_.shape.head_dim;
  }

  // Which positions of a block each query sees.
  void visible(int64_t block, std::array<int, kTileQueries>& from, std::array<int, kTileQueries>& to) const {
    const int64_t start = block * kKvBlockKeys;
    for (int64_t i = 0; i < n_rows_; ++i) {
      const QueryRow& row = task_.rows[static_cast<size_t>(first_row_ + i)];
      std::fill_n(from.begin() + i * n_heads_, n_heads_,
                  static_cast<int>(std::clamp<int64_t>(row.begin - start, 0, kKvBlockKeys)));
      std::fill_n(to.begin() + i * n_heads_, n_heads_,
                  static_cast<int>(std::clamp<int64_t>(row.end - start, 0, kKvBlockKeys)));
    }
  }

  // n queries over one block.
  void step(int64_t block, int64_t first, int64_t n, const int* from, const int* to, const Partial& partial,
            const TileMemory& memory) const {
    const KvView& cache = view();
    const BlockId id = cache.table[static_cast<size_t>(block)];
    FACET_CHECK(id >= 0 && block * kKvBlockKeys < cache.end);
    const int64_t d = task_.shape.head_dim, stride = partial.stride();
    const float scale = task_.shape.scale;
    const std::byte* k = KvAccess::k(*cache.blocks, cache.layer, id, kv_head_);
    const std::byte* v = KvAccess::v(*cache.blocks, cache.layer, id, kv_head_);
    float *acc = partial.acc() + first * stride, *scores = memory.scores;

    const int64_t coded_bytes = kernels::coded_query_bytes(d);
    if (keys_meet_codes())
      k_type().scores_coded(scores, memory.q_coded + first * coded_bytes, coded_bytes, n, k, d, scale);
    else if (keys_meet_bf16())
      k_type().scores_bf16(scores, memory.q_bf16 + first * stride, stride, n, k, d, scale);
    else
      k_type().scores(scores, memory.q + first * stride, stride, n, k, d, scale);
    task_.kernels.softmax_step(scores, partial.states() + first, acc, stride, from + first, to + first, n, d);
    if (values_meet_bf16()) {
      task_.kernels.round_bf16(memory.p_bf16, scores, n * kKvBlockKeys);
      v_type().accumulate_bf16(acc, stride, memory.p_bf16, n, v, d);
    } else {
      v_type().accumulate(acc, stride, scores, n, v, d);
    }
  }

  const Task& task_;
  int64_t first_row_ = 0, n_rows_ = 0, kv_head_ = 0, first_head_ = 0, n_heads_ = 0;
  int32_t begin_ = std::numeric_limits<int32_t>::max(), end_ = 0;
};

// Cuts the rows into tiles where the sequence changes and where a tile is full.
int64_t cut(std::span<Tile> tiles, std::span<const QueryRow> rows, int64_t tile_rows) {
  size_t n = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (n > 0 && rows[i].slot == rows[i - 1].slot && tiles[n - 1].rows < tile_rows)
      ++tiles[n - 1].rows;
    else
      tiles[n++] = {.first_row = static_cast<int32_t>(i), .rows = 1};
  }
  return static_cast<int64_t>(n);
}

}  // namespace

struct AttentionAccess {
  static std::span<Tile> tiles(AttentionScratch& s) {
    return {static_cast<Tile*>(static_cast<void*>(s.tiles_.data())), static_cast<size_t>(s.max_rows_)};
  }
  static float* thread(AttentionScratch& s, int thread) {
    return static_cast<float*>(static_cast<void*>(s.buffer_.data())) + thread * s.per_thread_;
  }
  static float* partial(AttentionScratch& s, int64_t i, int64_t head_dim) {
    FACET_CHECK(i < s.partial_count_);
    return static_cast<float*>(static_cast<void*>(s.partials_.data())) + i * partial_floats(head_dim);
  }
};

namespace {

void attend_whole(Context& ctx, const Task& task, AttentionScratch& scratch) {
  const int64_t d = task.shape.head_dim;
  parallel(ctx, task.units(), [&](int64_t unit, int thread) {
    const TileMemory memory(AttentionAccess::thread(scratch, thread), d);
    const Partial total(memory.rest, d), group(memory.rest + partial_floats(d), d);
    const Unit work(task, unit);
    work.gather(memory);
    total.clear(work.queries());
    for (int64_t g = work.first_group(); g < work.end_group(); ++g) {
      work.compute_group(g, group, memory);
      work.fold(total, group);
    }
    work.finish(total);
  });
}

void attend_split(Context& ctx, const Task& task, AttentionScratch& scratch, int64_t first_group, int64_t end_group) {
  const int64_t d = task.shape.head_dim, units = task.units();
  const auto partial = [&](int64_t unit, int64_t slot) {  // slot 0: the total
    return Partial(AttentionAccess::partial(scratch, unit * (kRoundGroups + 1) + slot, d), d);
  };
  for (int64_t round = first_group; round < end_group; round += kRoundGroups) {
    const int64_t groups = std::min(kRoundGroups, end_group - round);
    parallel(ctx, units * groups, [&](int64_t i, int thread) {
      const TileMemory memory(AttentionAccess::thread(scratch, thread), d);
      const Unit work(task, i / groups);
      work.gather(memory);
      work.compute_group(round + i % groups, partial(i / groups, 1 + i % groups), memory);
    });
    parallel(ctx, units, [&](int64_t i, int) {
      const Unit work(task, i);
      if (round == first_group) partial(i, 0).clear(work.queries());
      for (int64_t g = 0; g < groups; ++g) work.fold(partial(i, 0), partial(i, 1 + g));
      if (round + groups == end_group) work.finish(partial(i, 0));
    });
  }
}

}  // namespace

Result<AttentionScratch> AttentionScratch::allocate(int n_threads, int64_t max_rows, int64_t heads,
                                                    int64_t max_head_dim, int64_t max_context) {
  FACET_CHECK(max_rows > 0 && heads > 0);
  AttentionScratch scratch;
  scratch.max_rows_ = max_rows;
  FACET_TRY(scratch.tiles_, Buffer::allocate(max_rows * static_cast<int64_t>(sizeof(Tile))));
  scratch.per_thread_ = (thread_floats(max_head_dim) + 15) / 16 * 16;
  constexpr int64_t kFloat = sizeof(float);
  FACET_TRY(scratch.buffer_, Buffer::allocate(n_threads * scratch.per_thread_ * kFloat));
  if (max_context > kKvGroupKeys) {
    scratch.partial_count_ = kSplitUnits * (kRoundGroups + 1);
    FACET_TRY(scratch.partials_, Buffer::allocate(scratch.partial_count_ * partial_floats(max_head_dim) * kFloat));
  }
  return scratch;
}

// A head as its cache stores it. turned: memory for one.
static const float* stored_form(const kernels::Table& kernels, const kernels::KvType& type, const float* head,
                                int64_t head_dim, float* turned) {
  if (!type.rotates) return head;
  std::copy_n(head, head_dim, turned);
  kernels.hadamard(turned, head_dim);
  return turned;
}

void write_kv(Context& ctx, const KvWriter& writer, Mat<const float> k, Mat<const float> v) {
  KvBlocks& blocks = *writer.blocks;
  const int64_t heads = KvAccess::kv_heads(blocks, writer.layer), d = KvAccess::head_dim(blocks, writer.layer);
  FACET_CHECK(k.rows() == v.rows() && k.cols() == heads * d && v.cols() == heads * d && d <= kHeadDimMax);
  if (k.rows() == 0) return;
  // One piece of work a block and head: neighbouring positions share cache lines.
  const int64_t begin = writer.first_position, end = begin + k.rows(), first_block = begin / kKvBlockKeys;
  const int64_t n_blocks = (end + kKvBlockKeys - 1) / kKvBlockKeys - first_block;
  parallel(ctx, n_blocks * heads, [&](int64_t i, int) {
    const int64_t index = first_block + i / heads, head = i % heads;
    const BlockId block = writer.table[static_cast<size_t>(index)];
    FACET_CHECK(block >= 0);
    std::byte* const k_block = KvAccess::k(blocks, writer.layer, block, head);
    std::byte* const v_block = KvAccess::v(blocks, writer.layer, block, head);
    const kernels::KvType& k_type = KvAccess::k_type(blocks, writer.layer);
    const kernels::KvType& v_type = KvAccess::v_type(blocks, writer.layer);
    float turned[kHeadDimMax];
    const int64_t start = index * kKvBlockKeys;
    for (int64_t p = std::max(begin, start); p < std::min(end, start + kKvBlockKeys); ++p) {
      const int inside = static_cast<int>(p - start);
      const float* const key = row(k, p - begin) + head * d;
      const float* const value = row(v, p - begin) + head * d;
      k_type.store_k(k_block, inside, stored_form(*ctx.kernels, k_type, key, d, turned), d);
      v_type.store_v(v_block, inside, stored_form(*ctx.kernels, v_type, value, d, turned), d);
    }
  });
}

void read_stored_kv(std::span<float> k, std::span<float> v, const KvView& view, int64_t kv_head, int64_t position) {
  const KvBlocks& blocks = *view.blocks;
  const int64_t d = KvAccess::head_dim(blocks, view.layer);
  FACET_CHECK(position >= 0 && position < view.end && kv_head < KvAccess::kv_heads(blocks, view.layer));
  FACET_CHECK(static_cast<int64_t>(k.size()) == d && static_cast<int64_t>(v.size()) == d);
  const BlockId block = view.table[static_cast<size_t>(position / kKvBlockKeys)];
  FACET_CHECK(block >= 0);
  const int inside = static_cast<int>(position % kKvBlockKeys);
  KvAccess::k_type(blocks, view.layer).load_k(k.data(), KvAccess::k(blocks, view.layer, block, kv_head), inside, d);
  KvAccess::v_type(blocks, view.layer).load_v(v.data(), KvAccess::v(blocks, view.layer, block, kv_head), inside, d);
}

void read_kv(std::span<float> k, std::span<float> v, const KvView& view, int64_t kv_head, int64_t position) {
  read_stored_kv(k, v, view, kv_head, position);
  const KvBlocks& blocks = *view.blocks;
  const int64_t d = KvAccess::head_dim(blocks, view.layer);
  const kernels::Table& any = kernels::usable_tables().front();  // all tiers turn alike
  if (KvAccess::k_type(blocks, view.layer).rotates) any.hadamard(k.data(), d);
  if (KvAccess::v_type(blocks, view.layer).rotates) any.hadamard(v.data(), d);
}

void attend(Context& ctx, Mat<float> out, Mat<const float> q, std::span<const KvView> views,
            std::span<const QueryRow> rows, const AttentionShape& shape, AttentionScratch& scratch) {
  FACET_CHECK(q.rows() == static_cast<int64_t>(rows.size()) && q.cols() == shape.heads * shape.head_dim);
  FACET_CHECK(out.rows() == q.rows() && out.cols() == q.cols() && shape.heads % shape.kv_heads == 0);
  Task task{.kernels = *ctx.kernels,
            .out = out,
            .q = q,
            .views = views,
            .rows = rows,
            .shape = shape,
            .fast = ctx.arithmetic == Arithmetic::fast};
  const std::span<Tile> tiles = AttentionAccess::tiles(scratch);
  FACET_CHECK(rows.size() <= tiles.size());
  task.tiles = tiles.first(static_cast<size_t>(cut(tiles, rows, task.tile_rows())));
  int64_t first_group = std::numeric_limits<int64_t>::max(), end_group = 0;
  for (const QueryRow& row : rows) {
    FACET_CHECK(row.begin < row.end);
    first_group = std::min<int64_t>(first_group, row.begin / kKvGroupKeys);
    end_group = std::max<int64_t>(end_group, (row.end + kKvGroupKeys - 1) / kKvGroupKeys);
  }
  if (task.units() < kSplitUnits && end_group - first_group > 1) {
    attend_split(ctx, task, scratch, first_group, end_group);
  } else {
    attend_whole(ctx, task, scratch);
  }
}

}  // namespace facet::ops
