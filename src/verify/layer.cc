// Equations are those of model/text.cc, in its order; T rows.
#include "verify/layer.h"

#include <algorithm>
#include <cmath>

namespace facet::verify {

namespace names = model::tensors;

void PartCheck::layer(int index) {
  attention(index);
  feed_forward(index);
  if (config_.ple_width > 0) per_layer_input(index);
  layer_output(index);
}

// q = rope(norm_q(W_q x));  o = softmax(scale q Kᵀ) V;  h ← h + norm(W_o o);  x = norm(h)
void PartCheck::attention(int index) {
  const model::LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  const CopiedLinear& query = record_.linear(LinearRole::query);
  expect_norm("attention_norm", query.input.f32, record_.h, setup_.source.norm(names::kAttentionNorm, index));
  expect_forms("attention_norm, rounded", query.input);
  if (!layer.shares_kv) keys_and_values(index);
  expect_product(LinearRole::query, "query", index);
  const std::vector<double> turns = frequencies(index);
  expect_heads("q", record_.tap("q"), query.output, setup_.source.norm(names::kQueryNorm, index), true, &turns,
               layer.head_dim);
  attend(index);
  expect_forms("attention, rounded", record_.linear(LinearRole::attention_output).input);
  expect_product(LinearRole::attention_output, "attention_output", index);
  expect_joined("after_attention", record_.tap("after_attention"), record_.h,
                record_.linear(LinearRole::attention_output).output,
                setup_.source.norm(names::kPostAttentionNorm, index), 1, 0);
}

// k = rope(norm_k(W_k x));  v = norm(W_v x), or norm(W_k x)
void PartCheck::keys_and_values(int index) {
  const model::LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  const std::vector<double> turns = frequencies(index);
  expect_product(LinearRole::key, "key", index);
  if (!layer.value_is_key) expect_product(LinearRole::value, "value", index);
  const Copied<float>& key = record_.linear(LinearRole::key).output;
  const Copied<float>& value = layer.value_is_key ? key : record_.linear(LinearRole::value).output;
  expect_heads("k", record_.tap("k"), key, setup_.source.norm(names::kKeyNorm, index), true, &turns, layer.head_dim);
  expect_heads("v", record_.tap("v"), value, {}, config_.value_norm, nullptr, layer.head_dim);
  stored(index);
}

// mlp(x) = W_down (gelu(W_gate x) ⊙ W_up x);  h ← h + norm(mlp(norm(h)))
void PartCheck::feed_forward(int index) {
  const Copied<float>& h = record_.tap("after_attention");
  const CopiedLinear& gate = record_.linear(LinearRole::ffn_gate);
  const CopiedLinear& down = record_.linear(LinearRole::ffn_down);
  expect_norm("ffn_norm", gate.input.f32, h, setup_.source.norm(names::kFfnNorm, index));
  expect_forms("ffn_norm, rounded", gate.input);
  expect_product(LinearRole::ffn_gate, "ffn_gate", index);
  expect_product(LinearRole::ffn_up, "ffn_up", index);
  expect_gelu("gelu", down.input, gate.output, record_.linear(LinearRole::ffn_up).output, 0, down.rows);
  expect_forms("gelu, rounded", down.input);
  expect_product(LinearRole::ffn_down, "ffn_down", index);
  if (config_.experts > 0) experts(index);
  expect_joined("after_ffn", record_.tap("after_ffn"), h, config_.experts > 0 ? record_.tap("ffn_out") : down.output,
                setup_.source.norm(names::kPostFfnNorm, index), 1, 0);
}

// h ← h + norm(W_proj (gelu(W_gate h) ⊙ ple_i)); the sum joins in layer_output().
void PartCheck::per_layer_input(int index) {
  const CopiedLinear& gate = record_.linear(LinearRole::ple_gate);
  const CopiedLinear& projection = record_.linear(LinearRole::ple_projection);
  expect_same("ple_input", gate.input.f32, record_.tap("after_ffn"));
  expect_forms("ple_input, rounded", gate.input);
  expect_product(LinearRole::ple_gate, "ple_gate", index);
  expect_gelu("ple_gelu", projection.input, gate.output, record_.ple, index * config_.ple_width, gate.rows);
  expect_forms("ple_gelu, rounded", projection.input);
  expect_product(LinearRole::ple_projection, "ple_projection", index);
}

// h ← h * scalar
void PartCheck::layer_output(int index) {
  const Copied<float>&h = record_.tap("after_ffn"), &out = record_.tap("out");
  const double scalar = config_.layer_scalar ? setup_.source.vector(names::kLayerScalar, index).front() : 1;
  const double rounding = config_.layer_scalar ? kU : 0;
  if (config_.ple_width > 0) {
    expect_joined("out", out, h, record_.linear(LinearRole::ple_projection).output,
                  setup_.source.norm(names::kPleNorm, index), scalar, rounding);
    return;
  }
  Step& step = part_.step("out", StepKind::rounded);
  for (int64_t i = 0; i < out.rows; ++i)
    for (int64_t j = 0; j < out.cols; ++j) {
      const double value = static_cast<double>(h.row(i)[static_cast<size_t>(j)]) * scalar;
      step.compare(place(i, j), static_cast<double>(out.row(i)[static_cast<size_t>(j)]),
                   {value, rounding * std::abs(value) + (config_.layer_scalar ? kTiny : 0)});
    }
}

// h = E[token] * s
void PartCheck::embedding() {
  const Copied<float>& h = record_.tap("embed");
  const SourceMatrix table = setup_.source.table(names::kTokens);
  Step& step = part_.step("embed");
  SourceRow row;
  for (int64_t i = 0; i < h.rows; ++i) {
    table.read(row, batch_.tokens[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < h.cols; ++j) {
      const double value = row.weights[static_cast<size_t>(j)] * config_.embedding_scale;
      step.compare(place(i, j), static_cast<double>(h.row(i)[static_cast<size_t>(j)]),
                   {value, 2 * kU * std::abs(value) + kTiny});
    }
  }
  if (config_.ple_width > 0) per_layer_inputs();
}

// ple[l] = (norm(W_ctx h * D^(-1/2)) + T[token] * P^(1/2)) * 2^(-1/2)
void PartCheck::per_layer_inputs() {
  const size_t p = static_cast<size_t>(config_.ple_width);
  const SourceMatrix context = setup_.source.linear(LinearRole::ple_context, -1);
  const SourceMatrix table = setup_.source.table(names::kPleTokens);
  const std::vector<double> w = setup_.source.norm(names::kPleContextNorm, -1);
  const std::vector<CopiedLinear>& linears = record_.linears.at(LinearRole::ple_context);
  expect_same("ple_context input", linears.front().input.f32, record_.tap("embed"));
  expect_forms("ple_context input, rounded", linears.front().input);
  const double half = std::sqrt(0.5);
  SourceRow token_row;
  std::vector<float> scaled(p);
  for (size_t part = 0; part < linears.size(); ++part) {
    const size_t first = static_cast<size_t>(record_.ple_first_layers[part]) * p;
    expect_product("ple_context", context, linears[part], static_cast<int64_t>(first));
    Step& step = part_.step("ple");
    const Copied<float>& projected = linears[part].output;
    for (int64_t i = 0; i < projected.rows; ++i) {
      Token token = batch_.tokens[static_cast<size_t>(i)];
      if (std::ranges::find(config_.placeholders, token) != config_.placeholders.end()) token = config_.pad;
      table.read(token_row, token);
      for (size_t at = 0; at < static_cast<size_t>(projected.cols); at += p) {
        // The factor D^(-1/2) is taken out of the norm: eps grows by D instead.
        const std::vector<Bounded> normed =
            norm(projected.row(i).subspan(at, p), w, config_.norm_eps * static_cast<double>(config_.width));
        for (size_t j = 0; j < p; ++j) {
          const size_t column = first + at + j;
          const double token_half = token_row.weights[column] * std::sqrt(static_cast<double>(p));
          const double sum = normed[j].value + token_half;
          // The norm and its argument's factor (3 u), the token's factor (3 u), the sum, the product and its factor.
          const double bound =
              normed[j].bound + 3 * kU * (std::abs(normed[j].value) + std::abs(token_half)) + 3 * kU * std::abs(sum);
          step.compare(place(i, static_cast<int64_t>(column)), static_cast<double>(record_.ple.row(i)[column]),
                       {sum * half, half * bound + kTiny});
        }
      }
    }
  }
}

// z = W_head norm(h);  logits = cap tanh(z / cap)
void PartCheck::head() {
  const CopiedLinear& head = record_.linear(LinearRole::head);
  expect_norm("final_norm", head.input.f32, record_.h, setup_.source.norm(names::kFinalNorm, -1));
  expect_forms("final_norm, rounded", head.input);
  expect_product(LinearRole::head, "head", -1);
  const Copied<float>& logits = record_.tap("logits");
  if (config_.logit_softcap <= 0) return expect_same("logits", logits, head.output);
  Step& step = part_.step("logits");
  for (int64_t i = 0; i < logits.rows; ++i)
    for (int64_t j = 0; j < logits.cols; ++j) {
      const size_t at = static_cast<size_t>(j);
      step.compare(place(i, j), static_cast<double>(logits.row(i)[at]),
                   softcap(static_cast<double>(head.output.row(i)[at]), config_.logit_softcap));
    }
}

}  // namespace facet::verify
