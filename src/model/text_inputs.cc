// The front of the forward pass: checking the batch, embedding it, per-layer inputs, what each row may see, and which
// rows go on after the last storing layer.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/strings.h"
#include "model/text.h"
#include "ops/elementwise.h"

namespace facet::model {
namespace {

Error bad_batch(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "batch",
          .expected = std::move(expected),
          .found = std::move(found)};
}

}  // namespace

Result<void> TextModel::check(const Batch& batch, const KvCache& cache) const {
  const int64_t t = static_cast<int64_t>(batch.tokens.size());
  if (t == 0 || t > max_rows_) return bad_batch("has the wrong number of rows", cat("1 to ", max_rows_), cat(t));
  if (batch.positions.size() != batch.tokens.size())
    return bad_batch("has another number of positions than tokens", cat(t), cat(batch.positions.size()));
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    if (batch.tokens[i] < 0 || batch.tokens[i] >= config_.vocab_size)
      return bad_batch(cat("token ", i, " lies outside the vocabulary"), cat("0 to ", config_.vocab_size - 1),
                       cat(batch.tokens[i]));
  }
  FACET_TRY_VOID(check_sequences(batch, cache));
  for (const SoftRows& soft : batch.soft) {
    if (soft.first_row < 0 || soft.first_row + soft.values.rows() > t || soft.values.cols() != config_.width)
      return bad_batch("soft rows do not fit", cat("rows below ", t, ", width ", config_.width),
                       cat(soft.values.rows(), " rows from ", soft.first_row, ", width ", soft.values.cols()));
  }
  int32_t last = -1;
  for (const OutputRow& out : batch.outputs) {
    if (out.row < last || out.row < 0 || out.row >= t)
      return bad_batch("output rows are not ascending rows of the batch", cat(std::max(0, last), " to ", t - 1),
                       cat(out.row));
    if (out.want == Want::logprob && (out.token < 0 || out.token >= config_.vocab_size))
      return bad_batch("asks for the probability of a token outside the vocabulary",
                       cat("0 to ", config_.vocab_size - 1), cat(out.token));
    last = out.row;
  }
  return {};
}

Result<void> TextModel::check_sequences(const Batch& batch, const KvCache& cache) const {
  const int64_t t = static_cast<int64_t>(batch.tokens.size());
  int64_t next = 0;
  for (const SeqRange& range : batch.sequences) {
    if (range.first_row != next || range.rows <= 0 || next + range.rows > t)
      return bad_batch("sequences do not cover the rows in order", cat("rows from ", next),
                       cat(range.rows, " rows from ", range.first_row));
    for (const SeqRange& other : batch.sequences)
      if (&other != &range && other.sequence == range.sequence)
        return bad_batch("names a sequence twice", "each once", cat(range.sequence));
    for (int32_t i = 0; i < range.rows; ++i) {
      const int64_t expected = cache.length(range.sequence) + i;
      const int32_t found = batch.positions[static_cast<size_t>(next + i)];
      if (found != expected)
        return bad_batch(cat("row ", next + i, " is not at the next position of its sequence"), cat(expected),
                         cat(found));
    }
    next += range.rows;
  }
  if (next != t) return bad_batch("has rows of no sequence", cat(t), cat(next));
  for (const RowSpan& span : batch.bidirectional) {
    const auto inside = [&](const SeqRange& range) {
      return span.first_row >= range.first_row && span.first_row + span.rows <= range.first_row + range.rows;
    };
    if (span.rows <= 0 || std::ranges::none_of(batch.sequences, inside))
      return bad_batch("cuts a span of rows that see each other", "the whole span inside one sequence",
                       cat(span.rows, " rows from ", span.first_row));
  }
  return {};
}

void TextModel::begin(Pass& pass) {
  const Batch& batch = pass.batch;
  const size_t t = batch.tokens.size();
  a_.rows.resize(t);
  for (size_t i = 0; i < t; ++i) a_.rows[i] = static_cast<int32_t>(i);
  a_.positions.assign(batch.positions.begin(), batch.positions.end());
  a_.output_rows.clear();
  for (const OutputRow& out : batch.outputs)
    if (a_.output_rows.empty() || a_.output_rows.back() != out.row) a_.output_rows.push_back(out.row);
  pass.cuts = batch.skip == Skip::on && a_.output_rows.size() < t;
  see(pass);
  turn(pass.ctx);
}

// The angles of all current rows.
void TextModel::turn(Context& ctx) {
  const int64_t t = static_cast<int64_t>(a_.positions.size());
  ops::rope_angles(ctx, a_.cos_sliding.view(t), a_.sin_sliding.view(t), a_.positions, weights_.rope_sliding);
  ops::rope_angles(ctx, a_.cos_full.view(t), a_.sin_full.view(t), a_.positions, weights_.rope_full);
}

// Full layers: keys 0 … p. Sliding layers: the last W of them; a row inside an image also sees the image's later rows.
void TextModel::see(const Pass& pass) {
  const int32_t window = static_cast<int32_t>(config_.window);
  a_.sees_full.resize(a_.rows.size());
  a_.sees_sliding.resize(a_.rows.size());
  for (size_t slot = 0; slot < pass.batch.sequences.size(); ++slot) {
    const SeqRange& range = pass.batch.sequences[slot];
    for (int32_t row = range.first_row; row < range.first_row + range.rows; ++row) {
      const int32_t p = a_.positions[static_cast<size_t>(row)];
      a_.sees_full[static_cast<size_t>(row)] = {.slot = static_cast<int32_t>(slot), .begin = 0, .end = p + 1};
      a_.sees_sliding[static_cast<size_t>(row)] = {
          .slot = static_cast<int32_t>(slot), .begin = std::max(0, p - window + 1), .end = p + 1};
    }
  }
  if (config_.image_attention == ImageAttention::causal) return;
  for (const RowSpan& span : pass.batch.bidirectional) {
    const int32_t last = a_.positions[static_cast<size_t>(span.first_row + span.rows - 1)];
    for (int32_t row = span.first_row; row < span.first_row + span.rows; ++row) {
      const int32_t p = a_.positions[static_cast<size_t>(row)];
      a_.sees_sliding[static_cast<size_t>(row)].end =
          image_bound_ == ImageBound::left_only ? last + 1 : std::min(last, p + window - 1) + 1;
    }
  }
}

// Rows of tables stay where the file has them: a few pages each, at places that nobody can foresee.
void TextModel::prefetch(std::span<const Token> tokens) const {
  for (const Token token : tokens) {
    if (token < 0 || token >= config_.vocab_size) continue;
    weights_.tokens->prefetch(token);
    if (config_.ple_width > 0) weights_.ple_tokens->prefetch(ple_token(token));
  }
}

// What the table of per-layer inputs knows a token by.
Token TextModel::ple_token(Token token) const {
  const bool placeholder = std::ranges::find(config_.placeholders, token) != config_.placeholders.end();
  return placeholder ? config_.pad : token;
}

// h = E[token] * s; rows of images and sounds are given, not scaled.
Result<void> TextModel::embed(Pass& pass) {
  Context& ctx = pass.ctx;
  pass.h = a_.h.view(static_cast<int64_t>(a_.rows.size()));
  FACET_TRY_VOID(
      ops::lookup(ctx, pass.h, *weights_.tokens, pass.batch.tokens, static_cast<float>(config_.embedding_scale)));
  for (const SoftRows& soft : pass.batch.soft)
    ops::copy(ctx, pass.h.row_range(soft.first_row, soft.values.rows()), soft.values);
  tap(pass, "embed", -1, pass.h);
  return {};
}

// ple[l] = (norm(W_ctx h * D^(-1/2)) + T[token] * P^(1/2)) * 2^(-1/2), from the layer-0 input h. Layers from the last
// storing one on need it for kept rows only.
Result<void> TextModel::per_layer_inputs(Pass& pass) {
  Context& ctx = pass.ctx;
  const int64_t p = config_.ple_width, t = pass.h.rows(), all = p * config_.n_layers(), cut = p * plan_.last_storing;
  a_.ple_tokens.assign(pass.batch.tokens.begin(), pass.batch.tokens.end());
  for (Token& token : a_.ple_tokens) token = ple_token(token);
  pass.ple = a_.ple.view(t);
  FACET_TRY_VOID(ops::lookup(ctx, pass.ple, *weights_.ple_tokens, a_.ple_tokens, std::sqrt(static_cast<float>(p))));

  const auto finish = [&](Mat<float> token, Mat<float> context, int first_layer, std::span<const int32_t> rows) {
    ops::combine_ple(ctx, token, context, weights_.ple_context_norm, eps(), p, config_.width);
    if (ctx.observer != nullptr) ctx.observer->tap("ple", first_layer, token, rows);
  };
  ops::prepare(ctx, a_.x, pass.h);
  const Mat<float> context = a_.ple_context.view(t);
  if (cut > 0) {
    ops::linear(ctx, context.col_range(0, cut), a_.x, weights_.ple_context_before, a_.rows);  // (T, cut)
    finish(pass.ple.col_range(0, cut), context.col_range(0, cut), 0, a_.rows);
  }
  Mat<float> late = pass.ple.col_range(cut, all - cut), late_context = context.col_range(cut, all - cut);
  std::span<const int32_t> rows = a_.rows;
  if (pass.cuts) {
    const int64_t kept = static_cast<int64_t>(a_.output_rows.size());
    if (kept == 0) return {};
    rows = a_.output_rows;
    ops::gather(ctx, a_.kept.view(kept), pass.h, rows);
    ops::prepare(ctx, a_.x, a_.kept.view(kept));
    ops::gather(ctx, a_.ple_kept.view(kept).col_range(cut, all - cut), late, rows);
    late = a_.ple_kept.view(kept).col_range(cut, all - cut);
    late_context = late_context.row_range(0, kept);
  }
  ops::linear(ctx, late_context, a_.x, weights_.ple_context_after, rows);
  finish(late, late_context, plan_.last_storing, rows);
  return {};
}

// From here on only rows with outputs matter: h, their positions, and what they see shrink to those.
void TextModel::keep_output_rows(Pass& pass) {
  const std::vector<int32_t>& kept = a_.output_rows;
  if (kept.size() == a_.rows.size()) return;
  const int64_t n = static_cast<int64_t>(kept.size());
  ops::gather(pass.ctx, a_.kept.view(n), pass.h, kept);
  pass.h = a_.kept.view(n);
  if (config_.ple_width > 0 && pass.cuts) pass.ple = a_.ple_kept.view(n);
  for (size_t i = 0; i < kept.size(); ++i) {  // ascending rows, so in place
    const size_t row = static_cast<size_t>(kept[i]);
    a_.positions[i] = a_.positions[row];
    a_.sees_sliding[i] = a_.sees_sliding[row];
    a_.sees_full[i] = a_.sees_full[row];
  }
  a_.rows.assign(kept.begin(), kept.end());
  a_.positions.resize(kept.size());
  a_.sees_sliding.resize(kept.size());
  a_.sees_full.resize(kept.size());
  turn(pass.ctx);
}

}  // namespace facet::model
