// The tables of the cache: taking, sharing, copying and freeing blocks. Streaming is kv_cache_save.cc.
#include "model/kv_cache.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "model/kv_cache_state.h"

namespace facet::model {
namespace {

constexpr int64_t kSequencesMax = 4096;

Error no_such_sequence(SeqId id) {
  return {.code = ErrorCode::invalid_argument, .what = "no such sequence", .where = "cache", .found = cat(id)};
}

// Orders spans and joins those that overlap.
void tidy(std::vector<std::pair<int32_t, int32_t>>& spans) {
  std::ranges::sort(spans);
  size_t kept = 0;
  for (size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].first < spans[kept].second)
      spans[kept].second = std::max(spans[kept].second, spans[i].second);
    else
      spans[++kept] = spans[i];
  }
  if (!spans.empty()) spans.resize(kept + 1);
}

// Blocks that `keys` consecutive positions can touch, wherever they start.
int64_t blocks_touched(int64_t keys) { return blocks_below(keys - 1) + 1; }

// Blocks of a pool. While a chunk of C rows runs, a sliding layer holds the W - 1 keys in front of it and its own C. A
// fork shares all full blocks but the one that the sequence goes on to write.
int64_t blocks_of(const Config& config, const KvOptions& options, KvPool pool) {
  const bool full = pool == KvPool::full;
  const auto stores = [&](const LayerConfig& layer) { return layer.full == full && !layer.shares_kv; };
  if (std::ranges::none_of(config.layers, stores)) return 0;
  const int64_t whole = blocks_below(options.context);
  const int64_t one = full ? whole : std::min(whole, blocks_touched(config.window - 1 + options.max_chunk));
  if (options.fork_rewind < 0) return one * options.sequences;
  const int64_t fork = full ? 1 : std::min(whole, blocks_touched(config.window - 1 + options.fork_rewind));
  return (one + fork) * options.sequences;
}

KvLayerShape shape_of(const LayerConfig& layer, const KvOptions& options) {
  return {.pool = layer.full ? KvPool::full : KvPool::sliding,
          .kv_heads = static_cast<int32_t>(layer.kv_heads),
          .head_dim = static_cast<int32_t>(layer.head_dim),
          .k = layer.full ? options.full_k : options.sliding_k,
          .v = layer.full ? options.full_v : options.sliding_v};
}

Result<void> check_options(const Config& config, const KvOptions& options) {
  const auto bad = [](const char* what, int64_t low, int64_t high, int64_t found) {
    return Error{.code = ErrorCode::invalid_argument,
                 .what = what,
                 .where = "cache",
                 .expected = cat(low, " to ", high),
                 .found = cat(found)};
  };
  if (options.context < 1 || options.context > kPositionsMax)
    return bad("context out of range", 1, kPositionsMax, options.context);
  if (options.max_chunk < 1 || options.max_chunk > kPositionsMax)
    return bad("rows of a batch out of range", 1, kPositionsMax, options.max_chunk);
  if (options.fork_rewind < -1 || options.fork_rewind > kPositionsMax)
    return bad("positions to cut a fork back by out of range", -1, kPositionsMax, options.fork_rewind);
  if (options.sequences < 1 || options.sequences > kSequencesMax)
    return bad("number of sequences out of range", 1, kSequencesMax, options.sequences);
  if (config.window < 1 || config.window > kPositionsMax)
    return bad("window out of range", 1, kPositionsMax, config.window);
  for (const KvPool pool : kKvPools)
    if (blocks_of(config, options, pool) > std::numeric_limits<BlockId>::max())
      return Error{.code = ErrorCode::exhausted,
                   .what = "too many cache blocks",
                   .where = "cache",
                   .expected = cat("at most ", std::numeric_limits<BlockId>::max()),
                   .found = cat(blocks_of(config, options, pool))};
  return {};
}

}  // namespace

// --- State ---

KvSequence* KvCache::State::find(SeqId id) {
  if (id < 0 || static_cast<size_t>(id) >= sequences.size()) return nullptr;
  KvSequence& sequence = sequences[static_cast<size_t>(id)];
  return sequence.live ? &sequence : nullptr;
}

KvSequence& KvCache::State::at(SeqId id) {
  KvSequence* sequence = find(id);
  FACET_CHECK(sequence != nullptr);
  return *sequence;
}

Result<SeqId> KvCache::State::add_sequence() {
  size_t id = 0;
  while (id < sequences.size() && sequences[id].live) ++id;
  if (static_cast<int64_t>(id) >= kSequencesMax)
    return Error{.code = ErrorCode::exhausted,
                 .what = "too many sequences",
                 .where = "cache",
                 .expected = cat("at most ", kSequencesMax)};
  if (id == sequences.size()) sequences.emplace_back();
  KvSequence& sequence = sequences[id];
  sequence.live = true;
  for (const KvPool pool : kKvPools)  // so that no forward pass allocates
    if (used(pool)) sequence.table(pool).reserve(static_cast<size_t>(blocks_below(options.context)));
  return static_cast<SeqId>(id);
}

void KvCache::State::remove(SeqId id) {
  KvSequence& sequence = at(id);
  for (const KvPool pool : kKvPools) cut(sequence, pool, 0);
  sequence = {};
}

int64_t KvCache::State::outside_spans(const KvSequence& sequence, int64_t length) {
  for (const auto& [first, end] : sequence.spans)
    if (first < length && length < end) return first;
  return length;
}

bool KvCache::State::has_keys(const KvSequence& sequence, int64_t length) const {
  const int64_t first = first_needed(length);
  if (first >= length || !used(KvPool::sliding)) return true;
  // Only fronts are ever released, so the first key stands for all.
  return sequence.table(KvPool::sliding)[static_cast<size_t>(first / kPositionsPerBlock)] >= 0;
}

KvRange KvCache::State::needed(KvPool which, int64_t length) const {
  if (!used(which)) return {0, 0};
  const int64_t first = which == KvPool::full ? 0 : first_needed(length), end = blocks_below(length);
  return {first < length ? first / kPositionsPerBlock : end, end};
}

int64_t KvCache::State::blocks_to_take(const KvSequence& sequence, KvPool which, int64_t end) const {
  if (!used(which)) return 0;
  const BlockTable& table = sequence.table(which);
  int64_t count = 0;
  for (int64_t i = sequence.length / kPositionsPerBlock; i < blocks_below(end); ++i) {
    const BlockId block = static_cast<size_t>(i) < table.size() ? table[static_cast<size_t>(i)] : -1;
    if (block < 0 || pool(which).references(block) > 1) ++count;
  }
  return count;
}

void KvCache::State::make_room(KvSequence& sequence, KvPool which, int64_t end) {
  if (!used(which)) return;
  BlockTable& table = sequence.table(which);
  cut(sequence, which, blocks_below(end));  // what an earlier, larger call left behind
  table.resize(static_cast<size_t>(blocks_below(end)), -1);
  for (size_t i = static_cast<size_t>(sequence.length / kPositionsPerBlock); i < table.size(); ++i) {
    const int64_t start = static_cast<int64_t>(i) * kPositionsPerBlock;
    const int kept = static_cast<int>(std::max<int64_t>(0, sequence.length - start));
    if (table[i] < 0) {
      table[i] = take(which);
    } else if (pool(which).references(table[i]) > 1) {
      const BlockId own = pool(which).take();
      blocks.copy(which, own, table[i]);
      blocks.zero_values(which, own, kept);
      pool(which).release(table[i]);
      table[i] = own;
    } else if (sequence.written > std::max(start, sequence.length)) {
      blocks.zero_values(which, table[i], kept);
    }
  }
}

void KvCache::State::cut(KvSequence& sequence, KvPool which, int64_t count) {
  BlockTable& table = sequence.table(which);
  for (; static_cast<int64_t>(table.size()) > count; table.pop_back())
    if (table.back() >= 0) pool(which).release(table.back());
}

BlockId KvCache::State::take(KvPool which) {
  const BlockId block = pool(which).take();
  blocks.zero(which, block);
  return block;
}

// --- KvCache ---

KvCache::KvCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache::~KvCache() = default;

Result<KvCache> KvCache::create(const kernels::Table& kernels, const Config& config, const KvOptions& options) {
  FACET_TRY_VOID(check_options(config, options));
  auto state = std::make_unique<State>();
  state->options = options;
  state->window = config.window;
  state->isa = kernels.isa;
  std::vector<int> storing(config.layers.size(), -1);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    if (!layer.shares_kv) {
      storing[i] = static_cast<int>(state->shapes.size());
      state->shapes.push_back(shape_of(layer, options));
    }
    const int found = storing[layer.shares_kv ? static_cast<size_t>(layer.donor) : i];
    FACET_CHECK(found >= 0);
    state->places.push_back(
        {.pool = layer.full ? KvPool::full : KvPool::sliding, .storing = found, .stores = !layer.shares_kv});
  }
  const int64_t sliding = blocks_of(config, options, KvPool::sliding), full = blocks_of(config, options, KvPool::full);
  FACET_TRY(state->blocks, ops::KvBlocks::create(kernels, state->shapes, sliding, full));
  state->pools = {BlockPool(sliding), BlockPool(full)};
  return KvCache(std::move(state));
}

int64_t KvCache::bytes_needed(const Config& config, const KvOptions& options) {
  return bytes_needed(config, options, KvPool::sliding) + bytes_needed(config, options, KvPool::full);
}

int64_t KvCache::bytes_needed(const Config& config, const KvOptions& options, KvPool pool) {
  int64_t bytes = 0;
  for (const LayerConfig& layer : config.layers) {
    const KvLayerShape shape = shape_of(layer, options);
    if (layer.shares_kv || shape.pool != pool) continue;
    bytes += ops::KvBlocks::block_bytes(shape) * blocks_of(config, options, shape.pool);
  }
  return bytes;
}

Result<SeqId> KvCache::create_sequence() { return state_->add_sequence(); }

Result<SeqId> KvCache::fork(SeqId id, int64_t length) {
  if (state_->find(id) == nullptr) return no_such_sequence(id);
  if (!resumable(id, length))
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "a sequence cannot be continued there",
                 .where = cat("cache sequence ", id, ", ", state_->at(id).length, " positions"),
                 .expected = "a length outside image spans whose window of keys is still there",
                 .found = cat(length)};
  FACET_TRY(const SeqId made, state_->add_sequence());
  const KvSequence& from = state_->at(id);
  KvSequence& to = state_->at(made);
  to.length = to.reserved = length;
  to.committed = std::min(from.committed, length);
  to.written = from.written;
  for (const auto& span : from.spans)
    if (span.first < length) to.spans.push_back(span);
  for (const KvPool pool : kKvPools) {
    if (!state_->used(pool)) continue;
    const BlockTable& table = from.table(pool);
    to.table(pool).assign(table.begin(), table.begin() + static_cast<ptrdiff_t>(blocks_below(length)));
    for (const BlockId block : to.table(pool))
      if (block >= 0) state_->pool(pool).share(block);
  }
  return made;
}

void KvCache::release(SeqId id) { state_->remove(id); }

int64_t KvCache::length(SeqId id) const { return state_->at(id).length; }

Result<void> KvCache::reserve(SeqId id, int64_t rows, std::span<const std::pair<int32_t, int32_t>> spans) {
  KvSequence* sequence = state_->find(id);
  if (sequence == nullptr) return no_such_sequence(id);
  const auto where = [&] { return cat("cache sequence ", id); };  // made only when it is read
  if (rows < 0 || rows > kPositionsMax)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "number of rows out of range",
                 .where = where(),
                 .expected = cat("0 to ", kPositionsMax),
                 .found = cat(rows)};
  const int64_t end = sequence->length + rows;
  if (end > state_->options.context)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the context is full",
                 .where = where(),
                 .expected = cat("at most ", state_->options.context, " positions"),
                 .found = cat(end)};
  for (const auto& [first, last] : spans)
    if (first < sequence->length || first >= last || last > end)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "an image span lies outside the new rows",
                   .where = where(),
                   .expected = cat("within ", sequence->length, " to ", end),
                   .found = cat(first, " to ", last)};
  for (const KvPool pool : kKvPools) {
    const int64_t needed = state_->blocks_to_take(*sequence, pool, end), free = state_->pool(pool).free_count();
    if (needed > free)
      return Error{.code = ErrorCode::exhausted,
                   .what = "the cache has no free blocks",
                   .where = where(),
                   .expected = cat(needed, pool == KvPool::full ? " full" : " sliding", " blocks"),
                   .found = cat(free)};
  }
  for (const KvPool pool : kKvPools) state_->make_room(*sequence, pool, end);
  // Spans of a call that failed later were never stored.
  std::erase_if(sequence->spans, [&](const auto& span) { return span.first >= sequence->length; });
  sequence->spans.insert(sequence->spans.end(), spans.begin(), spans.end());
  tidy(sequence->spans);
  sequence->reserved = sequence->written = end;
  return {};
}

void KvCache::advance(SeqId id, int64_t rows) {
  KvSequence& sequence = state_->at(id);
  FACET_CHECK(rows >= 0 && sequence.length + rows <= sequence.reserved);
  sequence.length += rows;
}

void KvCache::commit(SeqId id, int64_t length) {
  KvSequence& sequence = state_->at(id);
  FACET_CHECK(length <= sequence.length);
  if (length <= sequence.committed) return;
  sequence.committed = length;
  const int64_t first = state_->first_needed(State::outside_spans(sequence, length));
  BlockTable& table = sequence.table(KvPool::sliding);
  const size_t front = std::min(table.size(), static_cast<size_t>(first / kPositionsPerBlock));
  // Backwards, until a block that is gone: everything in front of it is gone as well.
  for (size_t i = front; i > 0 && table[i - 1] >= 0; --i) {
    state_->pool(KvPool::sliding).release(table[i - 1]);
    table[i - 1] = -1;
  }
}

bool KvCache::resumable(SeqId id, int64_t length) const {
  const KvSequence& sequence = state_->at(id);
  return length >= 0 && length <= sequence.length && State::outside_spans(sequence, length) == length &&
         state_->has_keys(sequence, length);
}

int64_t KvCache::truncate(SeqId id, int64_t length) {
  KvSequence& sequence = state_->at(id);
  length = State::outside_spans(sequence, std::clamp<int64_t>(length, 0, sequence.length));
  // A shorter length needs still earlier keys; only none at all needs none.
  if (!state_->has_keys(sequence, length)) length = 0;
  sequence.length = sequence.reserved = length;
  sequence.committed = std::min(sequence.committed, length);
  std::erase_if(sequence.spans, [&](const auto& span) { return span.first >= length; });
  for (const KvPool pool : kKvPools) state_->cut(sequence, pool, blocks_below(length));
  return length;
}

KvWriter KvCache::writer(int layer, SeqId id) {
  const KvPlace& place = state_->places[static_cast<size_t>(layer)];
  const KvSequence& sequence = state_->at(id);
  FACET_CHECK(place.stores);
  const BlockTable& table = sequence.table(place.pool);
  // reserve() made them its own; a fork since then would have to be followed by another.
  for (int64_t i = sequence.length / kPositionsPerBlock; i < blocks_below(sequence.reserved); ++i)
    FACET_CHECK(state_->pool(place.pool).references(table[static_cast<size_t>(i)]) == 1);
  return {.blocks = &state_->blocks, .layer = place.storing, .table = table, .first_position = sequence.length};
}

KvView KvCache::view(int layer, SeqId id, int64_t end) const {
  const KvPlace& place = state_->places[static_cast<size_t>(layer)];
  const KvSequence& sequence = state_->at(id);
  FACET_CHECK(end >= 0 && end <= sequence.reserved);
  return {.blocks = &state_->blocks, .layer = place.storing, .table = sequence.table(place.pool), .end = end};
}

int64_t KvCache::free_blocks(KvPool pool) const { return state_->pool(pool).free_count(); }
const KvOptions& KvCache::options() const { return state_->options; }

void KvCache::poison_unused() {
  for (const KvPool pool : kKvPools) {
    std::vector<int64_t> stored(static_cast<size_t>(state_->pool(pool).capacity()), 0);  // positions, by block
    for (const KvSequence& sequence : state_->sequences) {
      const BlockTable& table = sequence.table(pool);
      for (size_t i = 0; i < table.size(); ++i) {
        if (table[i] < 0) continue;
        int64_t& positions = stored[static_cast<size_t>(table[i])];
        positions = std::max(positions, sequence.length - static_cast<int64_t>(i) * kPositionsPerBlock);
      }
    }
    for (size_t block = 0; block < stored.size(); ++block)
      if (stored[block] < kPositionsPerBlock)
        state_->blocks.poison_tail(pool, static_cast<BlockId>(block),
                                   static_cast<int>(std::max<int64_t>(0, stored[block])));
  }
}

}  // namespace facet::model
