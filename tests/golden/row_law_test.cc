// The row law on the best tier; tests/golden_slow has the others.
#include "golden/row_law.h"

namespace facet::model {
namespace {

TEST(RowLaw, HoldsForEveryShapeInBothArithmetics) {
  for (const testing::GoldenModel& golden : testing::golden_models(testing::own_goldens()))
    for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast})
      row_law::expect(golden, kernels::best_table(), arithmetic, {70, 20, 9});
}

}  // namespace
}  // namespace facet::model
