// The sequences of a puppet: a cache whose blocks hold one position each, with the same rules as model/kv_cache.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/strings.h"
#include "model/puppet.h"

namespace facet::model {
namespace {

constexpr std::array<char, 8> kPuppetMagic = {'p', 'u', 'p', 'p', 'e', 't', '0', '1'};

template <class T>
void put(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class T>
Result<T> take_from(ByteReader& in) {
  T value;
  FACET_TRY_VOID(in.read(std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

Error corrupt(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = "saved puppet sequence",
          .expected = std::move(expected),
          .found = std::move(found)};
}

int64_t outside_spans(const std::vector<std::pair<int64_t, int64_t>>& spans, int64_t length) {
  for (const auto& [first, end] : spans)
    if (first < length && length < end) return first;
  return length;
}

}  // namespace

Puppet::Kept* Puppet::find(SeqId id) {
  if (id < 0 || static_cast<size_t>(id) >= sequences_.size()) return nullptr;
  Kept& kept = sequences_[static_cast<size_t>(id)];
  return kept.live ? &kept : nullptr;
}

Puppet::Kept& Puppet::at(SeqId id) {
  Kept* kept = find(id);
  FACET_CHECK(kept != nullptr);
  return *kept;
}

SeqId Puppet::add_sequence() {
  size_t id = 0;
  while (id < sequences_.size() && sequences_[id].live) ++id;
  if (id == sequences_.size()) sequences_.emplace_back();
  sequences_[id] = {};
  sequences_[id].live = true;
  return static_cast<SeqId>(id);
}

int32_t Puppet::take(const Row& row) {
  if (free_.empty()) {
    pool_.push_back(row);
    return static_cast<int32_t>(pool_.size()) - 1;
  }
  const int32_t index = free_.back();
  free_.pop_back();
  pool_[static_cast<size_t>(index)] = row;
  return index;
}

void Puppet::unreference(int32_t row) {
  if (row != kReleased && --pool_[static_cast<size_t>(row)].references == 0) free_.push_back(row);
}

void Puppet::cut(Kept& kept, int64_t length) {
  for (; static_cast<int64_t>(kept.rows.size()) > length; kept.rows.pop_back()) unreference(kept.rows.back());
  std::erase_if(kept.spans, [&](const auto& span) { return span.first >= length; });
}

int64_t Puppet::first_needed(int64_t length) const {
  if (script_.window == 0) return 0;
  return std::max<int64_t>(0, length - std::max<int64_t>(1, script_.window - 1));  // place() looks at the row before
}

// Only fronts are ever released, so the first row stands for all.
bool Puppet::has_keys(const Kept& kept, int64_t length) const {
  const int64_t first = first_needed(length);
  return first >= length || kept.rows[static_cast<size_t>(first)] != kReleased;
}

Result<SeqId> Puppet::create_sequence() { return add_sequence(); }

Result<SeqId> Puppet::fork(SeqId id, int64_t length) {
  const Kept* from = find(id);
  const int64_t whole = from != nullptr ? static_cast<int64_t>(from->rows.size()) : -1;
  if (length < 0 || length > whole || outside_spans(from->spans, length) != length || !has_keys(*from, length))
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "a sequence cannot be continued there",
                 .where = cat("puppet sequence ", id),
                 .expected = cat("a resumable length up to ", whole),
                 .found = cat(length)};
  const SeqId made = add_sequence();
  const Kept& source = at(id);
  Kept& target = at(made);
  target.rows.assign(source.rows.begin(), source.rows.begin() + static_cast<ptrdiff_t>(length));
  for (const int32_t row : target.rows)
    if (row != kReleased) ++pool_[static_cast<size_t>(row)].references;
  for (const auto& span : source.spans)
    if (span.first < length) target.spans.push_back(span);
  return made;
}

void Puppet::release(SeqId id) {
  cut(at(id), 0);
  at(id) = {};
}

int64_t Puppet::length(SeqId id) const { return static_cast<int64_t>(at(id).rows.size()); }

int64_t Puppet::truncate(SeqId id, int64_t length) {
  Kept& kept = at(id);
  length = outside_spans(kept.spans, std::clamp<int64_t>(length, 0, static_cast<int64_t>(kept.rows.size())));
  if (!has_keys(kept, length)) length = 0;  // a shorter length would need still earlier rows
  cut(kept, length);
  return length;
}

void Puppet::commit(SeqId id, int64_t length) {
  Kept& kept = at(id);
  FACET_CHECK(length <= static_cast<int64_t>(kept.rows.size()));
  if (script_.window == 0) return;
  const int64_t first = first_needed(outside_spans(kept.spans, length));
  // Backwards, until a row that is gone: everything in front of it is gone as well.
  for (int64_t i = first; i > 0 && kept.rows[static_cast<size_t>(i - 1)] != kReleased; --i) {
    unreference(kept.rows[static_cast<size_t>(i - 1)]);
    kept.rows[static_cast<size_t>(i - 1)] = kReleased;
  }
}

Result<void> Puppet::save(SeqId id, ByteSink& out) const {
  const Kept& kept = at(id);
  std::vector<std::byte> bytes;
  put(bytes, kPuppetMagic);
  put(bytes, static_cast<int64_t>(kept.rows.size()));
  put(bytes, static_cast<int64_t>(kept.spans.size()));
  for (const int32_t index : kept.rows) {
    Row row{.references = index == kReleased ? 0 : 1};
    if (index != kReleased) row = pool_[static_cast<size_t>(index)];
    for (const int32_t value : {row.token, row.answer, row.step, index == kReleased ? 0 : 1}) put(bytes, value);
  }
  for (const auto& [first, end] : kept.spans) {
    put(bytes, first);
    put(bytes, end);
  }
  return out.write(bytes);
}

Result<SeqId> Puppet::restore(ByteReader& in) {
  FACET_TRY(const auto magic, take_from<std::remove_const_t<decltype(kPuppetMagic)>>(in));
  if (magic != kPuppetMagic) return corrupt("not the state of a puppet", "puppet01", "other bytes");
  FACET_TRY(const int64_t length, take_from<int64_t>(in));
  FACET_TRY(const int64_t spans, take_from<int64_t>(in));
  if (length < 0 || length > script_.context)
    return corrupt("length out of range", cat("0 to ", script_.context), cat(length));
  if (spans < 0 || spans > length) return corrupt("number of spans out of range", cat("0 to ", length), cat(spans));
  if (script_.cache_rows > 0 && rows_in_use() + length > script_.cache_rows)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the cache has no room",
                 .where = "puppet",
                 .expected = cat("at most ", script_.cache_rows, " rows"),
                 .found = cat(rows_in_use() + length)};
  std::vector<std::pair<Row, bool>> rows;
  for (int64_t i = 0; i < length; ++i) {
    FACET_TRY(const auto fields, take_from<std::array<int32_t, 4>>(in));
    const Row row{.token = fields[0], .answer = fields[1], .step = fields[2]};
    const bool present = fields[3] == 1;
    const bool sound = row.token >= 0 && row.token < vocab_size_ && row.answer >= kNoOutput &&
                       row.answer <= static_cast<int32_t>(script_.answers.size()) && row.step >= 0 &&
                       (fields[3] == 0 || present) && (present || i < first_needed(length)) &&
                       (present || rows.empty() || !rows.back().second);
    if (!sound) return corrupt(cat("row ", i, " makes no sense"), "a row of this puppet", list(fields));
    rows.emplace_back(row, present);
  }
  std::vector<std::pair<int64_t, int64_t>> kept_spans;
  for (int64_t i = 0; i < spans; ++i) {
    FACET_TRY(const auto span, take_from<std::array<int64_t, 2>>(in));
    if (span[0] < 0 || span[0] >= span[1] || span[1] > length)
      return corrupt("a span makes no sense", cat("within 0 to ", length), list(span));
    kept_spans.emplace_back(span[0], span[1]);
  }
  const SeqId id = add_sequence();
  Kept& kept = at(id);
  kept.spans = std::move(kept_spans);
  for (const auto& [row, present] : rows) kept.rows.push_back(present ? take(row) : kReleased);
  return id;
}

}  // namespace facet::model
