// Quantised files equal copies of themselves in floats: models whose rows are whole 256s, so that K types are not
// replaced, and every golden file.
#include "support/quantised_copies.h"

namespace facet::testing {
namespace {

TEST(SharedQuantised, FilesComputeTheBitsOfTheirOwnFloats) {
  FACET_SHARED_OR_SKIP(root, "golden");
  int files = 0;
  for (const GoldenModel& golden : golden_models(root)) {
    if (golden.model.extension() != ".gguf") continue;
    expect_same_as_own_floats(golden.model, golden, golden.name, kernels::usable_tables());
    ++files;
  }
  EXPECT_GE(files, 6);
}

TEST(SharedQuantised, WideModelsOfEveryTypeComputeTheBitsOfTheirOwnFloats) {
  FACET_SHARED_OR_SKIP(root, "golden");
  using enum DType;
  const std::set<DType> expected = {f32,  f16,  bf16, q4_0, q4_1,   q5_0,   q5_1,  q8_0,  q2_k,
                                    q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, mxfp4, tq1_0, tq2_0};
  for (const char* name : {"wide", "wide-e", "wide-moe"}) {
    // The other tiers have the same bits (tests/kernels).
    const std::set<DType> met = expect_every_type_same_as_own_floats(
        {.name = name, .model = root / "text" / name, .golden = root / "text" / name}, {&kernels::best_table(), 1});
    for (const DType type : expected)
      EXPECT_TRUE(met.contains(type) || (type == mxfp4 && std::string_view(name) != "wide-moe"))
          << name << ' ' << facet::name(type);
  }
}

}  // namespace
}  // namespace facet::testing
