// The forward pass. Equations are those of text-decoder.md 2; letters those of model/weights.h. The comment at the end
// of a line is the shape of its result.
#include "model/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "ops/elementwise.h"

namespace facet::model {

Result<TextModel> TextModel::create(const Context& ctx, const Config& config, const Plan& plan, Weights weights,
                                    int64_t max_rows, int64_t max_context, std::span<const Linear* const> readers) {
  FACET_TRY(Activations a, Activations::allocate(ctx, config, plan, weights, max_rows, max_context, readers));
  return TextModel(config, plan, std::move(weights), std::move(a), max_rows);
}

Result<void> TextModel::forward(Context& ctx, const Batch& batch, KvCache& cache, ResultSink& sink) {
  FACET_TRY_VOID(check(batch, cache));
  Pass pass{.ctx = ctx, .batch = batch, .cache = cache, .h = {}, .ple = {}};
  prefetch(batch.tokens);  // rows of both tables, all at once, before the first is needed
  begin(pass);
  FACET_TRY_VOID(embed(pass));
  if (config_.ple_width > 0) FACET_TRY_VOID(per_layer_inputs(pass));
  for (const LayerPlan& layer : plan_.layers) {
    decoder_layer(pass, layer, weights_.layers[static_cast<size_t>(layer.index)]);
    if (a_.rows.empty()) return {};  // a chunk of a prompt that nobody wants results of
  }
  output(pass, sink);
  return {};
}

void TextModel::draft(Context& ctx, Mat<const float> inputs, const DraftRows& rows, KvCache& cache) {
  const size_t t = rows.sequences.size();
  FACET_CHECK(inputs.rows() == static_cast<int64_t>(t) && inputs.rows() <= max_rows_ &&
              inputs.cols() == config_.width && rows.positions.size() == t &&
              rows.donors.size() == plan_.layers.size());
  const Batch batch{.tokens = {},
                    .positions = rows.positions,
                    .sequences = rows.sequences,
                    .soft = {},
                    .bidirectional = {},
                    .outputs = {},
                    .skip = Skip::off};
  Pass pass{
      .ctx = ctx, .batch = batch, .cache = cache, .h = a_.h.view(inputs.rows()), .ple = {}, .donors = rows.donors};
  a_.rows.resize(t);
  a_.positions.resize(t);
  for (size_t i = 0; i < t; ++i) {
    a_.rows[i] = static_cast<int32_t>(i);
    a_.positions[i] = static_cast<int32_t>(cache.length(rows.sequences[i].sequence)) - 1;  // sees all that is stored
  }
  see(pass);
  a_.positions.assign(rows.positions.begin(), rows.positions.end());
  turn(ctx);
  ops::copy(ctx, pass.h, inputs);
  for (const LayerPlan& layer : plan_.layers)
    decoder_layer(pass, layer, weights_.layers[static_cast<size_t>(layer.index)]);
  ops::prepare(ctx, a_.x, pass.h, weights_.final_norm, eps());
}

// One decoder layer on the residual stream h:
//   h ← h + norm(attention(norm(h)))
//   h ← h + norm(ffn(norm(h)))                       ffn: gated MLP, or dense + experts
//   h ← h + norm(W_proj (gelu(W_gate h) ⊙ ple_i))    E models
//   h ← h * scalar
void TextModel::decoder_layer(Pass& pass, const LayerPlan& layer, const LayerWeights& w) {
  attention(pass, layer, w);
  if (a_.rows.empty()) return;
  feed_forward(pass, layer, w);
  if (layer.has_ple) per_layer_input(pass, layer, w);
  if (config_.layer_scalar) ops::scale(pass.ctx, pass.h, w.scalar);
  tap(pass, "out", layer.index, pass.h);
}

// q = rope(norm_q(W_q x));  o = softmax(scale q Kᵀ) V over the visible keys of the cache;  W_o o
void TextModel::attention(Pass& pass, const LayerPlan& layer, const LayerWeights& w) {
  Context& ctx = pass.ctx;
  const int64_t d = layer.head_dim, q_width = config_.heads * d;
  ops::prepare(ctx, a_.x, pass.h, w.attention_norm, eps());  // (T, D)
  if (layer.stores_kv) store_keys(pass, layer, w);
  if (layer.last_storing && pass.cuts) {
    keep_output_rows(pass);
    if (a_.rows.empty()) return;
    ops::prepare(ctx, a_.x, pass.h, w.attention_norm, eps());
  }
  const int64_t t = pass.h.rows();
  const Mat<float> q = a_.q.view(t, q_width), attended = a_.attended.view(t, q_width), y = a_.y.view(t);
  ops::linear(ctx, q, a_.x, w.query, a_.rows);  // (T, H d)
  ops::rms_norm_heads(ctx, q, q, w.query_norm, eps(), d);
  ops::rope(ctx, q, d, cosine(layer), sine(layer));
  tap(pass, "q", layer.index, q);

  view_keys(pass, layer);
  const ops::AttentionShape shape{.heads = config_.heads,
                                  .kv_heads = layer.kv_heads,
                                  .head_dim = d,
                                  .scale = static_cast<float>(config_.attention_scale)};
  ops::attend(ctx, attended, q, a_.views, layer.full ? a_.sees_full : a_.sees_sliding, shape, a_.scores);  // (T, H d)

  ops::prepare(ctx, a_.attention, attended);
  ops::linear(ctx, y, a_.attention, w.attention_output, a_.rows);  // (T, D)
  tap(pass, "attn_out", layer.index, y);
  ops::add_norm(ctx, pass.h, y, w.post_attention_norm, eps());
  tap(pass, "after_attention", layer.index, pass.h);
}

// Its own keys, which include those of this batch, or those of the model that a drafter drafts for.
void TextModel::view_keys(const Pass& pass, const LayerPlan& layer) {
  a_.views.clear();
  for (const SeqRange& range : pass.batch.sequences) {
    const int64_t length = pass.cache.length(range.sequence);
    if (pass.donors.empty()) {
      a_.views.push_back(pass.cache.view(layer.index, range.sequence, length + range.rows));
    } else {
      a_.views.push_back(pass.cache.view(pass.donors[static_cast<size_t>(layer.index)], range.sequence, length));
    }
  }
}

// k = rope(norm_k(W_k x));  v = norm(W_v x), or norm(W_k x) where the layer has no W_v. Both join the cache before any
// query reads it.
void TextModel::store_keys(Pass& pass, const LayerPlan& layer, const LayerWeights& w) {
  Context& ctx = pass.ctx;
  const int64_t t = pass.h.rows(), d = layer.head_dim, kv_width = layer.kv_heads * d;
  const Mat<float> k = a_.k.view(t, kv_width), v = a_.v.view(t, kv_width);
  if (layer.value_is_key) {
    ops::linear(ctx, k, a_.x, w.key, a_.rows);  // (T, K d)
    ops::copy(ctx, v, k);
  } else {
    const std::array ys = {k, v};
    const std::array linears = {&w.key, &w.value};
    ops::linears(ctx, ys, a_.x, linears, a_.rows);  // (T, K d) each
  }
  if (config_.value_norm) ops::rms_norm_heads(ctx, v, v, Vector{}, eps(), d);
  ops::rms_norm_heads(ctx, k, k, w.key_norm, eps(), d);
  ops::rope(ctx, k, d, cosine(layer), sine(layer));
  tap(pass, "k", layer.index, k);
  tap(pass, "v", layer.index, v);
  for (const SeqRange& range : pass.batch.sequences) {
    ops::write_kv(ctx, pass.cache.writer(layer.index, range.sequence), k.row_range(range.first_row, range.rows),
                  v.row_range(range.first_row, range.rows));
  }
}

// mlp(x) = W_down (gelu(W_gate x) ⊙ W_up x)
void TextModel::feed_forward(Pass& pass, const LayerPlan& layer, const LayerWeights& w) {
  Context& ctx = pass.ctx;
  const int64_t t = pass.h.rows();
  const Mat<float> gate = a_.gate.view(t, layer.ffn_width), up = a_.up.view(t, layer.ffn_width), y = a_.y.view(t);
  ops::prepare(ctx, a_.x, pass.h, w.ffn_norm, eps());  // (T, D)
  const std::array ys = {gate, up};
  const std::array linears = {&w.ffn_gate, &w.ffn_up};
  ops::linears(ctx, ys, a_.x, linears, a_.rows);     // (T, F) each
  ops::prepare_gelu(ctx, a_.ffn, gate, up);          // (T, F)
  ops::linear(ctx, y, a_.ffn, w.ffn_down, a_.rows);  // (T, D)
  if (layer.has_experts) mixture_of_experts(pass, w, y);
  ops::add_norm(ctx, pass.h, y, w.post_ffn_norm, eps());
  tap(pass, "after_ffn", layer.index, pass.h);
}

// f = norm_1(dense) + norm_2(experts(norm(h))), the router reading raw h. The result replaces `dense`.
void TextModel::mixture_of_experts(Pass& pass, const LayerWeights& w, Mat<float> dense) {
  Context& ctx = pass.ctx;
  const int layer = w.router.id.layer;
  const Mat<float> z = a_.z.view(pass.h.rows());
  ops::route(ctx, a_.experts, a_.x, pass.h, w.router, w.router_scale, w.expert_scale, eps(), a_.rows);
  tap(pass, "router", layer, a_.experts.probabilities());
  tap(pass, "expert_weights", layer, a_.experts.weights());
  if (ctx.observer != nullptr) ctx.observer->tap_ids("experts", layer, a_.experts.chosen(), a_.rows);
  ops::prepare(ctx, a_.x, pass.h, w.expert_norm, eps());                               // (T, D)
  ops::experts(ctx, z, a_.experts, a_.x, w.experts_gate_up, w.experts_down, a_.rows);  // (T, D)
  tap(pass, "experts_out", layer, z);
  ops::add_norms(ctx, dense, dense, w.post_dense_norm, z, w.post_expert_norm, eps());
  tap(pass, "ffn_out", layer, dense);
}

void TextModel::per_layer_input(Pass& pass, const LayerPlan& layer, const LayerWeights& w) {
  Context& ctx = pass.ctx;
  const int64_t t = pass.h.rows(), p = config_.ple_width;
  const Mat<float> gate = a_.ple_gate.view(t), y = a_.y.view(t);
  ops::prepare(ctx, a_.x, pass.h);                    // (T, D)
  ops::linear(ctx, gate, a_.x, w.ple_gate, a_.rows);  // (T, P)
  ops::prepare_gelu(ctx, a_.ple_input, gate, pass.ple.col_range(layer.index * p, p));
  ops::linear(ctx, y, a_.ple_input, w.ple_projection, a_.rows);  // (T, D)
  ops::add_norm(ctx, pass.h, y, w.ple_norm, eps());
}

// h = norm(h);  z = W_head h;  logits = cap tanh(z / cap)
void TextModel::output(Pass& pass, ResultSink& sink) {
  if (!pass.cuts) keep_output_rows(pass);
  size_t next = 0;
  const int64_t n = pass.h.rows();
  for (int64_t first = 0; first < n; first += kLogitRows) {
    const int64_t count = std::min(kLogitRows, n - first);
    ops::prepare(pass.ctx, a_.x, pass.h.row_range(first, count), weights_.final_norm, eps());
    next =
        deliver(pass, std::span(a_.rows).subspan(static_cast<size_t>(first), static_cast<size_t>(count)), next, sink);
  }
}

// Hands the outputs of one slice of rows, whose final norm stands in a_.x, to the sink; returns the next output.
size_t TextModel::deliver(Pass& pass, std::span<const int32_t> rows, size_t next, ResultSink& sink) {
  Context& ctx = pass.ctx;
  const std::span<const OutputRow> outputs = pass.batch.outputs;
  size_t end = next;
  bool wants_logits = false, wants_all = ctx.observer != nullptr;
  for (; end < outputs.size() && outputs[end].row <= rows.back(); ++end) {
    wants_logits |= outputs[end].want != Want::hidden;
    wants_all |= outputs[end].want == Want::logprob;
  }

  const Mat<float> hidden = a_.x.f32();  // (n, D)
  if (ctx.observer != nullptr) ctx.observer->tap("final_norm", -1, hidden, rows);
  const Mat<float> logits = a_.logits.view(hidden.rows()), maxima = a_.maxima.view(hidden.rows());
  float cap = static_cast<float>(config_.logit_softcap);                        // what is still to be done; 0: nothing
  if (wants_logits) ops::head(ctx, logits, maxima, a_.x, weights_.head, rows);  // (n, V)
  if (wants_logits && wants_all) {
    if (cap > 0) ops::softcap(ctx, logits, std::exchange(cap, 0.0f));
    if (ctx.observer != nullptr) ctx.observer->tap("logits", -1, logits, rows);
    ops::block_maxima(ctx, maxima, logits);
  }
  int64_t i = 0;
  for (; next < end; ++next) {
    const OutputRow& out = outputs[next];
    while (rows[static_cast<size_t>(i)] != out.row) ++i;
    const int32_t number = static_cast<int32_t>(next);
    if (out.want == Want::logits || out.want == Want::both) {
      ops::LogitRow row(ctx, logits.row_range(i, 1), maxima.row_range(i, 1), cap, a_.logit_row);
      sink.logit_row(number, row);
    }
    if (out.want == Want::hidden || out.want == Want::both) {
      ops::read(a_.hidden, hidden.row_range(i, 1));
      sink.hidden(number, a_.hidden);
    }
    if (out.want == Want::logprob) sink.logprob(number, ops::logprob(ctx, logits, i, out.token));
  }
  return next;
}

void TextModel::tap(const Pass& pass, std::string_view name, int layer, Mat<float> values) const {
  if (pass.ctx.observer != nullptr) pass.ctx.observer->tap(name, layer, values, a_.rows);
}

Mat<float> TextModel::cosine(const LayerPlan& layer) {
  const int64_t t = static_cast<int64_t>(a_.rows.size());
  return layer.full ? a_.cos_full.view(t) : a_.cos_sliding.view(t);
}

Mat<float> TextModel::sine(const LayerPlan& layer) {
  const int64_t t = static_cast<int64_t>(a_.rows.size());
  return layer.full ? a_.sin_full.view(t) : a_.sin_sliding.view(t);
}

}  // namespace facet::model
