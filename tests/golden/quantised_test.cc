// Quantised files equal copies of themselves in floats. Rows of whole 256s, and all goldens: tests/golden_slow.
#include "support/quantised_copies.h"

namespace facet::testing {
namespace {

TEST(Quantised, FilesComputeTheBitsOfTheirOwnFloats) {
  int files = 0;
  for (const GoldenModel& golden : golden_models(own_goldens())) {
    if (golden.model.extension() != ".gguf") continue;
    expect_same_as_own_floats(golden.model, golden, golden.name, kernels::usable_tables());
    ++files;
  }
  EXPECT_EQ(files, 2);
}

TEST(Quantised, SmallModelsOfEveryTypeComputeTheBitsOfTheirOwnFloats) {
  for (const char* name : {"tiny-e4", "tiny-moe"}) {
    const std::set<DType> met = expect_every_type_same_as_own_floats(own_golden(name), kernels::usable_tables());
    using enum DType;
    for (const DType type : {f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, mxfp4})
      EXPECT_TRUE(met.contains(type) || (type == mxfp4 && std::string_view(name) != "tiny-moe"))
          << name << ' ' << facet::name(type);
  }
}

}  // namespace
}  // namespace facet::testing
