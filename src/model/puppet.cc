// What a puppet says. Its sequences are puppet_cache.cc.
#include "model/puppet.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "base/check.h"
#include "base/strings.h"

namespace facet::model {
namespace {

Error bad_puppet_batch(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "puppet batch",
          .expected = std::move(expected),
          .found = std::move(found)};
}

void fill_logits(const PuppetStep& step, std::span<float> out) {
  float rest = step.rest;
  if (step.broken == PuppetStep::Broken::nan) rest = std::numeric_limits<float>::quiet_NaN();
  if (step.broken == PuppetStep::Broken::infinite) rest = std::numeric_limits<float>::infinity();
  std::ranges::fill(out, rest);
  for (const auto& [token, logit] : step.logits) out[static_cast<size_t>(token)] = logit;
}

float logprob_of(Token token, std::span<const float> logits) {
  const double max = std::ranges::max(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return static_cast<float>(logits[static_cast<size_t>(token)] - max - std::log(sum));
}

// Something that depends on the token and looks like nothing else: in [-1, 1).
void fill_hidden(Token token, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint64_t x = static_cast<uint64_t>(token) * 0x9e3779b97f4a7c15u + i + 1;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    out[i] = static_cast<float>(static_cast<int32_t>(x >> 40)) * 0x1p-23f - 1;
  }
}

}  // namespace

Puppet::Puppet(PuppetScript script, int64_t vocab_size, std::function<void(double ms)> sleep)
    : script_(std::move(script)), vocab_size_(vocab_size), sleep_(std::move(sleep)) {
  if (!sleep_) sleep_ = [](double ms) { std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms)); };
}

std::unique_ptr<Puppet> Puppet::create(PuppetScript script, int64_t vocab_size, std::function<void(double ms)> sleep) {
  return std::unique_ptr<Puppet>(new Puppet(std::move(script), vocab_size, std::move(sleep)));  // private constructor
}

Result<std::unique_ptr<Puppet>> Puppet::load(const Json& file, std::string_view where,
                                             const PuppetVocabulary& vocabulary) {
  FACET_TRY(PuppetScript script, PuppetScript::parse(file, where, vocabulary));
  return create(std::move(script), vocabulary.size);
}

LanguageModel::Limits Puppet::limits() const {
  return {.vocab_size = vocab_size_,
          .context = script_.context,
          .width = script_.width,
          .max_batch_rows = script_.batch_rows};
}

Result<void> Puppet::check_range(const Batch& batch, const SeqRange& range) {
  const Kept* kept = find(range.sequence);
  if (kept == nullptr) return bad_puppet_batch("no such sequence", "a live sequence", cat(range.sequence));
  const int64_t length = static_cast<int64_t>(kept->rows.size());
  if (length + range.rows > script_.context)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the context is full",
                 .where = cat("puppet sequence ", range.sequence),
                 .expected = cat("at most ", script_.context, " positions"),
                 .found = cat(length + range.rows)};
  for (int32_t i = 0; i < range.rows; ++i) {
    const size_t row = static_cast<size_t>(range.first_row + i);
    if (batch.positions[row] != length + i)
      return bad_puppet_batch(cat("row ", row, " has the wrong position"), cat(length + i), cat(batch.positions[row]));
    if (batch.tokens[row] < 0 || batch.tokens[row] >= vocab_size_)
      return bad_puppet_batch(cat("row ", row, ": token is not in the vocabulary"), cat("0 to ", vocab_size_ - 1),
                              cat(batch.tokens[row]));
  }
  return {};
}

Result<void> Puppet::check_outputs(const Batch& batch) const {
  int32_t previous = 0;
  for (const OutputRow& output : batch.outputs) {
    if (output.row < previous || static_cast<size_t>(output.row) >= batch.tokens.size())
      return bad_puppet_batch("outputs must be ascending rows of the batch",
                              cat(previous, " to ", static_cast<int64_t>(batch.tokens.size()) - 1), cat(output.row));
    previous = output.row;
    if (script_.width == 0 && (output.want == Want::hidden || output.want == Want::both))
      return bad_puppet_batch("this puppet offers no hidden states", "\"width\" in its file", "none");
    if (output.want == Want::logprob && (output.token < 0 || output.token >= vocab_size_))
      return bad_puppet_batch("log-probability of a token that is not in the vocabulary", cat("0 to ", vocab_size_ - 1),
                              cat(output.token));
  }
  return {};
}

Result<void> Puppet::check_batch(const Batch& batch) {
  const int64_t rows = static_cast<int64_t>(batch.tokens.size());
  if (rows < 1 || rows > script_.batch_rows)
    return bad_puppet_batch("wrong number of rows", cat("1 to ", script_.batch_rows), cat(rows));
  if (batch.positions.size() != batch.tokens.size())
    return bad_puppet_batch("wrong number of positions", cat(rows), cat(batch.positions.size()));
  int64_t next = 0;
  for (const SeqRange& range : batch.sequences) {
    if (range.first_row != next || range.rows < 1 || next + range.rows > rows)
      return bad_puppet_batch("sequences must cover the rows one after the other", cat("first row ", next),
                              cat("rows ", range.first_row, " to ", range.first_row + range.rows - 1));
    next += range.rows;
    FACET_TRY_VOID(check_range(batch, range));
  }
  if (next != rows) return bad_puppet_batch("rows without a sequence", cat(rows), cat(next));
  for (const RowSpan& span : batch.bidirectional)
    if (std::ranges::none_of(batch.sequences, [&](const SeqRange& range) {
          return span.first_row >= range.first_row && span.rows >= 1 &&
                 span.first_row + span.rows <= range.first_row + range.rows;
        }))
      return bad_puppet_batch("a span is cut by the batch", "rows of one sequence", cat("first row ", span.first_row));
  if (script_.cache_rows > 0 && rows_in_use() + rows > script_.cache_rows)
    return Error{.code = ErrorCode::exhausted,
                 .what = "the cache has no room",
                 .where = "puppet",
                 .expected = cat("at most ", script_.cache_rows, " rows"),
                 .found = cat(rows_in_use() + rows)};
  return check_outputs(batch);
}

// Whether the sequence, with the rows of this batch behind it, ends with `tail`.
bool Puppet::ends_with(const Kept& kept, std::span<const Row> rows, std::span<const Token> tail) const {
  const size_t total = kept.rows.size() + rows.size();
  if (tail.size() > total) return false;
  for (size_t i = 0; i < tail.size(); ++i) {
    const size_t position = total - tail.size() + i;
    if (position >= kept.rows.size()) {
      if (rows[position - kept.rows.size()].token != tail[i]) return false;
    } else {
      const int32_t row = kept.rows[position];
      if (row == kReleased || pool_[static_cast<size_t>(row)].token != tail[i]) return false;
    }
  }
  return true;
}

// Where in the script a row with output is: the next step if the row before it had output too, else at the beginning of
// the first answer that fits. `rows` are this batch's rows of the sequence, the one in question last.
void Puppet::place(const Kept& kept, std::span<const Row> rows, Row& row) const {
  const Row* before = nullptr;
  if (rows.size() > 1) {
    before = &rows[rows.size() - 2];
  } else if (!kept.rows.empty() && kept.rows.back() != kReleased) {
    before = &pool_[static_cast<size_t>(kept.rows.back())];
  }
  if (before != nullptr && before->answer != kNoOutput) {
    row.answer = before->answer;
    row.step = before->step + 1;
    return;
  }
  const auto fits = [&](const PuppetAnswer& answer) { return ends_with(kept, rows, answer.after); };
  row.answer = static_cast<int32_t>(std::ranges::find_if(script_.answers, fits) - script_.answers.begin());
  row.step = 0;
}

std::vector<Puppet::Row> Puppet::act(const Batch& batch) const {
  std::vector<Row> rows(batch.tokens.size());
  size_t output = 0;
  for (const SeqRange& range : batch.sequences) {
    const Kept& kept = at(range.sequence);
    const size_t first = static_cast<size_t>(range.first_row);
    for (size_t i = first; i < first + static_cast<size_t>(range.rows); ++i) {
      rows[i].token = batch.tokens[i];
      if (output == batch.outputs.size() || static_cast<size_t>(batch.outputs[output].row) != i) continue;
      while (output < batch.outputs.size() && static_cast<size_t>(batch.outputs[output].row) == i) ++output;
      place(kept, std::span(rows).subspan(first, i - first + 1), rows[i]);
    }
  }
  return rows;
}

const PuppetStep& Puppet::step_of(const Row& row) const {
  if (static_cast<size_t>(row.answer) == script_.answers.size()) return script_.end;
  const PuppetAnswer& answer = script_.answers[static_cast<size_t>(row.answer)];
  const size_t step = static_cast<size_t>(row.step);
  if (step < answer.steps.size()) return answer.steps[step];
  return answer.repeat ? answer.steps[step % answer.steps.size()] : script_.end;
}

void Puppet::emit(const Batch& batch, std::span<const Row> rows, ResultSink& sink) const {
  std::vector<float> logits(static_cast<size_t>(vocab_size_)), hidden(static_cast<size_t>(script_.width));
  for (size_t i = 0; i < batch.outputs.size(); ++i) {
    const OutputRow& output = batch.outputs[i];
    const int32_t index = static_cast<int32_t>(i);
    const Row& row = rows[static_cast<size_t>(output.row)];
    fill_logits(step_of(row), logits);
    fill_hidden(row.token, hidden);
    if (output.want == Want::logits || output.want == Want::both) sink.logits(index, logits);
    if (output.want == Want::hidden || output.want == Want::both) sink.hidden(index, hidden);
    if (output.want == Want::logprob) sink.logprob(index, logprob_of(output.token, logits));
  }
}

Result<void> Puppet::forward(const Batch& batch, ResultSink& sink) {
  FACET_TRY_VOID(check_batch(batch));
  const std::vector<Row> rows = act(batch);
  double wait_ms = 0;
  for (const Row& row : rows) {
    if (row.answer == kNoOutput) {
      wait_ms += script_.prompt_row_ms;
      continue;
    }
    const PuppetStep& step = step_of(row);
    wait_ms += script_.token_ms + step.extra_ms;
    if (!step.error.empty()) return Error{.code = ErrorCode::unavailable, .what = step.error, .where = "puppet"};
  }
  if (wait_ms > 0) sleep_(wait_ms);
  emit(batch, rows, sink);
  for (const SeqRange& range : batch.sequences) {
    Kept& kept = at(range.sequence);
    const int64_t length = static_cast<int64_t>(kept.rows.size());
    for (const RowSpan& span : batch.bidirectional)
      if (span.first_row >= range.first_row && span.first_row < range.first_row + range.rows)
        kept.spans.emplace_back(length + span.first_row - range.first_row,
                                length + span.first_row - range.first_row + span.rows);
    for (int32_t i = 0; i < range.rows; ++i) kept.rows.push_back(take(rows[static_cast<size_t>(range.first_row + i)]));
  }
  rows_run_ += static_cast<int64_t>(rows.size());
  return {};
}

}  // namespace facet::model
