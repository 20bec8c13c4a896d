// PanelProduct: one packed weight times one prepared activation, panel by panel. Private to ops/.
#pragma once

#include <algorithm>

#include "ops/linear.h"
#include "ops/operand_access.h"

namespace facet::ops {

// Rows of x of one unit of work: they stay in the second-level cache, beside a strip of panels.
inline constexpr int64_t kTileRows = 96;

class PanelProduct {
 public:
  PanelProduct() = default;
  PanelProduct(const Context& ctx, const Weight& weight, const Operand& operand)
      : weight_(&weight), x_(Operand::Access::rows(operand)), panels_(kernels::panel_count(weight.rows)) {
    const kernels::PanelType* type = ctx.kernels->panel(weight.type);
    FACET_CHECK(type != nullptr && weight.layout == Layout::panels && weight.cols == operand.cols());
    panel_bytes_ = type->panel_bytes(weight.cols);
    const bool fast = ctx.arithmetic == Arithmetic::fast;
    multiply_ = fast ? type->multiply_fast : type->multiply_f32;
    FACET_CHECK(!fast || type->fast_form != kernels::kFormQ8 || x_.q8 != nullptr);
    FACET_CHECK(!fast || type->fast_form != kernels::kFormBf16 || x_.bf16 != nullptr);
    FACET_DCHECK(static_cast<int64_t>(weight.data.size()) >= weight.groups * panels_ * panel_bytes_);
  }

  int64_t panels() const { return panels_; }
  // Consecutive panels that make one unit of work: they stay in the second-level cache while rows pass, and threads do
  // not wait long for each other. An even number, since the kernels like pairs.
  int64_t strip_panels() const {
    constexpr int64_t kStripBytes = 128 << 10, kMost = 8;
    return std::clamp<int64_t>(kStripBytes / panel_bytes_ / 2 * 2, 2, kMost);
  }
  int64_t strips() const { return (panels_ + strip_panels() - 1) / strip_panels(); }
  // How many of a panel's 16 outputs exist.
  int64_t width(int64_t panel) const {
    return std::min<int64_t>(kernels::kPanelRows, weight_->rows - panel * kernels::kPanelRows);
  }

  // y[m * y_stride + 16 p + …] for activation rows first … first + n - 1 and panels `panel` + p, p < n_panels; only
  // outputs that exist are written.
  void multiply(float* y, int64_t y_stride, int64_t group, int64_t panel, int64_t n_panels, int64_t first,
                int64_t n) const {
    multiply_rows(y, y_stride, group, panel, n_panels, from_row(x_, first), n);
  }
  // The same for the activation rows index[0] … index[n - 1].
  void multiply(float* y, int64_t y_stride, int64_t group, int64_t panel, int64_t n_panels, const int32_t* index,
                int64_t n) const {
    kernels::ActivationRows x = x_;
    x.index = index;
    multiply_rows(y, y_stride, group, panel, n_panels, x, n);
  }

 private:
  // The kernel writes all 16 outputs of a panel: those of the last panel that do not exist go to a buffer of their own.
  void multiply_rows(float* y, int64_t y_stride, int64_t group, int64_t panel, int64_t n_panels,
                     const kernels::ActivationRows& x, int64_t n) const {
    const std::byte* bytes = weight_->data.data() + (group * panels_ + panel) * panel_bytes_;
    const int64_t wanted = width(panel + n_panels - 1), whole = wanted == kernels::kPanelRows ? n_panels : n_panels - 1;
    multiply_(y, y_stride, bytes, whole, x, n, weight_->cols);
    if (whole == n_panels) return;
    y += whole * kernels::kPanelRows;
    bytes += whole * panel_bytes_;
    for (int64_t m = 0; m < n; ++m) {
      alignas(64) float all[kernels::kPanelRows];
      multiply_(all, kernels::kPanelRows, bytes, 1, from_row(x, m), 1, weight_->cols);
      std::copy_n(all, wanted, y + m * y_stride);
    }
  }

  // The rows from row m on.
  static kernels::ActivationRows from_row(kernels::ActivationRows x, int64_t m) {
    const int64_t i = x.index != nullptr ? x.index[m] : m;
    x.index = nullptr;
    if (x.f32 != nullptr) x.f32 += i * x.stride_f32;
    if (x.q8 != nullptr) x.q8 += i * x.stride_q8;
    if (x.scale != nullptr) x.scale += i * x.stride_scale;
    if (x.sums != nullptr) x.sums += i * x.stride_sums;
    if (x.bf16 != nullptr) x.bf16 += i * x.stride_bf16;
    return x;
  }

  const Weight* weight_ = nullptr;
  kernels::ActivationRows x_;
  int64_t panels_ = 0, panel_bytes_ = 0;
  kernels::PanelType::Multiply multiply_ = nullptr;
};

}  // namespace facet::ops
