// What KvCache keeps, shared by its tables (kv_cache.cc) and its streaming (kv_cache_save.cc). Nobody else includes it.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "model/block_pool.h"
#include "model/kv_cache.h"

namespace facet::model {

inline constexpr int64_t kPositionsPerBlock = kernels::kKvBlockKeys;
inline constexpr int64_t kPositionsMax = int64_t{1} << 30;  // positions are int32, and some are added to
inline constexpr KvPool kKvPools[] = {KvPool::sliding, KvPool::full};

// Block i of a table holds positions 64 i … 64 i + 63; so this many blocks hold positions below `end`.
inline int64_t blocks_below(int64_t end) { return (end + kPositionsPerBlock - 1) / kPositionsPerBlock; }

using BlockTable = std::vector<BlockId>;  // -1 in front: released by commit()

struct KvSequence {
  bool live = false;
  int64_t length = 0;
  int64_t reserved = 0;   // >= length: positions below it have blocks of their own to be written to
  int64_t committed = 0;  // <= length
  int64_t written = 0;    // positions from length to here may hold rows that were given up
  std::vector<std::pair<int32_t, int32_t>> spans;  // [first, end), ascending, disjoint: no resume point strictly inside
  std::array<BlockTable, 2> tables;                // by KvPool

  BlockTable& table(KvPool pool) { return tables[static_cast<size_t>(pool)]; }
  const BlockTable& table(KvPool pool) const { return tables[static_cast<size_t>(pool)]; }
};

// Where a layer of the model finds its keys.
struct KvPlace {
  KvPool pool;
  int storing;  // index among storing layers: its own or its donor's
  bool stores;
};

// Entries first … end - 1 of a table.
struct KvRange {
  int64_t first, end;
  int64_t count() const { return end - first; }
};

struct KvCache::State {
  KvOptions options;
  int64_t window = 0;
  kernels::Isa isa = kernels::Isa::scalar;
  std::vector<KvLayerShape> shapes;  // storing layers
  std::vector<KvPlace> places;       // all layers
  ops::KvBlocks blocks;
  std::array<BlockPool, 2> pools;
  std::vector<KvSequence> sequences;  // by SeqId; dead ones are reused

  BlockPool& pool(KvPool which) { return pools[static_cast<size_t>(which)]; }
  const BlockPool& pool(KvPool which) const { return pools[static_cast<size_t>(which)]; }
  // A pool without storing layers has no blocks, and tables of it stay empty.
  bool used(KvPool which) const { return pool(which).capacity() > 0; }

  // nullptr: no such sequence.
  KvSequence* find(SeqId id);
  // Requires that the sequence exists.
  KvSequence& at(SeqId id);
  Result<SeqId> add_sequence();
  // Gives all its blocks back; the id may be reused.
  void remove(SeqId id);

  // The first position whose key a sliding layer still reads when a sequence goes on at `length`; >= length: none.
  int64_t first_needed(int64_t length) const { return std::max<int64_t>(0, length - window + 1); }
  // The blocks without which a sequence cannot go on at `length`.
  KvRange needed(KvPool which, int64_t length) const;
  // Out of the span that `length` lies inside, to its start.
  static int64_t outside_spans(const KvSequence& sequence, int64_t length);
  bool has_keys(const KvSequence& sequence, int64_t length) const;
  // How many blocks make_room() would take.
  int64_t blocks_to_take(const KvSequence& sequence, KvPool which, int64_t end) const;
  // Blocks of its own for positions length … end - 1, and none behind. Their values from `length` on are zero unless
  // they were never written: rows that were given up may hold NaN, and 0 × NaN is NaN.
  void make_room(KvSequence& sequence, KvPool which, int64_t end);
  // Shortens a table to `count` blocks.
  void cut(KvSequence& sequence, KvPool which, int64_t count);
  // A zeroed block.
  BlockId take(KvPool which);
  // Numbers that a saved sequence must share with the cache it is restored to: what each says, and its value.
  std::vector<std::pair<const char*, uint64_t>> fingerprint() const;
  // Whether a saved sequence of this length fits. Errors: exhausted.
  Result<void> check_room(int64_t length) const;
  // Big enough for one block of either pool.
  std::vector<std::byte> block_buffer() const;
};

}  // namespace facet::model
