// The raw forms of an Operand. Only ops/ and tests include this file.
#pragma once

#include "ops/access.h"
#include "ops/linear.h"

namespace facet::ops {

struct Operand::Access {
  // What the kernels read.
  static kernels::ActivationRows rows(const Operand& operand);
  // Sets the shape of what is prepared next.
  static void reshape(Operand& operand, int64_t rows, int64_t cols);
  static float* f32_row(Operand& operand, int64_t i) { return row(operand.f32(), i); }
  static Mat<const float> f32(const Operand& operand) { return const_cast<Operand&>(operand).f32(); }
  // Makes the other forms of row i from its float form.
  static void make_forms(const Context& ctx, Operand& operand, int64_t i);
};

}  // namespace facet::ops
