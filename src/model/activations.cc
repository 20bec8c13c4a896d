#include "model/activations.h"

#include <algorithm>

namespace facet::model {
namespace {

// What the readers of each operand ask for, over all layers.
struct Forms {
  uint8_t x = 0, attention = 0, ffn = 0, ple_input = 0, experts = 0;
};

Forms forms_of(const Context& ctx, const Weights& weights) {
  const auto add = [&](uint8_t& forms, std::initializer_list<const Linear*> readers) {
    for (const Linear* reader : readers)
      if (reader->weight.rows > 0) forms |= ops::forms_read_by(ctx, {&reader, 1});
  };
  Forms forms;
  add(forms.x, {&weights.head, &weights.ple_context_before, &weights.ple_context_after});
  for (const LayerWeights& w : weights.layers) {
    add(forms.x, {&w.query, &w.key, &w.value, &w.ffn_gate, &w.ffn_up, &w.router, &w.experts_gate_up, &w.ple_gate});
    add(forms.attention, {&w.attention_output});
    add(forms.ffn, {&w.ffn_down});
    add(forms.ple_input, {&w.ple_projection});
    add(forms.experts, {&w.experts_down});
  }
  return forms;
}

}  // namespace

Result<Activations> Activations::allocate(const Context& ctx, const Config& config, const Plan& plan,
                                          const Weights& weights, int64_t max_rows, int64_t max_context,
                                          std::span<const Linear* const> readers) {
  int64_t q_width = 0, kv_width = 0, ffn_width = 0, sliding_dim = 0, full_dim = 0;
  for (const LayerPlan& layer : plan.layers) {
    q_width = std::max(q_width, config.heads * layer.head_dim);
    kv_width = std::max(kv_width, layer.kv_heads * layer.head_dim);
    ffn_width = std::max(ffn_width, layer.ffn_width);
    (layer.full ? full_dim : sliding_dim) = layer.head_dim;
  }
  const int64_t t = max_rows, width = config.width, ple = config.ple_width * config.n_layers();
  Forms forms = forms_of(ctx, weights);
  forms.x |= ops::forms_read_by(ctx, readers);

  Activations a;
  const auto take = [&](Matrix<float>& m, int64_t n_rows, int64_t n_cols) -> Result<void> {
    FACET_TRY(m, Matrix<float>::allocate(n_rows, n_cols));
    return {};
  };
  for (Matrix<float>* m : {&a.h, &a.kept, &a.y, &a.z}) FACET_TRY_VOID(take(*m, t, width));
  for (Matrix<float>* m : {&a.q, &a.attended}) FACET_TRY_VOID(take(*m, t, q_width));
  for (Matrix<float>* m : {&a.k, &a.v}) FACET_TRY_VOID(take(*m, t, kv_width));
  for (Matrix<float>* m : {&a.gate, &a.up}) FACET_TRY_VOID(take(*m, t, ffn_width));
  for (Matrix<float>* m : {&a.ple, &a.ple_context, &a.ple_kept}) FACET_TRY_VOID(take(*m, t, ple));
  FACET_TRY_VOID(take(a.ple_gate, t, config.ple_width));
  for (Matrix<float>* m : {&a.cos_sliding, &a.sin_sliding}) FACET_TRY_VOID(take(*m, t, sliding_dim / 2));
  for (Matrix<float>* m : {&a.cos_full, &a.sin_full}) FACET_TRY_VOID(take(*m, t, full_dim / 2));
  const int64_t logit_rows = std::min(t, kLogitRows), logit_blocks = facet::logit_blocks(config.vocab_size);
  FACET_TRY_VOID(take(a.logits, logit_rows, config.vocab_size));
  FACET_TRY_VOID(take(a.maxima, logit_rows, logit_blocks));

  FACET_TRY(a.x, ops::Operand::allocate(t, width, forms.x));
  FACET_TRY(a.attention, ops::Operand::allocate(t, q_width, forms.attention));
  FACET_TRY(a.ffn, ops::Operand::allocate(t, ffn_width, forms.ffn));
  if (config.ple_width > 0) {
    FACET_TRY(a.ple_input, ops::Operand::allocate(t, config.ple_width, forms.ple_input));
  }
  if (config.experts > 0) {
    FACET_TRY(a.experts,
              ops::ExpertScratch::allocate(t, config.experts, config.experts_used, config.expert_width, forms.experts));
  }
  FACET_TRY(a.scores, ops::AttentionScratch::allocate(ctx.pool->n_threads(), t, config.heads,
                                                      std::max(sliding_dim, full_dim), max_context));

  const size_t n = static_cast<size_t>(t);
  for (std::vector<int32_t>* list : {&a.rows, &a.positions, &a.output_rows, &a.picked}) list->reserve(n);
  for (std::vector<Token>* list : {&a.tokens, &a.ple_tokens}) list->reserve(n);
  for (std::vector<ops::QueryRow>* list : {&a.sees_sliding, &a.sees_full}) list->reserve(n);
  a.views.reserve(n);
  a.hidden.resize(static_cast<size_t>(width));
  a.logit_row.values.resize(static_cast<size_t>(config.vocab_size));
  a.logit_row.bounds.resize(static_cast<size_t>(logit_blocks));
  return a;
}

int64_t Activations::bytes() const {
  int64_t sum = x.bytes() + attention.bytes() + ffn.bytes() + ple_input.bytes() + experts.bytes() + scores.bytes();
  for (const Matrix<float>* m :
       {&h,   &kept,        &y,        &z,        &q,           &k,           &v,        &attended, &gate,   &up,
        &ple, &ple_context, &ple_gate, &ple_kept, &cos_sliding, &sin_sliding, &cos_full, &sin_full, &logits, &maxima})
    sum += m->bytes();
  const auto add = [&](const auto& list) { sum += static_cast<int64_t>(list.capacity() * sizeof(list[0])); };
  for (const std::vector<int32_t>* list : {&rows, &positions, &output_rows, &picked}) add(*list);
  for (const std::vector<Token>* list : {&tokens, &ple_tokens}) add(*list);
  for (const std::vector<ops::QueryRow>* list : {&sees_sliding, &sees_full}) add(*list);
  add(views);
  for (const std::vector<float>* list : {&hidden, &logit_row.values, &logit_row.bounds}) add(*list);
  return sum;
}

}  // namespace facet::model
