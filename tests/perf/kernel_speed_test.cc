// The gate: no hot kernel may fall below a share of what its products reach in registers, measured in the same second.
// A compiler that turns accumulators into stores, or a change that breaks a loop, costs more than half; noise of other
// programs does not reach it, since both sides take the best of many short runs and a low share is measured again.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "support/kernel_runs.h"

namespace facet::kernels {
namespace {

using facet::testing::kernel_runs;
using facet::testing::KernelRun;
using facet::testing::speed_of;

// About half of what was measured.
const std::map<std::string, double>& least_shares(Isa isa) {
  static const std::map<std::string, double> kAvx2 = {
      {"Q4_0/fast/1", 0.20},         {"Q4_0/fast/64", 0.34},          {"Q8_0/fast/1", 0.16},
      {"Q8_0/fast/64", 0.19},        {"Q4_K/fast/1", 0.18},           {"Q4_K/fast/64", 0.30},
      {"Q6_K/fast/1", 0.12},         {"Q6_K/fast/64", 0.27},          {"BF16/fast/1", 0.12},
      {"BF16/fast/64", 0.35},        {"attention/BF16/scores", 0.40}, {"attention/BF16/values", 0.40},
      {"attention/I8/scores", 0.16}, {"attention/I8/values", 0.18},
  };
  // No machine of this tier was at hand: what only a broken build falls below.
  static const std::map<std::string, double> kAvx512 = {
      {"Q4_0/fast/1", 0.05},
      {"Q4_0/fast/64", 0.15},
      {"Q8_0/fast/1", 0.05},
      {"Q8_0/fast/64", 0.15},
      {"Q4_K/fast/64", 0.15},
      {"Q6_K/fast/64", 0.15},
      {"BF16/fast/64", 0.15},
      {"attention/BF16/scores/pairs", 0.15},
      {"attention/BF16/values/pairs", 0.15},
  };
  return isa == Isa::avx512 ? kAvx512 : kAvx2;
}

TEST(KernelSpeed, StaysAboveItsShareOfThePeak) {
  constexpr int kTurns = 20, kTries = 5;
  for (const Table& table : usable_tables()) {
    if (table.isa == Isa::scalar) continue;  // written to be read
    const std::map<std::string, double>& least = least_shares(table.isa);
    // The shares were measured where the tier was the best there is; newer processors balance it differently.
    const double demand = table.isa == best_table().isa ? 1 : 0.5;
    size_t measured = 0;
    for (const KernelRun& run : kernel_runs(table)) {
      const auto found = least.find(run.name);
      if (found == least.end()) continue;
      ++measured;
      const double wanted = demand * found->second;
      double share = 0;
      for (int i = 0; i < kTries && share < wanted; ++i)
        share = std::max(share, speed_of(run, table.isa, kTurns << i).share());
      RecordProperty(run.name, std::to_string(share));
      EXPECT_GE(share, wanted) << name(table.isa) << '/' << run.name << " has lost its speed";
    }
    EXPECT_EQ(measured, least.size()) << "a kernel of the list is gone";
  }
}

}  // namespace
}  // namespace facet::kernels
