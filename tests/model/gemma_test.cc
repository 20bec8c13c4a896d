// The model in use: what a pass costs beside its arithmetic.
#include "model/gemma.h"

#include <algorithm>
#include <numeric>

#include "base/strings.h"
#include "support/address_space.h"
#include "support/count_allocations.h"
#include "support/expect.h"
#include "support/paths.h"
#include "support/tiny_model.h"

namespace facet::model {
namespace {

using testing::bytes_allocated;
using testing::bytes_of_address_space;
using testing::TinyKind;

// Looks at logits in every way, and forgets them.
class Looks : public NoResults {
 public:
  void logit_row(int32_t, Logits& row) override {
    row.bounds();
    row.block(0);
    row.values();
  }
};

// Bytes that a pass of `rows` tokens behind `length` allocates.
int64_t bytes_of_pass(Gemma& model, SeqId id, int64_t length, int64_t rows) {
  const std::vector<Token> tokens(static_cast<size_t>(rows), 5);
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(length));
  const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(rows)};
  const OutputRow output{.row = static_cast<int32_t>(rows) - 1, .want = Want::both};
  Looks sink;
  const Batch batch{.tokens = tokens,
                    .positions = positions,
                    .sequences = {&range, 1},
                    .soft = {},
                    .bidirectional = {},
                    .outputs = {&output, 1},
                    .skip = Skip::on};
  const int64_t before = bytes_allocated();
  const Result<void> done = model.forward(batch, sink);
  const int64_t after = bytes_allocated();
  EXPECT_OK(done);
  model.commit(id, length + rows);
  return after - before;
}

// Calls check(checkpoint, config, arithmetic, pool) for every kind of tiny model in both arithmetics.
template <class Check>
void with_tiny_models(const Check& check) {
  for (const TinyKind kind : {TinyKind::per_layer, TinyKind::dense, TinyKind::experts}) {
    for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast}) {
      const testing::TemporaryFolder folder;
      testing::write_tiny_model(folder.path(), {.kind = kind});
      const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(folder.path());
      ASSERT_OK(checkpoint);
      const Result<Config> config = read_config(*checkpoint);
      ASSERT_OK(config);
      ThreadPool pool(1);
      check(*checkpoint, *config, arithmetic, pool);
    }
  }
}

TEST(Gemma, APassAllocatesNothing) {
  static constexpr int64_t kRows = 8;
  with_tiny_models([](const formats::Checkpoint& checkpoint, const Config& config, Arithmetic arithmetic,
                      ThreadPool& pool) {
    const Result<std::unique_ptr<Gemma>> model =
        Gemma::load(checkpoint, config, {.arithmetic = arithmetic, .pool = &pool, .kv = {}, .max_batch_rows = kRows});
    ASSERT_OK(model);
    const Result<SeqId> id = (*model)->create_sequence();
    ASSERT_OK(id);
    int64_t length = 0;
    for (const int64_t rows : {kRows, int64_t{3}}) {
      EXPECT_EQ(bytes_of_pass(**model, *id, length, rows), 0) << rows << " rows";
      length += rows;
    }
    for (int step = 0; step < 130; ++step)  // over two borders of blocks
      ASSERT_EQ(bytes_of_pass(**model, *id, length++, 1), 0) << "step " << step;
  });
}

// Batches and contexts so large that weights and the heap are nothing beside them.
TEST(Gemma, LoadingTakesTheBytesThatItWasSaidToNeed) {
  with_tiny_models(
      [](const formats::Checkpoint& checkpoint, const Config& config, Arithmetic arithmetic, ThreadPool& pool) {
        const GemmaOptions options{.arithmetic = arithmetic,
                                   .pool = &pool,
                                   .kv = {.context = 1 << 16, .sequences = 5, .fork_rewind = 64},
                                   .max_batch_rows = 1 << 15};
        const Result<ModelBytes> needed = Gemma::bytes_needed(checkpoint, config, options);
        ASSERT_OK(needed);
        const int64_t before = bytes_of_address_space();
        const Result<std::unique_ptr<Gemma>> model = Gemma::load(checkpoint, config, options);
        const double taken = static_cast<double>(bytes_of_address_space() - before);
        ASSERT_OK(model);
        EXPECT_EQ(needed->weights, (*model)->weight_bytes());
        EXPECT_GT(needed->tables, 0);
        const int64_t buffers = needed->kv_sliding + needed->kv_full + needed->scratch + needed->logits;
        const double said = static_cast<double>(needed->weights + buffers);
        EXPECT_GT(buffers, 20 * needed->weights);
        EXPECT_NEAR(taken, said, said / 50);
      });
}

// A table that tells when it is asked for rows and when they are read.
class WatchedRows : public RowSource {
 public:
  WatchedRows(const RowSource& table, std::string name, std::string& log)
      : table_(table), name_(std::move(name)), log_(log) {}
  bool fails = false;
  DType type() const override { return table_.type(); }
  int64_t rows() const override { return table_.rows(); }
  int64_t cols() const override { return table_.cols(); }
  Result<const std::byte*> row(int64_t i) const override {
    log_ += cat(name_, i, " ");
    if (fails) return Error{.code = ErrorCode::io, .what = "cannot read", .where = name_};
    return table_.row(i);
  }
  void prefetch(int64_t i) const override { log_ += cat("?", name_, i, " "); }

 private:
  const RowSource& table_;
  std::string name_;
  std::string& log_;
};

TEST(Gemma, AsksForTableRowsBeforeItReadsThemAndFailsBeforeLayer0) {
  const testing::TemporaryFolder folder;
  testing::write_tiny_model(folder.path(), {.kind = TinyKind::per_layer});
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(folder.path());
  ASSERT_OK(checkpoint);
  const Result<Config> config = read_config(*checkpoint);
  ASSERT_OK(config);
  ThreadPool pool(1);
  const Result<std::unique_ptr<Gemma>> loaded =
      Gemma::load(*checkpoint, *config, {.pool = &pool, .kv = {}, .max_batch_rows = 8});
  ASSERT_OK(loaded);
  Gemma& model = **loaded;
  Weights& weights = model.text().weights();
  std::string log;
  const WatchedRows tokens(*weights.tokens, "t", log);
  WatchedRows ple(*weights.ple_tokens, "p", log);
  weights.tokens = &tokens;
  weights.ple_tokens = &ple;

  model.prefetch(std::vector<Token>{7, -1, static_cast<Token>(config->vocab_size)});
  EXPECT_EQ(log, "?t7 ?p7 ") << "ids outside the vocabulary mean nothing";
  log.clear();
  const Result<SeqId> id = model.create_sequence();
  ASSERT_OK(id);
  bytes_of_pass(model, *id, 0, 2);
  EXPECT_EQ(log, "?t5 ?p5 ?t5 ?p5 t5 t5 p5 p5 ");

  ple.fails = true;
  const Token token = 5;
  const int32_t position = 2;
  const SeqRange range{.sequence = *id, .first_row = 0, .rows = 1};
  NoResults sink;
  const Result<void> done = model.forward({.tokens = {&token, 1},
                                           .positions = {&position, 1},
                                           .sequences = {&range, 1},
                                           .soft = {},
                                           .bidirectional = {},
                                           .outputs = {},
                                           .skip = Skip::on},
                                          sink);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::io);
  EXPECT_EQ(model.length(*id), 2);
}

}  // namespace
}  // namespace facet::model
