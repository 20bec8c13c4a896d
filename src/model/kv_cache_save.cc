// Saving a sequence as a stream of bytes, and restoring it. The layout is docs/kv-cache.md, "Saved sequences".
//
// What is read may be anything: every number is checked before it is used, and blocks are taken one by one, as their
// bytes arrive.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/strings.h"
#include "model/kv_cache_state.h"

namespace facet::model {
namespace {

static_assert(std::endian::native == std::endian::little, "saved sequences are little-endian");

constexpr uint64_t kKvCacheMagic = 0x3130564b54434146;  // "FACTKV01" in the file. Do not renumber.

// A running checksum of 8-byte words, for accidents; not a signature. (FNV-1a, over words instead of bytes.)
class Checksum {
 public:
  void add(Bytes bytes) {
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) add_word(bytes, 8);
    if (!bytes.empty()) add_word(bytes, bytes.size());
  }
  uint64_t value() const { return value_ ^ (value_ >> 32); }

 private:
  void add_word(Bytes bytes, size_t n) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), n);
    value_ = std::rotl((value_ ^ word) * 0x100000001b3, 29);
  }
  uint64_t value_ = 0xcbf29ce484222325;
};

class Writer {
 public:
  explicit Writer(ByteSink& out) : out_(out) {}
  Result<void> bytes(Bytes bytes) {
    sum_.add(bytes);
    return out_.write(bytes);
  }
  Result<void> number(uint64_t value) { return bytes(std::as_bytes(std::span(&value, 1))); }
  Result<void> checksum() { return number(sum_.value()); }

 private:
  ByteSink& out_;
  Checksum sum_;
};

class Reader {
 public:
  explicit Reader(ByteReader& in) : in_(in) {}
  Result<void> bytes(std::span<std::byte> out) {
    FACET_TRY_VOID(in_.read(out));
    sum_.add(out);
    return {};
  }
  Result<uint64_t> number() {
    uint64_t value = 0;
    FACET_TRY_VOID(bytes(std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  // A number that the file may choose, within bounds.
  Result<int64_t> number(const char* name, int64_t low, int64_t high) {
    FACET_TRY(const uint64_t value, number());
    if (static_cast<int64_t>(value) < low || static_cast<int64_t>(value) > high)
      return Error{.code = ErrorCode::corrupt,
                   .what = cat(name, " out of range"),
                   .where = "saved sequence",
                   .expected = cat(low, " to ", high),
                   .found = cat(static_cast<int64_t>(value))};
    return static_cast<int64_t>(value);
  }
  // A number that this cache prescribes.
  Result<void> same(const char* name, uint64_t expected, ErrorCode code = ErrorCode::unsupported) {
    FACET_TRY(const uint64_t found, number());
    if (found == expected) return {};
    return Error{.code = code,
                 .what = cat("belongs to another ", name),
                 .where = "saved sequence",
                 .expected = cat(expected),
                 .found = cat(found)};
  }
  Result<void> checksum() {
    const uint64_t expected = sum_.value();
    FACET_TRY(const uint64_t found, number());
    if (found == expected) return {};
    return Error{.code = ErrorCode::corrupt, .what = "its checksum does not match", .where = "saved sequence"};
  }

 private:
  ByteReader& in_;
  Checksum sum_;
};

Result<void> read_spans(Reader& reader, int64_t length, std::vector<std::pair<int32_t, int32_t>>& spans) {
  FACET_TRY(const int64_t count, reader.number("number of image spans", 0, length));
  for (int64_t i = 0, from = 0; i < count; ++i) {
    FACET_TRY(const int64_t first, reader.number("start of an image span", from, length - 1));
    FACET_TRY(const int64_t end, reader.number("end of an image span", first + 1, length));
    spans.emplace_back(static_cast<int32_t>(first), static_cast<int32_t>(end));
    from = end;
  }
  return {};
}

// Gives a half-restored sequence back unless it became whole.
class Restoring {
 public:
  Restoring(KvCache& cache, SeqId id) : cache_(cache), id_(id) {}
  ~Restoring() {
    if (!kept_) cache_.release(id_);
  }
  SeqId keep() {
    kept_ = true;
    return id_;
  }

 private:
  KvCache& cache_;
  SeqId id_;
  bool kept_ = false;
};

}  // namespace

std::vector<std::pair<const char*, uint64_t>> KvCache::State::fingerprint() const {
  std::vector<std::pair<const char*, uint64_t>> out = {{"processor tier", static_cast<uint64_t>(isa)},
                                                       {"window", static_cast<uint64_t>(window)},
                                                       {"number of storing layers", shapes.size()}};
  for (const KvLayerShape& shape : shapes) {
    out.emplace_back("pattern of layers", static_cast<uint64_t>(shape.pool));
    out.emplace_back("number of key heads", static_cast<uint64_t>(shape.kv_heads));
    out.emplace_back("head size", static_cast<uint64_t>(shape.head_dim));
    out.emplace_back("type of keys", static_cast<uint64_t>(info(shape.k).ggml_id));
    out.emplace_back("type of values", static_cast<uint64_t>(info(shape.v).ggml_id));
  }
  return out;
}

std::vector<std::byte> KvCache::State::block_buffer() const {
  int64_t bytes = 0;
  for (const KvPool which : kKvPools)
    if (used(which)) bytes = std::max(bytes, blocks.block_bytes(which));
  return std::vector<std::byte>(static_cast<size_t>(bytes));
}

Result<void> KvCache::State::check_room(int64_t length) const {
  const auto lacks = [](const char* what, std::string expected, int64_t found) {
    return Error{.code = ErrorCode::exhausted,
                 .what = what,
                 .where = "saved sequence",
                 .expected = std::move(expected),
                 .found = cat(found)};
  };
  if (length > options.context)
    return lacks("does not fit the context", cat("at most ", options.context, " positions"), length);
  for (const KvPool which : kKvPools)
    if (const int64_t count = needed(which, length).count(); count > pool(which).free_count())
      return lacks("finds too few free blocks", cat(count, which == KvPool::full ? " full" : " sliding", " blocks"),
                   pool(which).free_count());
  return {};
}

Result<void> KvCache::save(SeqId id, ByteSink& out) const {
  const State& state = *state_;
  const KvSequence& sequence = state_->at(id);
  if (!resumable(id, sequence.length))
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "a sequence that cannot be continued cannot be saved",
                 .where = cat("cache sequence ", id)};
  Writer writer(out);
  FACET_TRY_VOID(writer.number(kKvCacheMagic));
  for (const auto& [name, value] : state.fingerprint()) FACET_TRY_VOID(writer.number(value));
  FACET_TRY_VOID(writer.number(static_cast<uint64_t>(sequence.length)));
  FACET_TRY_VOID(writer.number(sequence.spans.size()));
  for (const auto& [first, end] : sequence.spans) {
    FACET_TRY_VOID(writer.number(static_cast<uint64_t>(first)));
    FACET_TRY_VOID(writer.number(static_cast<uint64_t>(end)));
  }
  std::vector<std::byte> buffer = state.block_buffer();
  for (const KvPool pool : kKvPools) {
    const KvRange range = state.needed(pool, sequence.length);
    const BlockTable& table = sequence.table(pool);
    for (int64_t i = range.first; i < range.end; ++i) {
      const std::span<std::byte> block = std::span(buffer).first(static_cast<size_t>(state.blocks.block_bytes(pool)));
      state.blocks.save(pool, table[static_cast<size_t>(i)], block);
      FACET_TRY_VOID(writer.bytes(block));
    }
  }
  return writer.checksum();
}

Result<SeqId> KvCache::restore(ByteReader& in) {
  State& state = *state_;
  Reader reader(in);
  FACET_TRY_VOID(reader.same("kind of file", kKvCacheMagic, ErrorCode::corrupt));
  for (const auto& [name, value] : state.fingerprint()) FACET_TRY_VOID(reader.same(name, value));
  FACET_TRY(const int64_t length, reader.number("length", 0, kPositionsMax));
  FACET_TRY_VOID(state.check_room(length));
  FACET_TRY(const SeqId id, state.add_sequence());
  Restoring restoring(*this, id);
  KvSequence& sequence = state.at(id);
  FACET_TRY_VOID(read_spans(reader, length, sequence.spans));
  std::vector<std::byte> buffer = state.block_buffer();
  for (const KvPool pool : kKvPools) {
    const KvRange range = state.needed(pool, length);
    BlockTable& table = sequence.table(pool);
    table.assign(static_cast<size_t>(range.first), -1);
    for (int64_t i = range.first; i < range.end; ++i) {
      const std::span<std::byte> block = std::span(buffer).first(static_cast<size_t>(state.blocks.block_bytes(pool)));
      FACET_TRY_VOID(reader.bytes(block));
      table.push_back(state.pool(pool).take());
      state.blocks.restore(pool, table.back(), block);
    }
  }
  FACET_TRY_VOID(reader.checksum());
  sequence.length = sequence.reserved = sequence.committed = length;
  sequence.written = blocks_below(length) * kPositionsPerBlock;  // what stands behind comes from elsewhere
  return restoring.keep();
}

}  // namespace facet::model
