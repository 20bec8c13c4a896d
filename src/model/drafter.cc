#include "model/drafter.h"

#include <array>
#include <utility>

#include "base/strings.h"
#include "ops/elementwise.h"

namespace facet::model {
namespace {

// The target's last storing layer of each kind. Errors: another shape than the drafter's.
Result<std::vector<int>> donors_of(const Config& drafter, const Config& target, const std::string& where) {
  const auto differs = [&](std::string what, int64_t expected, int64_t found) {
    return Error{.code = ErrorCode::invalid_argument,
                 .what = cat("drafter belongs to another target: its ", what, " differs"),
                 .where = where,
                 .expected = cat(expected),
                 .found = cat(found)};
  };
  if (drafter.drafter->target_width != target.width)
    return differs("target width", target.width, drafter.drafter->target_width);
  if (drafter.vocab_size != target.vocab_size) return differs("vocabulary", target.vocab_size, drafter.vocab_size);
  if (drafter.window != target.window) return differs("window", target.window, drafter.window);
  std::vector<int> donors;
  for (const LayerConfig& layer : drafter.layers) {
    int donor = -1;
    for (int i = 0; i < target.n_layers(); ++i) {
      const LayerConfig& other = target.layers[static_cast<size_t>(i)];
      if (!other.shares_kv && other.full == layer.full) donor = i;
    }
    if (donor < 0) return differs("kind of layers", 0, 1);
    const LayerConfig& keys = target.layers[static_cast<size_t>(donor)];
    if (layer.kv_heads != keys.kv_heads) return differs("number of key heads", keys.kv_heads, layer.kv_heads);
    if (layer.head_dim != keys.head_dim) return differs("head size", keys.head_dim, layer.head_dim);
    donors.push_back(donor);
  }
  return donors;
}

}  // namespace

Result<Drafter::Parts> Drafter::load_parts(const formats::Checkpoint& checkpoint, const Config& config,
                                           const Context& ctx, int64_t context, const DrafterOptions& options,
                                           formats::Packing packing) {
  const Plan plan = make_plan(config);
  formats::WeightStore store(checkpoint, *ctx.kernels, *ctx.pool, nullptr, packing);
  FACET_TRY(DrafterWeights weights, load_drafter_weights(checkpoint, config, plan, store, options.progress));
  std::vector<const Linear*> readers = {&weights.output};
  if (config.drafter->centroids > 0) readers.push_back(&weights.centroids);
  FACET_TRY(TextModel text, TextModel::create(ctx, config, plan, std::exchange(weights.decoder, {}),
                                              options.max_sequences, context, readers));
  return Parts{.store = std::move(store), .weights = std::move(weights), .text = std::move(text)};
}

Result<Drafter::Buffers> Drafter::Buffers::allocate(const Context& ctx, const Config& config,
                                                    const DrafterWeights& weights, int64_t sequences) {
  const DrafterConfig& drafter = *config.drafter;
  const int64_t t = sequences, width = drafter.target_width;
  Buffers b;
  FACET_TRY(b.both, Matrix<float>::allocate(t, 2 * width));
  FACET_TRY(b.x, Matrix<float>::allocate(t, config.width));
  FACET_TRY(b.next, Matrix<float>::allocate(t, width));
  FACET_TRY(b.logits, Matrix<float>::allocate(t, config.vocab_size));
  const std::array input = {&weights.input};
  FACET_TRY(b.input, ops::Operand::allocate(t, 2 * width, ops::forms_read_by(ctx, input)));
  if (drafter.centroids > 0) {
    FACET_TRY(b.scores, Matrix<float>::allocate(t, drafter.centroids));
    FACET_TRY(b.cluster, ops::ClusterScratch::allocate(ctx.pool->n_threads(), drafter.centroids_used, config.width));
  }
  return b;
}

int64_t Drafter::Buffers::bytes() const {
  return both.bytes() + x.bytes() + next.bytes() + scores.bytes() + logits.bytes() + input.bytes() + cluster.bytes();
}

Drafter::Drafter(Context ctx, Gemma& target, Parts parts, Buffers buffers, int64_t sequences)
    : ctx_(ctx),
      target_(target),
      store_(std::move(parts.store)),
      text_(std::move(parts.text)),
      weights_(std::move(parts.weights)),
      b_(std::move(buffers)) {
  ranges_.reserve(static_cast<size_t>(sequences));
  positions_.reserve(static_cast<size_t>(sequences));
  for (int64_t i = 0; i < sequences; ++i) rows_.push_back(static_cast<int32_t>(i));
  row_.resize(static_cast<size_t>(config().vocab_size));
}

Result<std::unique_ptr<Drafter>> Drafter::load(const formats::Checkpoint& checkpoint, Gemma& target,
                                               const DrafterOptions& options) {
  FACET_TRY(const Config config, read_drafter_config(checkpoint));
  FACET_TRY(std::vector<int> donors, donors_of(config, target.text().config(), checkpoint.path().string()));
  Context ctx = target.context();
  ctx.observer = nullptr;
  FACET_TRY(Parts parts, load_parts(checkpoint, config, ctx, target.limits().context, options, formats::Packing::done));
  FACET_TRY(Buffers buffers, Buffers::allocate(ctx, config, parts.weights, options.max_sequences));
  std::unique_ptr<Drafter> drafter(
      new Drafter(ctx, target, std::move(parts), std::move(buffers), options.max_sequences));  // private constructor
  drafter->donors_ = std::move(donors);
  drafter->position_ = options.position;
  return drafter;
}

Result<ModelBytes> Drafter::bytes_needed(const formats::Checkpoint& checkpoint, const Context& ctx, int64_t context,
                                         const DrafterOptions& options) {
  FACET_TRY(const Config config, read_drafter_config(checkpoint));
  FACET_TRY(const Parts parts, load_parts(checkpoint, config, ctx, context, options, formats::Packing::counted));
  FACET_TRY(const Buffers buffers, Buffers::allocate(ctx, config, parts.weights, options.max_sequences));
  ModelBytes bytes = bytes_of(parts.store, parts.text);
  bytes.weights += static_cast<int64_t>(parts.weights.ordering.size() * sizeof(Token));
  bytes.scratch += buffers.bytes() - buffers.logits.bytes();
  bytes.logits += buffers.logits.bytes() + config.vocab_size * static_cast<int64_t>(sizeof(float));
  return bytes;
}

Result<void> Drafter::check(std::span<const SeqId> sequences, size_t tokens, std::span<const float> hidden) const {
  const auto bad = [](std::string what, std::string expected, std::string found) {
    return Error{.code = ErrorCode::invalid_argument,
                 .what = std::move(what),
                 .where = "draft",
                 .expected = std::move(expected),
                 .found = std::move(found)};
  };
  const size_t n = sequences.size();
  if (n == 0 || n > rows_.size()) return bad("number of sequences out of range", cat("1 to ", rows_.size()), cat(n));
  if (tokens != n || hidden.size() != n * static_cast<size_t>(target_width()))
    return bad("tokens or hidden states do not fit the sequences", cat(n), cat(tokens, ", ", hidden.size()));
  for (const SeqId id : sequences)
    if (target_.length(id) == 0) return bad("sequence holds no keys", "one position at least", "0");
  return {};
}

Result<void> Drafter::step(std::span<const SeqId> sequences, std::span<const Token> tokens, std::span<float> hidden,
                           ResultSink& sink) {
  FACET_TRY_VOID(check(sequences, tokens.size(), hidden));
  for (const Token token : tokens)
    if (token < 0 || token >= config().vocab_size)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "token lies outside the vocabulary",
                   .where = "draft",
                   .expected = cat("0 to ", config().vocab_size - 1),
                   .found = cat(token)};
  const TextModel& target = target_.text();
  FACET_TRY_VOID(ops::lookup(ctx_, b_.both.view(static_cast<int64_t>(tokens.size())).col_range(0, target_width()),
                             *target.weights().tokens, tokens, static_cast<float>(target.config().embedding_scale)));
  return run(sequences, hidden, sink);
}

Result<void> Drafter::step(std::span<const SeqId> sequences, std::span<const float> embeddings, std::span<float> hidden,
                           ResultSink& sink) {
  FACET_TRY_VOID(check(sequences, embeddings.size() / static_cast<size_t>(target_width()), hidden));
  ops::write(b_.both.view(static_cast<int64_t>(sequences.size())).col_range(0, target_width()), embeddings);
  return run(sequences, hidden, sink);
}

// x = W_pre [e; h], e standing in b_.both;  the layers on the target's keys;  y = norm(x);  h' = W_post y;
// logits = head(y)
Result<void> Drafter::run(std::span<const SeqId> sequences, std::span<float> hidden, ResultSink& sink) {
  const int64_t n = static_cast<int64_t>(sequences.size()), b = target_width();
  const std::span<const int32_t> rows = std::span(rows_).first(sequences.size());
  const Mat<float> both = b_.both.view(n), x = b_.x.view(n), next = b_.next.view(n);
  ops::write(both.col_range(b, b), hidden);
  ops::prepare(ctx_, b_.input, both);                    // (T, 2 B)
  ops::linear(ctx_, x, b_.input, weights_.input, rows);  // (T, D)

  ranges_.clear();
  positions_.clear();
  for (size_t i = 0; i < sequences.size(); ++i) {
    ranges_.push_back({.sequence = sequences[i], .first_row = static_cast<int32_t>(i), .rows = 1});
    const int64_t stored = target_.length(sequences[i]);
    positions_.push_back(static_cast<int32_t>(position_ == DrafterOptions::Position::of_hidden ? stored - 1 : stored));
  }
  text_.draft(ctx_, x, {.sequences = ranges_, .positions = positions_, .donors = donors_}, target_.cache());
  ops::Operand& y = text_.hidden();  // (T, D)
  if (ctx_.observer != nullptr) ctx_.observer->tap("final_norm", -1, y.f32(), rows);
  ops::linear(ctx_, next, y, weights_.output, rows);  // (T, B)
  FACET_TRY_VOID(head(n));
  ops::read(hidden, next);
  for (int64_t i = 0; i < n; ++i) {
    ops::read(row_, b_.logits.view(n).row_range(i, 1));
    sink.logits(static_cast<int32_t>(i), row_);
  }
  return {};
}

// E y, or only the tokens of the nearest clusters.
Result<void> Drafter::head(int64_t n) {
  ops::Operand& y = text_.hidden();
  const std::span<const int32_t> rows = std::span(rows_).first(static_cast<size_t>(n));
  const Mat<float> logits = b_.logits.view(n);
  if (weights_.ordering.empty()) {
    ops::linear(ctx_, logits, y, text_.weights().head, rows);  // (T, V)
    return {};
  }
  const Mat<float> scores = b_.scores.view(n);
  ops::linear(ctx_, scores, y, weights_.centroids, rows);  // (T, C)
  return ops::cluster_head(ctx_, logits, y.f32(), scores, weights_.ordering, *text_.weights().tokens, b_.cluster);
}

}  // namespace facet::model
