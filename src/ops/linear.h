// Matrix products: prepare an activation once, multiply it with the linears that read it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/buffer.h"
#include "tensor/weight.h"

namespace facet::ops {

// An activation (rows x cols) in every form its readers need: f32 always, int8 or bf16 where a weight asks for it.
// Memory is taken once, at load, for the largest batch.
class Operand {
 public:
  // forms: kernels::Form bits besides f32.
  static Result<Operand> allocate(int64_t max_rows, int64_t cols, uint8_t forms);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  // Of memory, all forms.
  int64_t bytes() const { return f32_.bytes() + q8_.bytes() + scale_.bytes() + sums_.bytes() + bf16_.bytes(); }
  // The float form of the rows prepared last.
  Mat<float> f32() { return f32_.view(rows_, cols_); }

  // kernels::Form bits of the forms besides f32.
  uint8_t forms() const { return forms_; }

  // Shapes and raw forms: for ops and tests.
  struct Access;

 private:
  Matrix<float> f32_;
  Matrix<int8_t> q8_;
  Matrix<float> scale_;
  Matrix<int32_t> sums_;
  Matrix<uint16_t> bf16_;
  uint8_t forms_ = 0;
  int64_t rows_ = 0, cols_ = 0;
};

// One row of an operand, copied to memory of the caller: what observers compare with. An empty span is left out; others
// need a form that the operand has.
struct OperandRow {
  std::span<float> f32;
  std::span<int8_t> codes;   // padded to a multiple of kernels::kBlock
  std::span<float> scales;   // one per kBlock
  std::span<int32_t> sums;   // one per kernels::kSubBlock
  std::span<uint16_t> bf16;  // padded to an even number
};
void read(const OperandRow& out, const Operand& operand, int64_t row);

// Which forms these linears read under an arithmetic.
uint8_t forms_read_by(const Context& ctx, std::span<const Linear* const> linears);

// operand = norm(h) in every form: RMS norm with weight `norm` and eps (no weight: norm.data null; no norm: eps < 0).
// h: (T, D).
void prepare(Context& ctx, Operand& operand, Mat<const float> h, const Vector& norm, float eps);
// The same without a norm: operand = h.
void prepare(Context& ctx, Operand& operand, Mat<const float> h);
// operand = gelu_tanh(gate) ⊙ up. gate, up: (T, F).
void prepare_gelu(Context& ctx, Operand& operand, Mat<const float> gate, Mat<const float> up);

// ys[i] = operand · linears[i]ᵀ, all in one region. ys[i]: (T, linears[i]->rows). rows: batch rows, for observers.
// Requires groups == 1.
void linears(Context& ctx, std::span<const Mat<float>> ys, const Operand& operand,
             std::span<const Linear* const> linears, std::span<const int32_t> rows);
void linear(Context& ctx, Mat<float> y, const Operand& operand, const Linear& linear, std::span<const int32_t> rows);

}  // namespace facet::ops
