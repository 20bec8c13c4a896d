#include "ops/elementwise.h"

#include <atomic>
#include <cmath>
#include <limits>

#include "ops/access.h"
#include "ops/rows.h"

namespace facet::ops {

void rms_norm(Context& ctx, Mat<float> y, Mat<const float> x, const Vector& w, float eps) {
  FACET_CHECK(y.rows() == x.rows() && y.cols() == x.cols() && (w.data == nullptr || w.size == x.cols()));
  for_rows(ctx, x.rows(), x.cols(),
           [&](int64_t i) { ctx.kernels->rms_norm(row(y, i), row(x, i), w.data, x.cols(), eps); });
}

void rms_norm_heads(Context& ctx, Mat<float> y, Mat<const float> x, const Vector& w, float eps, int64_t head_dim) {
  FACET_CHECK(y.rows() == x.rows() && y.cols() == x.cols() && x.cols() % head_dim == 0);
  FACET_CHECK(w.data == nullptr || w.size == head_dim);
  const int64_t heads = x.cols() / head_dim;
  for_rows(ctx, x.rows() * heads, head_dim, [&](int64_t i) {
    const int64_t at = i % heads * head_dim;
    ctx.kernels->rms_norm(row(y, i / heads) + at, row(x, i / heads) + at, w.data, head_dim, eps);
  });
}

void add_norm(Context& ctx, Mat<float> h, Mat<float> x, const Vector& w, float eps) {
  FACET_CHECK(h.rows() == x.rows() && h.cols() == x.cols() && (w.data == nullptr || w.size == x.cols()));
  for_rows(ctx, x.rows(), x.cols(), [&](int64_t i) {
    ctx.kernels->rms_norm(row(x, i), row(x, i), w.data, x.cols(), eps);
    ctx.kernels->add(row(h, i), row(x, i), x.cols());
  });
}

void add_norms(Context& ctx, Mat<float> y, Mat<float> a, const Vector& wa, Mat<float> b, const Vector& wb, float eps) {
  FACET_CHECK(y.rows() == a.rows() && a.rows() == b.rows() && y.cols() == a.cols() && a.cols() == b.cols());
  for_rows(ctx, a.rows(), a.cols(), [&](int64_t i) {
    ctx.kernels->rms_norm(row(a, i), row(a, i), wa.data, a.cols(), eps);
    ctx.kernels->rms_norm(row(b, i), row(b, i), wb.data, b.cols(), eps);
    if (row(y, i) != row(a, i)) std::copy_n(row(a, i), a.cols(), row(y, i));
    ctx.kernels->add(row(y, i), row(b, i), b.cols());
  });
}

void scale(Context& ctx, Mat<float> y, float s) {
  for_pieces(ctx, y.rows(), y.cols(),
             [&](int64_t i, int64_t first, int64_t n) { ctx.kernels->scale(row(y, i) + first, s, n); });
}

void copy(Context& ctx, Mat<float> y, Mat<const float> x) {
  FACET_CHECK(y.rows() == x.rows() && y.cols() == x.cols());
  for_rows(ctx, x.rows(), x.cols(), [&](int64_t i) { std::copy_n(row(x, i), x.cols(), row(y, i)); });
}

void gather(Context& ctx, Mat<float> y, Mat<const float> x, std::span<const int32_t> rows) {
  FACET_CHECK(y.rows() == static_cast<int64_t>(rows.size()) && y.cols() == x.cols());
  for_rows(ctx, y.rows(), y.cols(),
           [&](int64_t i) { std::copy_n(row(x, rows[static_cast<size_t>(i)]), x.cols(), row(y, i)); });
}

void softcap(Context& ctx, Mat<float> y, float cap) {
  for_pieces(ctx, y.rows(), y.cols(), [&](int64_t i, int64_t first, int64_t n) {
    float* piece = row(y, i) + first;
    ctx.kernels->softcap(piece, piece, n, cap);
  });
}

Result<void> lookup(Context& ctx, Mat<float> y, const RowSource& table, std::span<const Token> tokens, float s) {
  FACET_CHECK(y.rows() == static_cast<int64_t>(tokens.size()) && y.cols() == table.cols());
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> failed = kNone;
  for_rows(ctx, y.rows(), y.cols(), [&](int64_t i) {
    const Result<const std::byte*> bytes = table.row(tokens[static_cast<size_t>(i)]);
    if (!bytes.ok()) {
      failed = i;
      return;
    }
    kernels::dequantize(table.type(), row(y, i), *bytes, y.cols());
    ctx.kernels->scale(row(y, i), s, y.cols());
  });
  if (failed != kNone) FACET_TRY_VOID(table.row(tokens[static_cast<size_t>(failed.load())]));  // its Error, once more
  return {};
}

void combine_ple(Context& ctx, Mat<float> token, Mat<float> context, const Vector& w, float eps, int64_t width,
                 int64_t model_width) {
  FACET_CHECK(token.rows() == context.rows() && token.cols() == context.cols() && token.cols() % width == 0);
  FACET_CHECK(w.size == width);
  const int64_t layers = token.cols() / width;
  const float from_model = 1 / std::sqrt(static_cast<float>(model_width)), half = std::sqrt(0.5f);
  for_rows(ctx, token.rows() * layers, width, [&](int64_t i) {
    float* t = row(token, i / layers) + i % layers * width;
    float* c = row(context, i / layers) + i % layers * width;
    ctx.kernels->scale(c, from_model, width);
    ctx.kernels->rms_norm(c, c, w.data, width, eps);
    ctx.kernels->add(t, c, width);
    ctx.kernels->scale(t, half, width);
  });
}

void read(std::span<float> out, Mat<const float> x) {
  FACET_CHECK(static_cast<int64_t>(out.size()) == x.rows() * x.cols());
  for (int64_t i = 0; i < x.rows(); ++i) std::copy_n(row(x, i), x.cols(), out.data() + i * x.cols());
}

void read(std::span<int32_t> out, Mat<const int32_t> x) {
  FACET_CHECK(static_cast<int64_t>(out.size()) == x.rows() * x.cols());
  for (int64_t i = 0; i < x.rows(); ++i) std::copy_n(row(x, i), x.cols(), out.data() + i * x.cols());
}

void write(Mat<float> y, std::span<const float> values) {
  FACET_CHECK(static_cast<int64_t>(values.size()) == y.rows() * y.cols());
  for (int64_t i = 0; i < y.rows(); ++i) std::copy_n(values.data() + i * y.cols(), y.cols(), row(y, i));
}

float logprob(Context& ctx, Mat<const float> x, int64_t i, Token token) {
  FACET_CHECK(token >= 0 && token < x.cols());
  return row(x, i)[token] - ctx.kernels->log_sum_exp(row(x, i), x.cols());
}

}  // namespace facet::ops
