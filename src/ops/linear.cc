#include "ops/linear.h"

#include "ops/operand_access.h"
#include "ops/panel_product.h"
#include "ops/rows.h"

namespace facet::ops {
namespace {

int64_t padded(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// How one linear's product is cut.
struct Cut {
  int64_t strip_panels = 0, strips = 0, tiles = 0;
  int64_t units() const { return strips * tiles; }
};

Cut cut_of(const PanelProduct& product, int64_t rows) {
  return {
      .strip_panels = product.strip_panels(), .strips = product.strips(), .tiles = (rows + kTileRows - 1) / kTileRows};
}

void multiply_unit(const PanelProduct& product, const Mat<float>& y, const Cut& cut, int64_t unit) {
  const int64_t begin = unit / cut.tiles * cut.strip_panels, first_row = unit % cut.tiles * kTileRows;
  const int64_t n = std::min(kTileRows, y.rows() - first_row);
  const int64_t n_panels = std::min(product.panels() - begin, cut.strip_panels);
  product.multiply(row(y, first_row) + begin * kernels::kPanelRows, y.stride(), 0, begin, n_panels, first_row, n);
}

}  // namespace

Result<Operand> Operand::allocate(int64_t max_rows, int64_t cols, uint8_t forms) {
  Operand operand;
  operand.forms_ = forms;
  FACET_TRY(operand.f32_, Matrix<float>::allocate(max_rows, cols));
  if ((forms & kernels::kFormQ8) != 0) {
    const int64_t blocks = padded(cols, kernels::kBlock) / kernels::kBlock;
    FACET_TRY(operand.q8_, Matrix<int8_t>::allocate(max_rows, blocks * kernels::kBlock));
    FACET_TRY(operand.scale_, Matrix<float>::allocate(max_rows, blocks));
    FACET_TRY(operand.sums_, Matrix<int32_t>::allocate(max_rows, blocks * (kernels::kBlock / kernels::kSubBlock)));
  }
  if ((forms & kernels::kFormBf16) != 0) {
    FACET_TRY(operand.bf16_, Matrix<uint16_t>::allocate(max_rows, padded(cols, 2)));
  }
  return operand;
}

kernels::ActivationRows Operand::Access::rows(const Operand& operand) {
  Operand& o = const_cast<Operand&>(operand);  // handles to memory that the kernels only read
  kernels::ActivationRows rows;
  rows.f32 = data(o.f32_.view());
  rows.stride_f32 = o.f32_.view().stride();
  if ((o.forms_ & kernels::kFormQ8) != 0) {
    rows.q8 = data(o.q8_.view());
    rows.stride_q8 = o.q8_.view().stride();
    rows.scale = data(o.scale_.view());
    rows.stride_scale = o.scale_.view().stride();
    rows.sums = data(o.sums_.view());
    rows.stride_sums = o.sums_.view().stride();
  }
  if ((o.forms_ & kernels::kFormBf16) != 0) {
    rows.bf16 = data(o.bf16_.view());
    rows.stride_bf16 = o.bf16_.view().stride();
  }
  return rows;
}

void Operand::Access::reshape(Operand& operand, int64_t rows, int64_t cols) {
  FACET_CHECK(rows <= operand.f32_.rows() && cols <= operand.f32_.cols());
  operand.rows_ = rows;
  operand.cols_ = cols;
}

void Operand::Access::make_forms(const Context& ctx, Operand& operand, int64_t i) {
  const float* x = f32_row(operand, i);
  if ((operand.forms_ & kernels::kFormQ8) != 0)
    ctx.kernels->quantize_q8(row(operand.q8_.view(), i), row(operand.scale_.view(), i), row(operand.sums_.view(), i), x,
                             operand.cols_);
  if ((operand.forms_ & kernels::kFormBf16) != 0)
    ctx.kernels->round_bf16(row(operand.bf16_.view(), i), x, operand.cols_);
}

void read(const OperandRow& out, const Operand& operand, int64_t row) {
  FACET_CHECK(row >= 0 && row < operand.rows());
  const kernels::ActivationRows all = Operand::Access::rows(operand);
  const auto home = [row](const auto& to, const auto* from, int64_t stride) {
    FACET_CHECK(to.empty() || (from != nullptr && static_cast<int64_t>(to.size()) <= stride));
    if (!to.empty()) std::copy_n(from + row * stride, to.size(), to.begin());
  };
  home(out.f32, all.f32, all.stride_f32);
  home(out.codes, all.q8, all.stride_q8);
  home(out.scales, all.scale, all.stride_scale);
  home(out.sums, all.sums, all.stride_sums);
  home(out.bf16, all.bf16, all.stride_bf16);
}

uint8_t forms_read_by(const Context& ctx, std::span<const Linear* const> linears) {
  uint8_t forms = 0;
  for (const Linear* linear : linears) {
    const kernels::PanelType* type = ctx.kernels->panel(linear->weight.type);
    FACET_CHECK(type != nullptr);
    if (ctx.arithmetic == Arithmetic::fast) forms |= type->fast_form;
  }
  return static_cast<uint8_t>(forms & ~kernels::kFormF32);
}

void prepare(Context& ctx, Operand& operand, Mat<const float> h, const Vector& norm, float eps) {
  Operand::Access::reshape(operand, h.rows(), h.cols());
  FACET_CHECK(norm.data == nullptr || norm.size == h.cols());
  for_rows(ctx, h.rows(), h.cols(), [&](int64_t i) {
    float* x = Operand::Access::f32_row(operand, i);
    if (eps < 0) {
      std::copy_n(row(h, i), h.cols(), x);
    } else {
      ctx.kernels->rms_norm(x, row(h, i), norm.data, h.cols(), eps);
    }
    Operand::Access::make_forms(ctx, operand, i);
  });
}

void prepare(Context& ctx, Operand& operand, Mat<const float> h) { prepare(ctx, operand, h, Vector{}, -1); }

void prepare_gelu(Context& ctx, Operand& operand, Mat<const float> gate, Mat<const float> up) {
  FACET_CHECK(gate.rows() == up.rows() && gate.cols() == up.cols());
  Operand::Access::reshape(operand, gate.rows(), gate.cols());
  for_rows(ctx, gate.rows(), gate.cols(), [&](int64_t i) {
    ctx.kernels->gelu_times(Operand::Access::f32_row(operand, i), row(gate, i), row(up, i), gate.cols());
    Operand::Access::make_forms(ctx, operand, i);
  });
}

void linears(Context& ctx, std::span<const Mat<float>> ys, const Operand& operand,
             std::span<const Linear* const> linears, std::span<const int32_t> rows) {
  constexpr size_t kMost = 4;  // query, key, value and one to spare
  FACET_CHECK(ys.size() == linears.size() && ys.size() <= kMost);
  std::array<PanelProduct, kMost> products;
  std::array<Cut, kMost> cuts;
  int64_t units = 0;
  for (size_t i = 0; i < ys.size(); ++i) {
    const Weight& weight = linears[i]->weight;
    FACET_CHECK(weight.groups == 1 && ys[i].cols() == weight.rows && ys[i].rows() == operand.rows());
    if (ctx.observer != nullptr)
      ctx.observer->linear_input({.id = linears[i]->id,
                                  .values = Operand::Access::f32(operand),
                                  .index = {},
                                  .rows = rows,
                                  .operand = &operand});
    products[i] = PanelProduct(ctx, weight, operand);
    cuts[i] = cut_of(products[i], operand.rows());
    units += cuts[i].units();
  }
  parallel(ctx, units, [&](int64_t unit, int) {
    size_t i = 0;
    for (; unit >= cuts[i].units(); ++i) unit -= cuts[i].units();
    multiply_unit(products[i], ys[i], cuts[i], unit);
  });
  if (ctx.observer == nullptr) return;
  for (size_t i = 0; i < ys.size(); ++i) ctx.observer->linear_output({.id = linears[i]->id, .values = ys[i]});
}

void linear(Context& ctx, Mat<float> y, const Operand& operand, const Linear& linear, std::span<const int32_t> rows) {
  const std::array ys = {y};
  const std::array all = {&linear};
  linears(ctx, ys, operand, all, rows);
}

}  // namespace facet::ops
