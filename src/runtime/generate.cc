#include "runtime/generate.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/strings.h"

namespace facet::runtime {
namespace {

constexpr int kReliefSteps = 4;

// Chooses a token the moment the logits are there: they are borrowed, and most of them need not be made. history: the
// sequence's tokens, the rows that are running included.
class ChoosingSink : public ResultSink {
 public:
  ChoosingSink(Sampler& sampler, Constraint* constraint, const std::vector<Token>& history)
      : sampler_(sampler), constraint_(constraint), history_(history) {}

  void logits(int32_t, std::span<const float> values) override {
    chosen_.emplace(sampler_.sample(values, constraint_, history_));
  }
  void logit_row(int32_t, Logits& row) override { chosen_.emplace(sampler_.sample(row, constraint_, history_)); }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}

  Result<Sampled> take() {
    FACET_CHECK(chosen_.has_value());
    Result<Sampled> chosen = *std::move(chosen_);
    chosen_.reset();
    return chosen;
  }

 private:
  Sampler& sampler_;
  Constraint* constraint_;
  const std::vector<Token>& history_;
  std::optional<Result<Sampled>> chosen_;
};

// Tokens behind others, taken away again unless they are kept: also when something throws.
class Appended {
 public:
  Appended(std::vector<Token>& tokens, std::span<const Token> more) : tokens_(tokens), length_(tokens.size()) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  Appended(const Appended&) = delete;
  Appended& operator=(const Appended&) = delete;
  ~Appended() { tokens_.resize(length_); }
  void keep() { length_ = tokens_.size(); }

 private:
  std::vector<Token>& tokens_;
  size_t length_;
};

int64_t common_prefix(std::span<const Token> a, std::span<const Token> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

// A border inside a span moves to its start.
int64_t outside(std::span<const RowSpan> spans, int64_t border) {
  for (const RowSpan& span : spans)
    if (span.first_row < border && border < span.first_row + span.rows) return span.first_row;
  return border;
}

Error bad_prompt(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "prompt",
          .expected = std::move(expected),
          .found = std::move(found)};
}

}  // namespace

Result<Sequence> Sequence::create(model::LanguageModel& model) {
  FACET_TRY(const SeqId id, model.create_sequence());
  return Sequence(model, id);
}

Sequence::Sequence(Sequence&& other) noexcept
    : model_(std::exchange(other.model_, nullptr)),
      id_(other.id_),
      tokens_(std::move(other.tokens_)),
      positions_(std::move(other.positions_)),
      fork_(std::exchange(other.fork_, -1)),
      fork_length_(other.fork_length_) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
  std::swap(model_, other.model_);
  std::swap(id_, other.id_);
  std::swap(tokens_, other.tokens_);
  std::swap(positions_, other.positions_);
  std::swap(fork_, other.fork_);
  std::swap(fork_length_, other.fork_length_);
  return *this;
}

Sequence::~Sequence() {
  if (model_ == nullptr) return;
  drop_fork();
  model_->release(id_);
}

Result<void> Sequence::check_prompt(std::span<const Token> prompt, const GenerateOptions& options) const {
  const model::LanguageModel::Limits limits = model_->limits();
  const int64_t length = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) return bad_prompt("the prompt is empty", "at least one token", "0");
  if (length > limits.context)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the prompt does not fit into the context",
                 .where = "prompt",
                 .expected = cat("at most ", limits.context, " tokens"),
                 .found = cat(length)};
  for (size_t i = 0; i < prompt.size(); ++i)
    if (prompt[i] < 0 || prompt[i] >= limits.vocab_size)
      return bad_prompt(cat("token ", i, " is not in the vocabulary"), cat("0 to ", limits.vocab_size - 1),
                        cat(prompt[i]));
  int64_t end = 0;
  for (const RowSpan& span : options.bidirectional) {
    const std::string found = cat("rows ", span.first_row, " to ", int64_t{span.first_row} + span.rows - 1);
    if (span.rows < 1 || span.first_row < end || int64_t{span.first_row} + span.rows > length)
      return bad_prompt("spans must be ascending and within the prompt", cat("rows ", end, " to ", length - 1), found);
    if (span.rows > limits.max_batch_rows)
      return bad_prompt("a span cannot be cut, and no batch can hold it",
                        cat("at most ", limits.max_batch_rows, " rows"), found);
    end = int64_t{span.first_row} + span.rows;
  }
  return {};
}

// Keeps what the cache can continue from. The last prompt token always runs again: only a row that runs has logits.
int64_t Sequence::resume(std::span<const Token> prompt, std::span<const RowSpan> spans) {
  int64_t wanted = std::min(common_prefix(tokens_, prompt), static_cast<int64_t>(prompt.size()) - 1);
  wanted = outside(spans, wanted);
  int64_t kept = model_->truncate(id_, wanted);
  if (fork_ >= 0 && kept < std::min(wanted, fork_length_)) {
    const int64_t kept_by_fork = model_->truncate(fork_, wanted);
    if (kept_by_fork > kept) {
      std::swap(id_, fork_);
      kept = kept_by_fork;
    }
  }
  drop_fork();
  tokens_.resize(static_cast<size_t>(kept));
  return kept;
}

// Runs rows behind tokens_ and appends them there, before they run: whoever chooses from their logits looks at them.
// The model is asked to forget as late as possible, when it has no room left: what is not committed, the next prompt
// can resume from.
Result<void> Sequence::run(std::span<const Token> rows, std::span<const RowSpan> spans, const OutputRow* output,
                           Skip skip, ResultSink& sink) {
  positions_.resize(rows.size());
  std::iota(positions_.begin(), positions_.end(), static_cast<int32_t>(tokens_.size()));
  const SeqRange range{.sequence = id_, .first_row = 0, .rows = static_cast<int32_t>(rows.size())};
  const Batch batch{.tokens = rows,
                    .positions = positions_,
                    .sequences = {&range, 1},
                    .soft = {},
                    .bidirectional = spans,
                    .outputs = {output, output != nullptr ? size_t{1} : size_t{0}},
                    .skip = skip};
  Appended appended(tokens_, rows);
  for (int step = 0;; ++step) {
    Result<void> done = model_->forward(batch, sink);
    if (done) break;
    if (done.error().code != ErrorCode::exhausted || step == kReliefSteps) return done;
    relieve(step);
  }
  appended.keep();
  return {};
}

// Gives up what is least likely to be needed first.
void Sequence::relieve(int step) {
  if (step == 0) model_->commit(id_, model_->length(id_));
  if (step == 1 && fork_ >= 0) model_->commit(fork_, std::max<int64_t>(0, fork_length_ - kForkRewindRows));
  if (step == 2 && fork_ >= 0) model_->commit(fork_, fork_length_);
  if (step == 3) drop_fork();
}

void Sequence::keep_fork() {
  drop_fork();
  Result<SeqId> fork = model_->fork(id_, model_->length(id_));
  if (!fork) return;  // an answer can do without
  fork_ = *fork;
  fork_length_ = model_->length(fork_);
}

void Sequence::drop_fork() {
  if (fork_ >= 0) model_->release(fork_);
  fork_ = -1;
  fork_length_ = 0;
}

// After numbers that are not finite: keys and values may be damaged, and nothing may be reused.
void Sequence::forget() {
  drop_fork();
  model_->truncate(id_, 0);
  tokens_.clear();
}

// Returns false when cancelled. Asks for logits of the last row unless nothing is to be written.
Result<bool> Sequence::read_prompt(std::span<const Token> prompt, const GenerateOptions& options, ResultSink& sink,
                                   FunctionRef<bool(const Event&)> on_event) {
  const int64_t total = static_cast<int64_t>(prompt.size()), rows_max = model_->limits().max_batch_rows;
  const Skip skip = options.skip_work ? Skip::on : Skip::off;
  std::vector<RowSpan> spans;
  for (int64_t first = static_cast<int64_t>(tokens_.size());;) {
    if (!on_event({.prompt_done = first, .prompt_total = total})) return false;
    if (first == total) return true;
    const int64_t end = outside(options.bidirectional, std::min(first + rows_max, total));
    FACET_CHECK(end > first);
    spans.clear();
    for (const RowSpan& span : options.bidirectional)
      if (span.first_row >= first && span.first_row < end)
        spans.push_back({static_cast<int32_t>(span.first_row - first), span.rows});
    model_->prefetch(prompt.subspan(static_cast<size_t>(end), static_cast<size_t>(std::min(rows_max, total - end))));
    const OutputRow output{.row = static_cast<int32_t>(end - first - 1)};
    const bool want = end == total && options.max_tokens != 0;
    FACET_TRY_VOID(run(prompt.subspan(static_cast<size_t>(first), static_cast<size_t>(end - first)), spans,
                       want ? &output : nullptr, skip, sink));
    first = end;
  }
}

// Chooses, reports and runs tokens until something ends the answer. The first logits are in the sink already.
Result<void> Sequence::write(const GenerateOptions& options, FunctionRef<Result<Sampled>()> choose, ResultSink& sink,
                             FunctionRef<bool(const Event&)> on_event, Generated& out) {
  const int64_t prompt_rows = static_cast<int64_t>(tokens_.size()), context = model_->limits().context;
  const OutputRow output{.row = 0};
  for (;;) {
    FACET_TRY(const Sampled sampled, choose());
    model_->prefetch({&sampled.token, 1});  // while whoever listens makes text of it
    out.tokens.push_back(sampled.token);
    if (options.constraint != nullptr) options.constraint->accept(sampled.token);
    out.finish = Finish::cancelled;
    if (!on_event({.prompt_done = prompt_rows, .prompt_total = prompt_rows, .sampled = &sampled})) return {};
    out.finish = Finish::stop_token;
    if (std::ranges::find(options.stop_tokens, sampled.token) != options.stop_tokens.end()) return {};
    out.finish = Finish::length;
    if (static_cast<int64_t>(out.tokens.size()) == options.max_tokens) return {};
    if (static_cast<int64_t>(tokens_.size()) == context) return {};
    FACET_TRY_VOID(run({&sampled.token, 1}, {}, &output, options.skip_work ? Skip::on : Skip::off, sink));
  }
}

Result<Generated> Sequence::generate(std::span<const Token> prompt, const GenerateOptions& options, Sampler& sampler,
                                     FunctionRef<bool(const Event&)> on_event) {
  FACET_CHECK(model_ != nullptr);
  const Clock::time_point start = Clock::now();
  FACET_TRY_VOID(check_prompt(prompt, options));
  Generated out;
  out.cached_tokens = resume(prompt, options.bidirectional);
  ChoosingSink sink(sampler, options.constraint, tokens_);
  FACET_TRY(const bool read, read_prompt(prompt, options, sink, on_event));
  const Clock::time_point middle = Clock::now();
  out.prompt_seconds = seconds_between(start, middle);
  if (!read) out.finish = Finish::cancelled;
  if (!read || options.max_tokens == 0) return out;

  keep_fork();
  const auto choose = [&]() -> Result<Sampled> {
    Result<Sampled> chosen = sink.take();
    if (chosen) return chosen;
    std::string& where = chosen.error().where;
    where = cat("logits of position ", tokens_.size() - 1, where.empty() ? "" : ", ", where);
    forget();
    return chosen;
  };
  FACET_TRY_VOID(write(options, choose, sink, on_event, out));
  out.generate_seconds = seconds_since(middle);
  return out;
}

}  // namespace facet::runtime
