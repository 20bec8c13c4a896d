// Norms, sums and other row-wise operations on activations; embedding lookup; reading results back.
#pragma once

#include <span>

#include "ops/context.h"
#include "tensor/token.h"
#include "tensor/weight.h"

namespace facet::ops {

// y = rms(x) ⊙ w per row (w.data null: no weight). Shapes (T, D); y may be x.
void rms_norm(Context& ctx, Mat<float> y, Mat<const float> x, const Vector& w, float eps);
// The same per head: x: (T, heads * head_dim), w: (head_dim).
void rms_norm_heads(Context& ctx, Mat<float> y, Mat<const float> x, const Vector& w, float eps, int64_t head_dim);

// h += rms(x) ⊙ w: a sub-layer's output joins the residual stream. x is overwritten.
void add_norm(Context& ctx, Mat<float> h, Mat<float> x, const Vector& w, float eps);
// y = rms(a) ⊙ wa + rms(b) ⊙ wb: dense and expert branch of the 26B. a and b are overwritten.
void add_norms(Context& ctx, Mat<float> y, Mat<float> a, const Vector& wa, Mat<float> b, const Vector& wb, float eps);

void scale(Context& ctx, Mat<float> y, float s);
void copy(Context& ctx, Mat<float> y, Mat<const float> x);
// y row i = x row rows[i].
void gather(Context& ctx, Mat<float> y, Mat<const float> x, std::span<const int32_t> rows);
// y = cap * tanh(y / cap).
void softcap(Context& ctx, Mat<float> y, float cap);

// y row i = table row tokens[i], dequantised, times s. Fails before writing anything to a cache. y: (T, table.cols()).
// Requires the tokens to lie inside the table.
Result<void> lookup(Context& ctx, Mat<float> y, const RowSource& table, std::span<const Token> tokens, float s);

// Per-layer inputs of the E models (text-decoder.md 2.4), for the layers whose context rows are given:
// ple = (rms(context * D^(-1/2)) ⊙ w + token) * 2^(-1/2) per chunk of P values. context, token: (T, layers * P); in
// place in token.
void combine_ple(Context& ctx, Mat<float> token, Mat<float> context, const Vector& w, float eps, int64_t width,
                 int64_t model_width);

// Copies to memory of the caller: how results come home.
void read(std::span<float> out, Mat<const float> x);  // out.size() == rows * cols
void read(std::span<int32_t> out, Mat<const int32_t> x);
void write(Mat<float> y, std::span<const float> values);
// log-probability of `token` under the logits in row i of x.
float logprob(Context& ctx, Mat<const float> x, int64_t i, Token token);

}  // namespace facet::ops
