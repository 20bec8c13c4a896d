// Conversions keep the numbers of a model.
#include "support/golden_conversions.h"

namespace facet::testing {
namespace {

TEST(Conversions, ComputeTheSameBits) {
  int folders = 0;
  for (const GoldenModel& golden : golden_models(own_goldens())) {
    if (!std::filesystem::is_directory(golden.model)) continue;
    expect_same_figures_when_converted(golden);
    ++folders;
  }
  EXPECT_EQ(folders, 5);
}

}  // namespace
}  // namespace facet::testing
