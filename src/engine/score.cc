// Engine::score and Engine::embed: given tokens, nothing is sampled.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "engine/engine_state.h"
#include "engine/guard.h"

namespace facet {
namespace {

// Releases a sequence when its work is done.
class Borrowed {
 public:
  Borrowed(model::LanguageModel& model, SeqId id) : model_(model), id_(id) {}
  ~Borrowed() { model_.release(id_); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

 private:
  model::LanguageModel& model_;
  SeqId id_;
};

class LogprobSink : public ResultSink {
 public:
  void logits(int32_t, std::span<const float>) override {}
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float value) override { values.push_back(value); }
  std::vector<float> values;
};

Error not_finite(const char* what, size_t token, float value) {
  return {.code = ErrorCode::non_finite,
          .what = what,
          .where = cat("token ", token),
          .found = std::isnan(value) ? "NaN" : "infinity"};
}

// Hands each row on, until somebody has had enough or a row is not finite.
class LogitsSink : public ResultSink {
 public:
  LogitsSink(const Engine::LogitsCallback& on_logits, int64_t positions) : on_logits_(on_logits), left_(positions) {}
  void logits(int32_t, std::span<const float> values) override {
    if (left_-- <= 0 || stopped_) return;
    float sum = 0;  // NaN where a value is not finite
    for (const float value : values) sum += value * 0.0f;
    if (sum != 0.0f) {
      result_ = Error{.code = ErrorCode::non_finite,
                      .what = "a logit is not a finite number",
                      .where = cat("position ", position_)};
      stopped_ = true;
      return;
    }
    if (on_logits_(position_++, values)) return;
    result_ = Error{.code = ErrorCode::cancelled, .what = "was stopped", .where = "request"};
    stopped_ = true;
  }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}
  bool stopped() const { return stopped_; }
  const Result<void>& result() const { return result_; }

 private:
  const Engine::LogitsCallback& on_logits_;
  int64_t left_, position_ = 0;
  bool stopped_ = false;
  Result<void> result_;
};

// Keeps the last row, the sum of all, and the first value that is not finite.
class HiddenSink : public ResultSink {
 public:
  void logits(int32_t, std::span<const float>) override {}
  void hidden(int32_t, std::span<const float> values) override {
    last.assign(values.begin(), values.end());
    sum.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) sum[i] += static_cast<double>(values[i]);
    const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
    if (bad != values.end() && !broken) broken = not_finite("hidden state is not a finite number", tokens, *bad);
    ++tokens;
  }
  void logprob(int32_t, float) override {}
  std::vector<float> last;
  std::vector<double> sum;
  std::optional<Error> broken;
  size_t tokens = 0;
};

}  // namespace

Result<void> Engine::State::run_all(std::span<const int32_t> tokens, Want want, ResultSink& sink,
                                    const ProgressCallback& progress) {
  sequence.reset();
  FACET_TRY(const SeqId id, model->create_sequence());
  const Borrowed borrowed(*model, id);
  const size_t chunk = static_cast<size_t>(model->limits().max_batch_rows);
  std::vector<int32_t> positions;
  std::vector<OutputRow> outputs;
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const std::span<const int32_t> rows = tokens.subspan(first, std::min(chunk, tokens.size() - first));
    positions.resize(rows.size());
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    outputs.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t next = first + i + 1;
      if (want == Want::logprob && next == tokens.size()) break;
      outputs.push_back(
          {.row = static_cast<int32_t>(i), .want = want, .token = next < tokens.size() ? tokens[next] : 0});
    }
    const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(rows.size())};
    FACET_TRY_VOID(model->forward({.tokens = rows,
                                   .positions = positions,
                                   .sequences = {&range, 1},
                                   .soft = {},
                                   .bidirectional = {},
                                   .outputs = outputs,
                                   .skip = options.skip_work ? Skip::on : Skip::off},
                                  sink));
    const int64_t done = static_cast<int64_t>(first + rows.size());
    model->commit(id, done);
    if (progress && !progress("reading", done, static_cast<int64_t>(tokens.size())))
      return Error{.code = ErrorCode::cancelled, .what = "was stopped", .where = "request"};
  }
  return {};
}

Result<Score> Engine::score(std::span<const int32_t> tokens, const ProgressCallback& progress) {
  return engine::guarded([&] { return state_->score(tokens, progress); });
}

Result<Engine::Embedding> Engine::embed(std::span<const int32_t> tokens) {
  return engine::guarded([&] { return state_->embed(tokens); });
}

Result<Score> Engine::State::score(std::span<const int32_t> tokens, const ProgressCallback& progress) {
  FACET_TRY_VOID(check(tokens));
  LogprobSink sink;
  FACET_TRY_VOID(run_all(tokens, Want::logprob, sink, progress));
  double sum = 0;
  for (size_t i = 0; i < sink.values.size(); ++i) {
    if (!std::isfinite(sink.values[i]))
      return not_finite("log-probability is not a finite number", i + 1, sink.values[i]);
    sum += static_cast<double>(sink.values[i]);
  }
  Score score{.tokens = {tokens.begin(), tokens.end()}, .logprobs = std::move(sink.values)};
  if (!score.logprobs.empty()) score.perplexity = std::exp(-sum / static_cast<double>(score.logprobs.size()));
  return score;
}

Result<void> Engine::logits(std::span<const int32_t> tokens, const LogitsCallback& on_logits,
                            const ProgressCallback& progress) {
  return engine::guarded([&] { return state_->logits(tokens, on_logits, progress); });
}

Result<void> Engine::State::logits(std::span<const int32_t> tokens, const LogitsCallback& on_logits,
                                   const ProgressCallback& progress) {
  FACET_TRY_VOID(check(tokens));
  LogitsSink sink(on_logits, static_cast<int64_t>(tokens.size()) - 1);
  const auto goes_on = [&](std::string_view phase, int64_t done, int64_t total) {
    return !sink.stopped() && (!progress || progress(phase, done, total));
  };
  const Result<void> run = run_all(tokens, Want::logits, sink, goes_on);
  if (!sink.result().ok()) return sink.result();
  return run;
}

Result<Engine::Embedding> Engine::State::embed(std::span<const int32_t> tokens) {
  FACET_TRY_VOID(check(tokens));
  if (model->limits().width == 0)
    return Error{.code = ErrorCode::unsupported, .what = "model offers no hidden states", .where = info.path};
  HiddenSink sink;
  FACET_TRY_VOID(run_all(tokens, Want::hidden, sink, {}));
  if (sink.broken) return *std::move(sink.broken);
  Embedding embedding{.last = std::move(sink.last), .mean = {}};
  for (const double value : sink.sum)
    embedding.mean.push_back(static_cast<float>(value / static_cast<double>(tokens.size())));
  return embedding;
}

}  // namespace facet
