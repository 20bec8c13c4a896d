// What importance matrices sum up: squares of the inputs of linears.
#pragma once

#include <span>

#include "ops/context.h"

namespace facet::ops {

// sums[k] += Σ over the rows of the input, in order, of values[row][k]². sums: one a column.
void add_squares(const Context& ctx, std::span<double> sums, const LinearInput& input);

}  // namespace facet::ops
