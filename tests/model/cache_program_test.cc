// Cached equals fresh, bit for bit: random programs run tiny models over forks, cuts, commits, chunks, mixed batches,
// saved and restored sequences, with poison in everything that is not live before every pass. Each row of logits that a
// program saw is compared with the same row of one pass over the whole sequence from an empty cache.
#include <cstring>
#include <map>

#include "base/random.h"
#include "base/strings.h"
#include "model/cache_settings.h"
#include "model/gemma.h"
#include "support/byte_stream.h"
#include "support/expect.h"
#include "support/paths.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

namespace facet::model {
namespace {

using testing::TinyKind;
using testing::TinyModel;

class Rows : public ResultSink {
 public:
  void logits(int32_t output, std::span<const float> values) override {
    rows[output].assign(values.begin(), values.end());
  }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}
  std::map<int32_t, std::vector<float>> rows;
};

// One model with its own cache.
class Loaded {
 public:
  Loaded(const TinyModel& tiny, const KvOptions& kv, int64_t max_rows, const kernels::Table& kernels) : pool_(1) {
    testing::write_tiny_model(folder_.path(), tiny);
    Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(folder_.path());
    EXPECT_OK(checkpoint);
    checkpoint_ = std::make_unique<formats::Checkpoint>(*std::move(checkpoint));
    Result<Config> config = read_config(*checkpoint_);
    EXPECT_OK(config);
    Result<std::unique_ptr<Gemma>> model = Gemma::load(
        *checkpoint_, *config,
        {.arithmetic = Arithmetic::f32, .kernels = &kernels, .pool = &pool_, .kv = kv, .max_batch_rows = max_rows});
    EXPECT_OK(model);
    model_ = *std::move(model);
  }
  Gemma& operator*() { return *model_; }
  Gemma* operator->() { return model_.get(); }

 private:
  testing::TemporaryFolder folder_;
  ThreadPool pool_;
  std::unique_ptr<formats::Checkpoint> checkpoint_;
  std::unique_ptr<Gemma> model_;
};

struct Sequence {
  std::vector<Token> tokens;
  std::vector<std::pair<int32_t, int32_t>> spans;  // positions that see each other
  std::map<int32_t, std::vector<float>> seen;      // logits by position

  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  void shorten(int64_t length) {
    tokens.resize(static_cast<size_t>(length));
    std::erase_if(spans, [&](const auto& span) { return span.first >= length; });
    std::erase_if(seen, [&](const auto& row) { return row.first >= length; });
  }
};

struct Setting {
  TinyKind kind;
  int64_t window;
  DType type;
  int64_t context, chunk;
};

// A cached model and a fresh one, and the programs that run on them.
class Duel {
 public:
  Duel(const Setting& setting, const kernels::Table& kernels)
      : setting_(setting),
        tiny_{.kind = setting.kind, .window = setting.window},
        cached_(tiny_, options(4), setting.chunk, kernels),
        fresh_(tiny_, options(1), setting.context, kernels) {}

  void program(uint64_t seed, int steps) {
    random_ = Random(seed);
    const int64_t sliding = cached_->cache().free_blocks(KvPool::sliding);
    const int64_t full = cached_->cache().free_blocks(KvPool::full);
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) step();
    while (!live_.empty()) {
      compare(live_.begin()->second);
      release(live_.begin()->first);
    }
    EXPECT_EQ(cached_->cache().free_blocks(KvPool::sliding), sliding);
    EXPECT_EQ(cached_->cache().free_blocks(KvPool::full), full);
  }

  int64_t compared() const { return compared_; }
  int64_t longest() const { return longest_; }

 private:
  KvOptions options(int sequences) const {
    return {.sliding_k = setting_.type,
            .sliding_v = setting_.type,
            .full_k = setting_.type,
            .full_v = setting_.type,
            .context = setting_.context,
            .sequences = sequences};
  }
  int64_t below(int64_t bound) { return random_.below(static_cast<uint32_t>(std::max<int64_t>(1, bound))); }
  SeqId any() { return std::next(live_.begin(), below(static_cast<int64_t>(live_.size())))->first; }

  void step() {
    const int64_t what = below(100);
    if (live_.empty() || (what < 8 && live_.size() < 3)) return create();
    if (what < 62) return forward();
    if (what < 74) return fork();
    if (what < 86) return truncate();
    if (what < 92) return commit();
    if (what < 96) return save_and_restore();
    const SeqId id = any();
    compare(live_[id]);
    release(id);
  }

  void create() {
    const Result<SeqId> id = cached_->create_sequence();
    ASSERT_OK(id);
    live_[*id] = {};
  }

  void release(SeqId id) {
    cached_->release(id);
    live_.erase(id);
  }

  // New rows for one sequence or several, in one batch.
  void forward() {
    std::vector<Token> tokens;
    std::vector<int32_t> positions;
    std::vector<SeqRange> ranges;
    std::vector<RowSpan> spans;
    std::vector<OutputRow> outputs;
    int64_t room = setting_.chunk;
    for (auto& [id, sequence] : live_) {
      if (live_.size() > 1 && below(2) == 0) continue;
      const int64_t most = below(3) == 0 ? room : std::min<int64_t>(room, 5);
      const int64_t rows = std::min({room, 1 + below(most), setting_.context - sequence.length()});
      if (rows <= 0) continue;
      const int32_t first_row = static_cast<int32_t>(tokens.size());
      ranges.push_back({.sequence = id, .first_row = first_row, .rows = static_cast<int32_t>(rows)});
      if (setting_.kind != TinyKind::per_layer && rows > 2 && below(3) == 0) {
        const int32_t first = static_cast<int32_t>(below(rows - 1));
        spans.push_back({.first_row = first_row + first, .rows = 1 + static_cast<int32_t>(below(rows - first))});
      }
      for (int32_t i = 0; i < rows; ++i) {
        tokens.push_back(static_cast<Token>(3 + below(TinyModel::kVocab - 3)));
        positions.push_back(sequence.length() + i);
        if (i + 1 == rows || below(8) == 0) outputs.push_back({.row = first_row + i});
      }
      room -= rows;
    }
    if (ranges.empty()) return;
    if (below(4) == 0) outputs.clear();  // a chunk of a prompt
    cached_->cache().poison_unused();
    Rows rows;
    const Batch batch{.tokens = tokens,
                      .positions = positions,
                      .sequences = ranges,
                      .soft = {},
                      .bidirectional = spans,
                      .outputs = outputs,
                      .skip = below(4) == 0 ? Skip::off : Skip::on};
    if (const Result<void> done = cached_->forward(batch, rows); !done.ok()) {
      // Forks hold the blocks, or a later sequence of the batch found none: nothing has changed.
      ASSERT_EQ(done.error().code, ErrorCode::exhausted) << done.error().message();
      return release(any());
    }
    for (const SeqRange& range : ranges) {
      Sequence& sequence = live_[range.sequence];
      for (const RowSpan& span : spans)
        if (span.first_row >= range.first_row && span.first_row < range.first_row + range.rows)
          sequence.spans.emplace_back(sequence.length() + span.first_row - range.first_row,
                                      sequence.length() + span.first_row - range.first_row + span.rows);
      for (size_t i = 0; i < outputs.size(); ++i)
        if (outputs[i].row >= range.first_row && outputs[i].row < range.first_row + range.rows)
          sequence.seen[sequence.length() + outputs[i].row - range.first_row] = rows.rows[static_cast<int32_t>(i)];
      sequence.tokens.insert(sequence.tokens.end(), tokens.begin() + range.first_row,
                             tokens.begin() + range.first_row + range.rows);
      longest_ = std::max<int64_t>(longest_, sequence.length());
      if (below(3) > 0) cached_->commit(range.sequence, sequence.length());
    }
  }

  void fork() {
    const SeqId id = any();
    const int64_t length = live_[id].length() - below(std::min<int64_t>(live_[id].length() + 1, 40));
    if (!cached_->cache().resumable(id, length)) return;
    if (live_.size() >= 4) release(live_.begin()->first == id ? live_.rbegin()->first : live_.begin()->first);
    const Result<SeqId> made = cached_->fork(id, length);
    ASSERT_OK(made);
    live_[*made] = live_[id];
    live_[*made].shorten(length);
  }

  void truncate() {
    const SeqId id = any();
    const int64_t asked = live_[id].length() - below(std::min<int64_t>(live_[id].length() + 1, 40));
    live_[id].shorten(cached_->truncate(id, asked));
  }

  void commit() {
    const SeqId id = any();
    cached_->commit(id, below(live_[id].length() + 1));
  }

  void save_and_restore() {
    const SeqId id = any();
    testing::MemorySink sink;
    ASSERT_OK(cached_->save(id, sink));
    const Sequence kept = live_[id];
    release(id);
    cached_->cache().poison_unused();
    testing::MemoryReader reader(sink.bytes);
    const Result<SeqId> made = cached_->restore(reader);
    ASSERT_OK(made);
    live_[*made] = kept;
  }

  void compare(const Sequence& sequence) {
    if (sequence.seen.empty()) return;
    const Result<SeqId> id = fresh_->create_sequence();
    ASSERT_OK(id);
    std::vector<int32_t> positions;
    for (int32_t p = 0; p < sequence.length(); ++p) positions.push_back(p);
    std::vector<OutputRow> outputs;
    for (const auto& [position, logits] : sequence.seen) outputs.push_back({.row = position});
    std::vector<RowSpan> spans;
    for (const auto& [first, end] : sequence.spans) spans.push_back({.first_row = first, .rows = end - first});
    const SeqRange range{.sequence = *id, .first_row = 0, .rows = sequence.length()};
    Rows rows;
    const Batch batch{.tokens = sequence.tokens,
                      .positions = positions,
                      .sequences = std::span(&range, 1),
                      .soft = {},
                      .bidirectional = spans,
                      .outputs = outputs};
    ASSERT_OK(fresh_->forward(batch, rows));
    fresh_->release(*id);
    int32_t i = 0;
    for (const auto& [position, logits] : sequence.seen) {
      const std::vector<float>& expected = rows.rows[i++];
      ASSERT_EQ(expected.size(), logits.size());
      ASSERT_EQ(std::memcmp(expected.data(), logits.data(), logits.size() * sizeof(float)), 0)
          << "position " << position << " of " << sequence.length() << ": " << logits[0] << ", fresh " << expected[0];
      ++compared_;
    }
  }

  Setting setting_;
  TinyModel tiny_;
  Loaded cached_, fresh_;
  Random random_{0};
  std::map<SeqId, Sequence> live_;
  int64_t compared_ = 0, longest_ = 0;
};

constexpr TinyKind kKinds[] = {TinyKind::per_layer, TinyKind::dense, TinyKind::experts};

void run(const Setting& setting, const kernels::Table& kernels, uint64_t seed, int programs, int steps,
         int64_t& compared, int64_t& longest) {
  Duel duel(setting, kernels);
  for (int i = 0; i < programs && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(cat("window ", setting.window, ", ", name(setting.type), ", kind ", static_cast<int>(setting.kind),
                     ", chunk ", setting.chunk, ", tier ", kernels::name(kernels.isa), ", program ", i));
    duel.program(seed + static_cast<uint64_t>(i), steps);
  }
  compared += duel.compared();
  longest = std::max(longest, duel.longest());
}

TEST(CachePrograms, CachedEqualsFreshInManyShortOnes) {
  constexpr int kPrograms = testing::kSanitized ? 10 : 40;  // of each setting
  int64_t compared = 0, longest = 0;
  Random random(3);
  for (const int64_t window : kWindows)
    for (const DType type : kTypes)
      for (const TinyKind kind : kKinds) {
        const int64_t chunk = int64_t{1} << (1 + random.below(6));
        run({.kind = kind, .window = window, .type = type, .context = 140, .chunk = chunk}, kernels::best_table(),
            random.next(), kPrograms, 14, compared, longest);
      }
  EXPECT_GT(compared, 250 * kPrograms);
  EXPECT_EQ(longest, 140);
}

TEST(CachePrograms, CachedEqualsFreshOnEveryTier) {
  int64_t compared = 0, longest = 0;
  for (const kernels::Table& kernels : kernels::usable_tables())
    for (const DType type : {DType::bf16, DType::i8})
      for (const TinyKind kind : kKinds)
        run({.kind = kind, .window = 5, .type = type, .context = 140, .chunk = 20}, kernels, 77, 20, 14, compared,
            longest);
  EXPECT_GT(compared, 500);
}

TEST(CachePrograms, CachedEqualsFreshUpToAThousandPositions) {
  int number = 0;
  for (const int64_t window : kWindows) {
    const int n = number++;
    int64_t compared = 0, longest = 0;
    run({.kind = kKinds[n % 3], .window = window, .type = kTypes[(n + 1) / 2 % 4], .context = 1000, .chunk = 250},
        kernels::best_table(), 500 + static_cast<uint64_t>(n), 2, 130, compared, longest);
    EXPECT_EQ(longest, 1000) << window;
    EXPECT_GT(compared, 100) << window;
  }
}

}  // namespace
}  // namespace facet::model
