#include "engine/bench_run.h"

#include <algorithm>
#include <numeric>

#include "base/clock.h"
#include "base/strings.h"
#include "engine/guard.h"
#include "runtime/sampler.h"

namespace facet::engine {
namespace {

Error bad_test(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "bench",
          .expected = std::move(expected),
          .found = std::move(found)};
}

Error stopped() { return {.code = ErrorCode::cancelled, .what = "was stopped", .where = "bench"}; }

Result<void> check(std::span<const BenchTest> tests, const BenchOptions& options) {
  if (tests.empty()) return bad_test("there is nothing to measure", "tokens to read or to write", "neither");
  for (const BenchTest& test : tests) {
    if (test.tokens < 1) return bad_test("a test has no tokens", "1 at least", cat(test.tokens));
    if (test.depth < 0) return bad_test("depth is negative", "0 at least", cat(test.depth));
    if (test.parallel < 1 || test.parallel > options.load.batch_rows)
      return bad_test("sequences do not fit in a batch", cat("1 to ", options.load.batch_rows), cat(test.parallel));
    if (test.kind == BenchKind::read && test.parallel != 1)
      return bad_test("several prompts are to be read at once", "1", cat(test.parallel));
  }
  if (options.repetitions < 1) return bad_test("there is nothing to repeat", "1 at least", cat(options.repetitions));
  return {};
}

// Chooses tokens the moment the logits are there, one sampler a sequence; or lets the logits pass.
class WritingSink : public ResultSink {
 public:
  explicit WritingSink(std::vector<runtime::Sampler> samplers) : samplers_(std::move(samplers)) {
    chosen_.resize(samplers_.size());
  }
  void logits(int32_t, std::span<const float>) override {}
  void logit_row(int32_t output, Logits& row) override {
    if (samplers_.empty()) return logits(output, row.values());  // made, as for anybody who wants logits
    if (!error_.ok()) return;
    const size_t i = static_cast<size_t>(output);
    const Result<runtime::Sampled> sampled = samplers_[i].sample(row);
    if (sampled.ok()) chosen_[i] = sampled->token;
    if (!sampled.ok()) error_ = sampled.error();
  }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}
  const Result<void>& error() const { return error_; }
  std::span<const Token> chosen() const { return chosen_; }

 private:
  std::vector<runtime::Sampler> samplers_;
  std::vector<Token> chosen_;
  Result<void> error_;
};

}  // namespace

double BenchResult::median_seconds() const {
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double BenchResult::best_seconds() const { return *std::ranges::min_element(seconds); }

Result<std::unique_ptr<BenchRun>> BenchRun::load(const ModelFiles& files, std::span<const BenchTest> tests,
                                                 const BenchOptions& options) {
  return guarded([&]() -> Result<std::unique_ptr<BenchRun>> {
    if (!files.checkpoint) return bad_test("a puppet is as slow as its file says", "a model file", files.path);
    FACET_TRY_VOID(check(tests, options));
    LoadOptions load = options.load;
    load.context = load.sequences = 1;
    for (const BenchTest& test : tests) {
      load.context = std::max(load.context, test.positions());
      load.sequences = std::max(load.sequences, test.parallel);
    }
    const int threads = threads_or_all(load.threads);
    std::unique_ptr<BenchRun> run(new BenchRun(options, threads));  // private constructor
    FACET_TRY(const kernels::Table* table, table_named(load.isa));
    FACET_TRY(run->probe_,
              MachineProbe::create(table->isa, run->pool_));  // first: loading looks at what memory is left
    const Clock::time_point start = Clock::now();
    FACET_TRY(run->loaded_, load_gemma(files, load, run->pool_));
    run->load_seconds_ = seconds_since(start);
    run->vocab_size_ = run->loaded_.model->limits().vocab_size;
    if (options.sample) run->banned_ = files.banned_tokens(false);
    return run;
  });
}

// Makes filled_ hold sequences of that length: those that are there grow, unless they are too long.
Result<void> BenchRun::fill(int64_t depth, int64_t sequences, GoesOn goes_on) {
  model::Gemma& model = *loaded_.model;
  if (!filled_.empty() && model.length(filled_.front()) > depth) {
    for (const SeqId id : filled_) model.release(id);
    filled_.clear();
  }
  if (depth == 0) return {};
  WritingSink sink({});
  while (static_cast<int64_t>(filled_.size()) < sequences) {
    FACET_TRY(const SeqId id, model.create_sequence());
    filled_.push_back(id);
  }
  for (const SeqId id : filled_) FACET_TRY_VOID(read(id, depth - model.length(id), false, sink, goes_on));
  return {};
}

Result<BenchResult> BenchRun::run(const BenchTest& test, GoesOn goes_on) {
  return guarded([&]() -> Result<BenchResult> {
    model::Gemma& model = *loaded_.model;
    FACET_CHECK(test.positions() <= loaded_.plan.context);
    FACET_TRY_VOID(fill(test.depth, test.parallel, goes_on));
    BenchResult result{.test = test, .seconds = {}, .work = work_of_test(test), .machine = probe_->measure()};
    result.tokens = static_cast<double>(test.tokens * test.parallel);
    BenchTest warm_up = test;
    warm_up.tokens = std::min(test.tokens, test.kind == BenchKind::read ? options_.load.batch_rows : int64_t{1});
    for (int i = options_.warm_up ? -1 : 0; i < options_.repetitions; ++i) {
      std::vector<SeqId> ids;
      for (int64_t s = 0; s < test.parallel; ++s) {
        FACET_TRY(const SeqId id,
                  test.depth == 0 ? model.create_sequence() : model.fork(filled_[static_cast<size_t>(s)], test.depth));
        ids.push_back(id);
      }
      const Result<double> seconds = once(i < 0 ? warm_up : test, ids, goes_on);
      for (const SeqId id : ids) model.release(id);
      if (!seconds.ok()) return seconds.error();
      if (i >= 0) result.seconds.push_back(*seconds);
    }
    result.machine = best(result.machine, probe_->measure());
    return result;
  });
}

Result<double> BenchRun::once(const BenchTest& test, std::span<const SeqId> ids, GoesOn goes_on) {
  WritingSink sink({});
  const Clock::time_point start = Clock::now();
  if (test.kind == BenchKind::write)
    FACET_TRY_VOID(write(ids, test.tokens, goes_on));
  else
    FACET_TRY_VOID(read(ids.front(), test.tokens, true, sink, goes_on));
  return seconds_since(start);
}

Result<void> BenchRun::read(SeqId id, int64_t tokens, bool wants_logits, ResultSink& sink, GoesOn goes_on) {
  model::Gemma& model = *loaded_.model;
  std::vector<Token> rows;
  std::vector<int32_t> positions;
  for (int64_t done = 0; done < tokens; done += static_cast<int64_t>(rows.size())) {
    if (!goes_on()) return stopped();
    rows.resize(static_cast<size_t>(std::min(options_.load.batch_rows, tokens - done)));
    for (Token& row : rows) row = random_token();
    positions.resize(rows.size());
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(model.length(id)));
    const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(rows.size())};
    const OutputRow last{.row = range.rows - 1};
    const bool ends = wants_logits && done + range.rows == tokens;
    FACET_TRY_VOID(model.forward({.tokens = rows,
                                  .positions = positions,
                                  .sequences = {&range, 1},
                                  .soft = {},
                                  .bidirectional = {},
                                  .outputs = {&last, ends ? size_t{1} : size_t{0}},
                                  .skip = options_.load.skip_work ? Skip::on : Skip::off},
                                 sink));
    model.commit(id, model.length(id));
  }
  return {};
}

Result<void> BenchRun::write(std::span<const SeqId> ids, int64_t tokens, GoesOn goes_on) {
  model::Gemma& model = *loaded_.model;
  const size_t n = ids.size();
  std::vector<Token> rows(n);
  std::vector<int32_t> positions(n);
  std::vector<SeqRange> ranges(n);
  std::vector<OutputRow> outputs(n);
  std::vector<runtime::Sampler> samplers;
  for (size_t i = 0; i < n; ++i) {
    rows[i] = random_token();
    ranges[i] = {.sequence = ids[i], .first_row = static_cast<int32_t>(i), .rows = 1};
    outputs[i] = {.row = static_cast<int32_t>(i)};
    if (options_.sample) samplers.emplace_back(runtime::SamplerOptions{.seed = i}, banned_, vocab_size_);
  }
  WritingSink sink(std::move(samplers));
  for (int64_t step = 0; step < tokens; ++step) {
    if (!goes_on()) return stopped();
    for (size_t i = 0; i < n; ++i) {
      positions[i] = static_cast<int32_t>(model.length(ids[i]));
      if (step > 0) rows[i] = options_.sample ? sink.chosen()[i] : random_token();
    }
    FACET_TRY_VOID(model.forward({.tokens = rows,
                                  .positions = positions,
                                  .sequences = ranges,
                                  .soft = {},
                                  .bidirectional = {},
                                  .outputs = outputs,
                                  .skip = options_.load.skip_work ? Skip::on : Skip::off},
                                 sink));
    FACET_TRY_VOID(sink.error());
    for (const SeqId id : ids) model.commit(id, model.length(id));
  }
  return {};
}

Work BenchRun::work_of_test(const BenchTest& test) const {
  Work work;
  PassShape pass{.first = test.depth, .skip = options_.load.skip_work ? Skip::on : Skip::off};
  const bool reads = test.kind == BenchKind::read;
  if (!reads) pass.sequences = test.parallel;
  for (int64_t done = 0; done < test.tokens; done += pass.rows) {
    pass.first = test.depth + done;
    pass.rows = reads ? std::min(options_.load.batch_rows, test.tokens - done) : 1;
    pass.wants_logits = !reads || done + pass.rows == test.tokens;
    work += work_of(*loaded_.model, pass);
  }
  return work;
}

}  // namespace facet::engine
