// Random programs over the tables of the cache, against a shadow that keeps every sequence's marks in a plain list.
// After every step: each position a layer may read shows what was stored there, blocks are exactly those in the tables,
// and what is not live holds poison. At the end no block is missing.
#include <map>

#include "base/random.h"
#include "marked_cache.h"
#include "model/cache_settings.h"
#include "support/byte_stream.h"
#include "support/sanitized.h"

namespace facet::model {
namespace {

using Spans = std::vector<std::pair<int32_t, int32_t>>;

// What a sequence should be.
struct Shadow {
  std::vector<int> marks;  // by position
  Spans spans;
  int64_t front = 0;  // sliding keys below were freed

  int64_t length() const { return static_cast<int64_t>(marks.size()); }
};

struct Shape {
  int64_t window, context, chunk;
  DType type;
  int sequences;
};

class Program {
 public:
  Program(const Shape& shape, uint64_t seed)
      : shape_(shape),
        random_(seed),
        marked_(shape.window, marked_options(shape.context, shape.chunk, shape.sequences, shape.type)) {}

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      if (below(4) == 0) marked_.cache().poison_unused(), poisoned_ = true;
      step();
      check_blocks();
      poisoned_ = false;
    }
    for (const auto& [id, shadow] : shadows_) check(id, 1);
    for (const auto& [id, shadow] : shadows_) marked_.cache().release(id);
    for (const KvPool pool : {KvPool::sliding, KvPool::full}) EXPECT_EQ(marked_.used(pool), 0) << "leaked";
  }

  int64_t longest() const { return longest_; }

 private:
  int64_t below(int64_t bound) { return random_.below(static_cast<uint32_t>(std::max<int64_t>(1, bound))); }

  void step() {
    if (shadows_.empty()) return create();
    const SeqId id = std::next(shadows_.begin(), below(static_cast<int64_t>(shadows_.size())))->first;
    const int64_t what = below(100);
    if (what < 55) return append(id);
    if (what < 67) return commit(id);
    if (what < 77) return fork(id);
    if (what < 87) return truncate(id);
    if (what < 91) return save_and_restore(id);
    if (what < 95) return release(id);
    if (shadows_.size() < 5) create();
  }

  void create() { shadows_[marked_.make()] = {}; }

  void append(SeqId id) {
    Shadow& shadow = shadows_[id];
    const int64_t most = below(3) == 0 ? shape_.chunk : std::min<int64_t>(shape_.chunk, 9);
    const int64_t rows = std::min(1 + below(most), shape_.context - shadow.length());
    std::vector<int> marks;
    for (int64_t i = 0; i < rows; ++i) marks.push_back(static_cast<int>(below(251)));
    Spans spans;
    if (rows > 2 && below(4) == 0) {
      const int32_t first = static_cast<int32_t>(shadow.length() + below(rows - 1));
      spans.emplace_back(first, first + 1 + static_cast<int32_t>(below(shadow.length() + rows - first)));
    }
    const Result<void> done = marked_.append(id, marks, spans);
    if (!done.ok()) {  // the cache is full of forks: nothing may have changed
      EXPECT_EQ(done.error().code, ErrorCode::exhausted) << done.error().message();
      check(id, 3);
      return release(id);
    }
    shadow.marks.insert(shadow.marks.end(), marks.begin(), marks.end());
    shadow.spans.insert(shadow.spans.end(), spans.begin(), spans.end());
    longest_ = std::max(longest_, shadow.length());
    if (below(3) > 0) commit_at(id, shadow.length());
    check(id, 5);
  }

  int64_t outside_spans(const Shadow& shadow, int64_t length) const {
    for (const auto& [first, end] : shadow.spans)
      if (first < length && length < end) return first;
    return length;
  }
  int64_t first_needed(int64_t length) const { return std::max<int64_t>(0, length - shape_.window + 1); }
  bool resumable(const Shadow& shadow, int64_t length) const {
    if (outside_spans(shadow, length) != length) return false;
    return first_needed(length) >= std::min(length, shadow.front);
  }

  void commit(SeqId id) { commit_at(id, below(shadows_[id].length() + 1)); }
  void commit_at(SeqId id, int64_t length) {
    Shadow& shadow = shadows_[id];
    marked_.cache().commit(id, length);
    shadow.front = std::max(shadow.front, first_needed(outside_spans(shadow, length)) / 64 * 64);
  }

  static void shorten(Shadow& shadow, int64_t length) {
    shadow.marks.resize(static_cast<size_t>(length));
    std::erase_if(shadow.spans, [&](const auto& span) { return span.first >= length; });
    if (length == 0) shadow.front = 0;
  }

  void fork(SeqId id) {
    const int64_t length = shadows_[id].length() - below(std::min<int64_t>(shadows_[id].length() + 1, 100));
    const bool fits = resumable(shadows_[id], length);
    EXPECT_EQ(marked_.cache().resumable(id, length), fits) << length;
    const Result<SeqId> made = marked_.cache().fork(id, length);
    EXPECT_EQ(made.ok(), fits);
    if (!made.ok()) return;
    shadows_[*made] = shadows_[id];
    shorten(shadows_[*made], length);
    check(*made, 5);
    if (shadows_.size() > 5) release(id);
  }

  void truncate(SeqId id) {
    Shadow& shadow = shadows_[id];
    const int64_t asked = shadow.length() - below(below(2) == 0 ? 20 : shadow.length() + 1);
    int64_t expected = std::max<int64_t>(0, asked);
    while (!resumable(shadow, expected)) --expected;
    EXPECT_EQ(marked_.cache().truncate(id, asked), expected) << asked;
    shorten(shadow, expected);
    check(id, 5);
  }

  void save_and_restore(SeqId id) {
    testing::MemorySink sink;
    EXPECT_OK(marked_.cache().save(id, sink));
    if (below(2) == 0) {  // a stream that breaks off leaves nothing behind
      testing::MemoryReader part(
          std::span(sink.bytes).first(static_cast<size_t>(below(static_cast<int64_t>(sink.bytes.size())))));
      EXPECT_FALSE(marked_.cache().restore(part).ok());
    }
    Shadow shadow = shadows_[id];
    shadow.front = std::max(shadow.front, std::min(first_needed(shadow.length()), shadow.length()) / 64 * 64);
    if (below(2) == 0) release(id);
    testing::MemoryReader reader(sink.bytes);
    const Result<SeqId> made = marked_.cache().restore(reader);
    if (!made.ok()) {
      EXPECT_EQ(made.error().code, ErrorCode::exhausted) << made.error().message();
      return;
    }
    EXPECT_EQ(reader.remaining(), 0u);
    shadows_[*made] = shadow;
    check(*made, 2);
    if (shadows_.size() > 5) release(*made);
  }

  void release(SeqId id) {
    marked_.cache().release(id);
    shadows_.erase(id);
  }

  // Every `stride`-th position, and those around borders of window and blocks.
  void check(SeqId id, int64_t stride) {
    const Shadow& shadow = shadows_[id];
    ASSERT_EQ(marked_.cache().length(id), shadow.length());
    const int64_t seen = first_needed(shadow.length()), first = below(stride);
    for (int64_t p = 0; p < shadow.length(); ++p) {
      const bool border = p == seen || p + 1 == shadow.length() || p % 64 == 0 || p % 64 == 63;
      if (p % stride != first && !border) continue;
      for (const int layer : {1, 3})
        ASSERT_TRUE(marked_.shows(id, layer, p, shadow.marks[static_cast<size_t>(p)])) << p;
      if (p < seen || (p < shadow.front && shape_.window > 1)) continue;
      for (const int layer : {0, 2})
        ASSERT_TRUE(marked_.shows(id, layer, p, shadow.marks[static_cast<size_t>(p)])) << p;
    }
  }

  void check_blocks() {
    std::vector<SeqId> ids;
    for (const auto& [id, shadow] : shadows_) ids.push_back(id);
    for (const KvPool pool : {KvPool::sliding, KvPool::full})
      ASSERT_EQ(marked_.blocks_of(ids, pool), marked_.used(pool)) << "blocks in tables and blocks taken differ";
    if (!poisoned_ || ids.empty()) return;
    // Behind the longest sequence of all no position of a block is live, whoever shares it.
    marked_.cache().poison_unused();
    SeqId longest = ids.front();
    for (const SeqId id : ids)
      if (shadows_[id].length() > shadows_[longest].length()) longest = id;
    for (int64_t p = shadows_[longest].length(); p % 64 != 0; ++p)
      ASSERT_TRUE(marked_.poisoned(longest, 1, p) && (shape_.window == 1 || marked_.poisoned(longest, 0, p))) << p;
  }

  Shape shape_;
  Random random_;
  MarkedCache marked_;
  std::map<SeqId, Shadow> shadows_;
  int64_t longest_ = 0;
  bool poisoned_ = false;
};

TEST(KvCachePrograms, ManyShortOnes) {
  Random random(1);
  for (int i = 0; i < (testing::kSanitized ? 600 : 2400) && !HasFailure(); ++i) {
    const Shape shape{.window = kWindows[i % 6],
                      .context = 80 + random.below(200),
                      .chunk = 1 + static_cast<int64_t>(random.below(100)),
                      .type = kTypes[i / 6 % 4],
                      .sequences = 1 + static_cast<int>(random.below(3))};
    SCOPED_TRACE(cat("program ", i, ", window ", shape.window));
    Program(shape, static_cast<uint64_t>(i)).run(25);
  }
}

TEST(KvCachePrograms, LongOnesReachAThousandPositions) {
  int64_t longest = 0;
  for (int i = 0; i < (testing::kSanitized ? 24 : 60) && !HasFailure(); ++i) {
    const Shape shape{
        .window = kWindows[i % 6], .context = 1000, .chunk = 200, .type = kTypes[i / 6 % 4], .sequences = 3};
    SCOPED_TRACE(cat("program ", i, ", window ", shape.window));
    Program program(shape, 1000 + static_cast<uint64_t>(i));
    program.run(120);
    longest = std::max(longest, program.longest());
  }
  EXPECT_EQ(longest, 1000);
}

}  // namespace
}  // namespace facet::model
