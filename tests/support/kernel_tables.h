// The kernel tables that tests walk over: every tier this processor can run, and AVX-512 in emulation
// (docs/kernels.md).
#pragma once

#include <span>

#include "kernels/table.h"

namespace facet::testing {

// Scalar first. The emulated table comes last, has isa avx512, and is there even where the processor runs that tier.
std::span<const kernels::Table> kernel_tables();
// Whether a table of kernel_tables() is the emulated one: slow, so tests give it smaller shapes.
bool is_emulated(const kernels::Table& table);

}  // namespace facet::testing
