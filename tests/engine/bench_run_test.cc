// What facet bench measures: that the work it counts is the work that is done, and that it refuses what makes no sense.
#include "engine/bench_run.h"

#include <map>

#include <gtest/gtest.h>

#include "support/expect.h"
#include "support/paths.h"

namespace facet::engine {
namespace {

using facet::testing::source_path;

constexpr int64_t kRows = 5;

// Counts the rows that each linear multiplies, and notes the last layer that attends.
class Products : public ops::Observer {
 public:
  void tap(std::string_view name, int layer, Mat<float>, std::span<const int32_t>) override {
    if (name == "attn_out") last_attention = layer;
  }
  void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
  void linear_input(const ops::LinearInput& input) override { rows[{input.id.layer, input.id.role}] += input.count(); }

  std::map<std::pair<int, LinearRole>, int64_t> rows;
  int last_attention = -1;
};

Result<void> run_rows(model::Gemma& model, bool wants_logits, Skip skip) {
  FACET_TRY(const SeqId id, model.create_sequence());
  const std::vector<Token> tokens = {1, 2, 3, 4, 5};
  const std::vector<int32_t> positions = {0, 1, 2, 3, 4};
  const SeqRange range{.sequence = id, .first_row = 0, .rows = kRows};
  const OutputRow last{.row = kRows - 1};
  NoResults sink;
  return model.forward({.tokens = tokens,
                        .positions = positions,
                        .sequences = {&range, 1},
                        .soft = {},
                        .bidirectional = {},
                        .outputs = {&last, wants_logits ? size_t{1} : size_t{0}},
                        .skip = skip},
                       sink);
}

double twice(int64_t rows, const Linear& linear) {
  return 2.0 * static_cast<double>(rows * linear.weight.rows * linear.weight.cols);
}

// Two for each element of a weight and row that multiplies it, and those of attention. late: rows that the context half
// of the late per-layer inputs is made for; both halves have one id.
double operations_seen(const model::Gemma& model, Products& seen, int64_t late) {
  const model::Config& config = model.text().config();
  const model::Weights& weights = model.text().weights();
  double sum = twice(seen.rows[{-1, LinearRole::head}], weights.head);
  if (config.ple_width > 0) {
    EXPECT_EQ((seen.rows[{-1, LinearRole::ple_context}]), kRows + late);
    sum += twice(kRows, weights.ple_context_before) + twice(late, weights.ple_context_after);
  }
  for (const model::LayerWeights& w : weights.layers)
    for (const Linear* linear : {&w.query, &w.key, &w.value, &w.attention_output, &w.ffn_gate, &w.ffn_up, &w.ffn_down,
                                 &w.router, &w.experts_gate_up, &w.experts_down, &w.ple_gate, &w.ple_projection})
      if (!linear->weight.data.empty()) sum += twice(seen.rows[{linear->id.layer, linear->id.role}], *linear);
  for (const model::LayerPlan& layer : model.text().plan().layers) {
    const int64_t rows = layer.index <= seen.last_attention ? seen.rows[{layer.index, LinearRole::query}] : 0;
    for (int64_t p = kRows - rows; p < kRows; ++p)  // the window is longer
      sum += 4.0 * static_cast<double>(config.heads * layer.head_dim * (p + 1));
  }
  return sum;
}

class BenchRunTest : public ::testing::Test {
 protected:
  static std::unique_ptr<ModelFiles> open(const std::string& name) {
    Result<std::unique_ptr<ModelFiles>> files =
        ModelFiles::open(source_path("tests/golden/data/gguf/" + name).string(), Vocabulary::optional);
    EXPECT_OK(files);
    return *std::move(files);
  }
  std::unique_ptr<ModelFiles> nano_ = open("nano-q4_0.gguf"), experts_ = open("moe-micro-q4_k_m.gguf");
};

TEST_F(BenchRunTest, CountsTheProductsThatHappen) {
  for (const ModelFiles* files : {nano_.get(), experts_.get()})
    for (const Skip skip : {Skip::on, Skip::off})
      for (const bool wants_logits : {true, false}) {
        SCOPED_TRACE(::testing::Message()
                     << files->path << (skip == Skip::on ? ", skips" : "") << (wants_logits ? ", logits" : ""));
        ThreadPool pool(1);
        LoadOptions options;
        options.context = 64;
        Result<LoadedGemma> loaded = load_gemma(*files, options, pool);
        ASSERT_OK(loaded);
        model::Gemma& model = *loaded->model;
        Products seen;
        model.set_observer(&seen);
        ASSERT_OK(run_rows(model, wants_logits, skip));
        const Work work = work_of(model, {.rows = kRows, .wants_logits = wants_logits, .skip = skip});
        EXPECT_EQ(work.operations, operations_seen(model, seen, skip == Skip::off ? kRows : wants_logits ? 1 : 0));
        EXPECT_GT(work.kv_bytes, 0);
        EXPECT_LE(work.weight_bytes, static_cast<double>(model.packed_bytes()));
      }
}

TEST_F(BenchRunTest, AStepReadsAllWeightsOnce) {
  ThreadPool pool(1);
  LoadOptions options;
  options.context = 256;
  const Result<LoadedGemma> loaded = load_gemma(*nano_, options, pool);
  ASSERT_OK(loaded);
  const Work near = work_of(*loaded->model, {.first = 0}), far = work_of(*loaded->model, {.first = 200});
  EXPECT_EQ(near.weight_bytes, static_cast<double>(loaded->model->packed_bytes()));
  EXPECT_EQ(far.weight_bytes, near.weight_bytes);
  EXPECT_GT(far.kv_bytes, near.kv_bytes);
  const Work two = work_of(*loaded->model, {.first = 200, .sequences = 2});
  EXPECT_EQ(two.weight_bytes, far.weight_bytes);
  EXPECT_EQ(two.kv_bytes, 2 * far.kv_bytes);
  EXPECT_EQ(two.operations, 2 * far.operations);
}

TEST_F(BenchRunTest, MeasuresEveryKindOfTest) {
  BenchOptions options;
  options.load.threads = 2;
  options.load.batch_rows = 32;
  options.repetitions = 2;
  options.sample = true;
  const std::vector<BenchTest> tests = {{.kind = BenchKind::read, .tokens = 70},
                                        {.kind = BenchKind::write, .tokens = 3, .parallel = 3},
                                        {.kind = BenchKind::read, .tokens = 40, .depth = 100},
                                        {.kind = BenchKind::write, .tokens = 3, .depth = 100, .parallel = 2},
                                        {.kind = BenchKind::write, .tokens = 80, .depth = 150},
                                        {.kind = BenchKind::write, .tokens = 2, .depth = 20, .parallel = 3}};
  Result<std::unique_ptr<BenchRun>> run = BenchRun::load(*nano_, tests, options);
  ASSERT_OK(run);
  EXPECT_EQ((*run)->context(), 230);
  for (const BenchTest& test : tests) {
    const Result<BenchResult> result = (*run)->run(test, [] { return true; });
    ASSERT_OK(result);
    ASSERT_EQ(result->seconds.size(), 2u);
    EXPECT_GT(result->best_seconds(), 0);
    EXPECT_GE(result->median_seconds(), result->best_seconds());
    EXPECT_EQ(result->tokens, static_cast<double>(test.tokens * test.parallel));
    EXPECT_GT(result->machine.read_bytes_per_s, 1e8);
    EXPECT_GT(result->machine.int8_ops_per_s, 1e8);
    EXPECT_GT(result->work.operations, 0);
  }
  const Result<BenchResult> stopped = (*run)->run(tests[0], [] { return false; });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

TEST_F(BenchRunTest, RefusesWhatMakesNoSense) {
  const auto code = [&](const BenchTest& test, const BenchOptions& options = {}) {
    const Result<std::unique_ptr<BenchRun>> run = BenchRun::load(*nano_, {&test, 1}, options);
    return run.ok() ? "none" : name(run.error().code);
  };
  const std::string bad = name(ErrorCode::invalid_argument);
  EXPECT_EQ(code({.tokens = 0}), bad);
  EXPECT_EQ(code({.tokens = 1, .depth = -1}), bad);
  EXPECT_EQ(code({.kind = BenchKind::read, .tokens = 1, .parallel = 2}), bad);
  EXPECT_EQ(code({.kind = BenchKind::write, .tokens = 1, .parallel = 513}), bad);
  BenchOptions never;
  never.repetitions = 0;
  EXPECT_EQ(code({.tokens = 1}, never), bad);
  EXPECT_EQ(BenchRun::load(*nano_, {}, {}).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace facet::engine
