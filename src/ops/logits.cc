#include "ops/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/panel_product.h"
#include "ops/rows.h"

namespace facet::ops {
namespace {

// Of two arguments the smaller one can have the larger result, by the errors of both and the rounding of this sum. (The
// last term is for results that are no longer normal numbers.)
float bound_of(float capped) {
  return capped + std::fabs(capped) * (3 * kernels::kSoftcapError) + std::numeric_limits<float>::min();
}

}  // namespace

void head(Context& ctx, Mat<float> y, Mat<float> maxima, const Operand& operand, const Linear& linear,
          std::span<const int32_t> rows) {
  const Weight& weight = linear.weight;
  FACET_CHECK(weight.groups == 1 && y.cols() == weight.rows && y.rows() == operand.rows());
  FACET_CHECK(maxima.rows() == y.rows() && maxima.cols() == logit_blocks(y.cols()));
  if (ctx.observer != nullptr)
    ctx.observer->linear_input(
        {.id = linear.id, .values = Operand::Access::f32(operand), .index = {}, .rows = rows, .operand = &operand});
  const PanelProduct product(ctx, weight, operand);
  constexpr int64_t kBlockPanels = kLogitBlock / kernels::kPanelRows;
  const int64_t strip_panels = std::max(kBlockPanels, product.strip_panels() / kBlockPanels * kBlockPanels);
  const int64_t strips = (product.panels() + strip_panels - 1) / strip_panels;
  const int64_t tiles = (y.rows() + kTileRows - 1) / kTileRows;
  parallel(ctx, strips * tiles, [&](int64_t unit, int) {
    const int64_t panel = unit / tiles * strip_panels, first_row = unit % tiles * kTileRows;
    const int64_t n = std::min(kTileRows, y.rows() - first_row);
    const int64_t n_panels = std::min(product.panels() - panel, strip_panels), column = panel * kernels::kPanelRows;
    product.multiply(row(y, first_row) + column, y.stride(), 0, panel, n_panels, first_row, n);
    const int64_t width = std::min(n_panels * kernels::kPanelRows, y.cols() - column);
    for (int64_t i = first_row; i < first_row + n; ++i)
      ctx.kernels->block_maxima(row(maxima, i) + column / kLogitBlock, row(y, i) + column, width);
  });
  if (ctx.observer != nullptr) ctx.observer->linear_output({.id = linear.id, .values = y});
}

void block_maxima(Context& ctx, Mat<float> maxima, Mat<const float> y) {
  FACET_CHECK(maxima.rows() == y.rows() && maxima.cols() == logit_blocks(y.cols()));
  for_pieces(ctx, y.rows(), y.cols(), [&](int64_t i, int64_t first, int64_t n) {
    ctx.kernels->block_maxima(row(maxima, i) + first / kLogitBlock, row(y, i) + first, n);
  });
}

LogitRow::LogitRow(Context& ctx, Mat<const float> values, Mat<const float> maxima, float cap, LogitScratch& scratch)
    : ctx_(ctx), raw_(values), maxima_(maxima), cap_(cap), scratch_(scratch) {
  const int64_t blocks = logit_blocks(values.cols());
  FACET_CHECK(values.rows() == 1 && maxima.rows() == 1 && maxima.cols() == blocks);
  FACET_CHECK(static_cast<int64_t>(scratch.values.size()) >= values.cols() &&
              static_cast<int64_t>(scratch.bounds.size()) >= blocks);
}

std::span<const float> LogitRow::bounds() {
  const int64_t n = maxima_.cols();
  if (!(cap_ > 0)) return {row(maxima_, 0), static_cast<size_t>(n)};
  const std::span<float> bounds = std::span(scratch_.bounds).first(static_cast<size_t>(n));
  if (!bounded_) {
    ctx_.kernels->softcap(bounds.data(), row(maxima_, 0), n, cap_);
    for (float& bound : bounds) bound = bound_of(bound);
    bounded_ = true;
  }
  return bounds;
}

std::span<const float> LogitRow::block(int64_t b) {
  const int64_t first = b * kLogitBlock, n = std::min(kLogitBlock, raw_.cols() - first);
  const float* raw = row(raw_, 0) + first;
  if (!(cap_ > 0)) return {raw, static_cast<size_t>(n)};
  float* capped = scratch_.values.data() + first;
  if (!whole_) ctx_.kernels->softcap(capped, raw, n, cap_);
  return {capped, static_cast<size_t>(n)};
}

std::span<const float> LogitRow::values() {
  const size_t n = static_cast<size_t>(raw_.cols());
  if (!(cap_ > 0)) return {row(raw_, 0), n};
  if (!whole_) {
    for_pieces(ctx_, 1, raw_.cols(), [&](int64_t, int64_t first, int64_t count) {
      ctx_.kernels->softcap(scratch_.values.data() + first, row(raw_, 0) + first, count, cap_);
    });
    whole_ = true;
  }
  return std::span<const float>(scratch_.values).first(n);
}

double LogitRow::total_weight(std::span<const uint64_t> set, float max, double scale) {
  FACET_CHECK(static_cast<int64_t>(set.size()) == maxima_.cols());
  return ctx_.kernels->total_weight(values().data(), set.data(), size(), max, scale);
}

}  // namespace facet::ops
