// The hot kernels as something to time: one call on data that stays in the second-level cache, and how much it does.
// Read by the benchmarks and by the gate that keeps their speed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/table.h"

namespace facet::testing {

struct KernelRun {
  std::string name;    // "Q4_0/fast/64", "attention/BF16/scores"
  kernels::Form form;  // which of the probe's products its arithmetic is to be compared with
  double operations;   // of a call: multiplications and additions
  double bytes;        // of a call: of packed weights, or of keys or values
  std::function<void()> call;
};

// Products of each panel type with 1, 4 and 64 rows, in both arithmetics; attention of 8 queries, heads of 256.
std::vector<KernelRun> kernel_runs(const kernels::Table& table);

// Operations a second: the best of short runs of the kernel and of the probe's products, taken in turns, on one thread.
struct KernelSpeed {
  double operations_per_s = 0, peak = 0;
  double share() const { return operations_per_s / peak; }
};
KernelSpeed speed_of(const KernelRun& run, kernels::Isa isa, int turns);

}  // namespace facet::testing
