#include "verify/run.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/random.h"
#include "base/strings.h"
#include "engine/load_gemma.h"
#include "engine/memory_plan.h"
#include "engine/types_at_load.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "verify/record.h"

namespace facet::verify {
namespace {

// Numbers of rows that bring every tile of the multiplications to work: fours, twos, ones; sixes and twelves.
constexpr int32_t kFreshRows = 6, kLateRows = 9;
constexpr int64_t kMostRows = 16;
constexpr uint64_t kSeed = 20260401;

Error cancelled() { return {.code = ErrorCode::cancelled, .what = "verification was stopped"}; }

// Positions before the late rows: beyond the window and a group of keys, and so that these rows cross the border of a
// block, and their windows another one.
int64_t history_of(const model::Config& config) {
  constexpr int64_t kBlock = kernels::kKvBlockKeys;
  const int64_t behind = std::max<int64_t>(config.window, kernels::kKvGroupKeys) + kBlock / 2;
  return (behind + kBlock - 1) / kBlock * kBlock - 4;
}

class VerifyRun {
 public:
  VerifyRun(const engine::ModelFiles& files, const Options& options)
      : files_(files), options_(options), pool_(threads_or_all(options.load.threads)), random_(kSeed) {}

  Result<Report> run();

 private:
  Result<void> load();
  Result<SeqId> sequence_with_history();
  void write_history(SeqId id, int64_t rows);
  Result<void> check(std::span<const SeqRange> sequences);
  void check_part(int layer, const Record& record, const BatchRows& batch);
  void describe();
  Token any_token() { return static_cast<Token>(random_.below(static_cast<uint32_t>(files_.config.vocab_size))); }

  const engine::ModelFiles& files_;
  const Options& options_;
  ThreadPool pool_;
  Random random_;
  formats::TypeMap types_;
  const kernels::Table* table_ = nullptr;  // the tier's own
  kernels::Table kernels_{};               // what the model runs with
  model::KvOptions kv_;
  std::unique_ptr<model::Gemma> model_;
  std::optional<SourceWeights> source_;
  Report report_;
  int64_t done_ = 0, total_ = 0;
  bool stopped_ = false;
};

Result<void> VerifyRun::load() {
  if (!files_.checkpoint)
    return Error{.code = ErrorCode::unsupported, .what = "a puppet has no weights", .where = files_.path};
  FACET_TRY(table_, engine::table_named(options_.load.isa));
  if (options_.table != nullptr) table_ = options_.table;
  kernels_ = *table_;
  if (options_.change_kernels) options_.change_kernels(kernels_);
  model::Config config = files_.config;
  if (options_.change_config) options_.change_config(config);
  FACET_TRY(types_, engine::types_at_load(files_, options_.load.quant, report_.remarks));
  FACET_TRY(kv_, engine::kv_options(options_.load));
  kv_.context = history_of(files_.config) + kMostRows;
  kv_.sequences = 2;
  kv_.fork_rewind = -1;
  engine::CallbackProgress progress(options_.load.progress);
  const model::GemmaOptions gemma{.arithmetic = options_.load.exact ? Arithmetic::f32 : Arithmetic::fast,
                                  .kernels = &kernels_,
                                  .pool = &pool_,
                                  .kv = kv_,
                                  .max_batch_rows = kMostRows,
                                  .types = &types_,
                                  .progress = &progress};
  FACET_TRY(model_, model::Gemma::load(*files_.checkpoint, config, gemma));
  FACET_TRY(source_, SourceWeights::open(*files_.checkpoint, files_.config, *table_, types_));
  if (options_.change_model) options_.change_model(*model_);
  return {};
}

// Keys of unit rms times the norm's weight, values of unit rms, for every storing layer, chunk by chunk.
Result<SeqId> VerifyRun::sequence_with_history() {
  FACET_TRY(const SeqId id, model_->create_sequence());
  const int64_t all = history_of(files_.config);
  for (int64_t done = 0; done < all; done += kMostRows) {
    const int64_t rows = std::min(kMostRows, all - done);
    FACET_TRY_VOID(model_->cache().reserve(id, rows));
    write_history(id, rows);
    model_->cache().advance(id, rows);
    model_->commit(id, done + rows);
  }
  return id;
}

void VerifyRun::write_history(SeqId id, int64_t rows) {
  Context ctx = model_->context();
  for (int layer = 0; layer < files_.config.n_layers(); ++layer) {
    const model::LayerConfig& config = files_.config.layers[static_cast<size_t>(layer)];
    if (config.shares_kv) continue;
    const std::vector<double> w = source_->norm(model::tensors::kKeyNorm, layer);
    const int64_t cols = config.kv_heads * config.head_dim;
    std::vector<float> k(static_cast<size_t>(rows * cols)), v(k.size());
    const auto unit = [&] { return std::sqrt(3.0) * (2 * random_.uniform() - 1); };
    for (size_t i = 0; i < k.size(); ++i) {
      k[i] = static_cast<float>(unit() * w[i % w.size()]);
      v[i] = static_cast<float>(unit());
    }
    ops::write_kv(ctx, model_->cache().writer(layer, id), Mat<const float>(k.data(), rows, cols),
                  Mat<const float>(v.data(), rows, cols));
  }
}

// One forward call of consecutive rows of these sequences, every part of it checked.
Result<void> VerifyRun::check(std::span<const SeqRange> sequences) {
  std::vector<Token> tokens;
  std::vector<int32_t> positions;
  std::vector<OutputRow> outputs;
  for (const SeqRange& range : sequences)
    for (int32_t i = 0; i < range.rows; ++i) {
      outputs.push_back({.row = static_cast<int32_t>(tokens.size())});
      tokens.push_back(any_token());
      positions.push_back(static_cast<int32_t>(model_->length(range.sequence)) + i);
    }
  if (tokens.size() > 1 && !files_.config.placeholders.empty()) tokens[1] = files_.config.placeholders.front();

  const BatchRows batch{.tokens = tokens, .positions = positions, .sequences = sequences};
  Recorder recorder(
      files_.config.n_layers(), files_.config.ple_width * files_.config.n_layers(),
      [&](int layer, const Record& record) { check_part(layer, record, batch); }, options_.interfere);
  model_->set_observer(&recorder);
  NoResults sink;
  const Result<void> result = model_->forward({.tokens = tokens,
                                               .positions = positions,
                                               .sequences = sequences,
                                               .soft = {},
                                               .bidirectional = {},
                                               .outputs = outputs,
                                               .skip = Skip::on},
                                              sink);
  model_->set_observer(nullptr);
  if (stopped_) return cancelled();
  return result;
}

void VerifyRun::check_part(int layer, const Record& record, const BatchRows& batch) {
  if (stopped_) return;
  const int n_layers = files_.config.n_layers();
  const Setup setup{.source = *source_,
                    .config = files_.config,
                    .kernels = *table_,
                    .arithmetic = options_.load.exact ? Arithmetic::f32 : Arithmetic::fast,
                    .kv = kv_,
                    .cache = model_->cache(),
                    .pool = pool_,
                    .rows = options_.rows};
  PartCheck check(setup, batch, record, report_.parts[static_cast<size_t>(layer + 1)]);
  if (layer < 0) {
    check.embedding();
  } else if (layer < n_layers) {
    check.layer(layer);
  } else {
    check.head();
  }
  stopped_ = options_.load.progress && !options_.load.progress("verifying", ++done_, total_);
}

void VerifyRun::describe() {
  report_.isa = kernels::name(table_->isa);
  report_.threads = pool_.n_threads();
  std::set<DType> types;
  const auto add = [&](const Linear& linear) {
    if (!linear.weight.data.empty()) types.insert(linear.weight.type);
  };
  const model::Weights& w = model_->text().weights();
  for (const Linear* linear : {&w.head, &w.ple_context_before, &w.ple_context_after}) add(*linear);
  for (const model::LayerWeights& layer : w.layers)
    for (const Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.ffn_gate,
                                 &layer.ffn_up, &layer.ffn_down, &layer.router, &layer.experts_gate_up,
                                 &layer.experts_down, &layer.ple_gate, &layer.ple_projection})
      add(*linear);
  for (const DType type : types) report_.weight_types.emplace_back(name(type));
  for (Part& part : report_.parts)
    for (Step& step : part.steps) {
      report_.values += step.values;
      if (step.first) step.first->part = part.name;
      if (step.first && !report_.first) report_.first = step.first;
    }
}

Result<Report> VerifyRun::run() {
  FACET_TRY_VOID(load());
  const int n_layers = files_.config.n_layers();
  report_.parts.push_back({.name = "embedding", .steps = {}});
  for (int layer = 0; layer < n_layers; ++layer) report_.parts.push_back({.name = cat("layer ", layer), .steps = {}});
  report_.parts.push_back({.name = "head", .steps = {}});
  total_ = 2 * (n_layers + 2);

  FACET_TRY(const SeqId fresh, model_->create_sequence());
  FACET_TRY(const SeqId late, sequence_with_history());
  const SeqRange many[] = {{.sequence = fresh, .first_row = 0, .rows = kFreshRows},
                           {.sequence = late, .first_row = kFreshRows, .rows = kLateRows}};
  FACET_TRY_VOID(check(many));
  const SeqRange one[] = {{.sequence = late, .first_row = 0, .rows = 1}};
  FACET_TRY_VOID(check(one));
  describe();
  return std::move(report_);
}

}  // namespace

Result<Report> run(const engine::ModelFiles& files, const Options& options) { return VerifyRun(files, options).run(); }

}  // namespace facet::verify
