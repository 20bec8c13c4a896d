// Conversions of every golden checkpoint beside the repository.
#include "support/golden_conversions.h"

namespace facet::testing {
namespace {

TEST(SharedConversions, ComputeTheSameBits) {
  FACET_SHARED_OR_SKIP(root, "golden");
  int folders = 0;
  for (const GoldenModel& golden : golden_models(root)) {
    if (!std::filesystem::is_directory(golden.model)) continue;
    expect_same_figures_when_converted(golden);
    ++folders;
  }
  EXPECT_GE(folders, 11);
}

}  // namespace
}  // namespace facet::testing
