// The row law on every tier, and over more keys than a group of the softmax has.
#include "golden/row_law.h"

namespace facet::model {
namespace {

TEST(RowLaw, HoldsForEveryShapeOnEveryTier) {
  for (const testing::GoldenModel& golden : testing::golden_models(testing::own_goldens()))
    for (const kernels::Table& table : kernels::usable_tables())
      for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast})
        row_law::expect(golden, table, arithmetic, {70, 20, 9});
}

TEST(RowLaw, HoldsForInt8KeysAndValues) {
  for (const testing::GoldenModel& golden : testing::golden_models(testing::own_goldens()))
    for (const kernels::Table& table : kernels::usable_tables())
      row_law::expect(golden, table, Arithmetic::fast, {70, 20, 9}, DType::i8);
}

TEST(RowLaw, HoldsForTheTrueHeadWidths) {
  FACET_SHARED_OR_SKIP(root, "golden");
  for (const testing::GoldenModel& golden : testing::golden_models(root))
    if (golden.name.starts_with("wide"))
      for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast})
        for (const DType kv : {DType::bf16, DType::i8})
          row_law::expect(golden, kernels::best_table(), arithmetic, {70, 20, 9}, kv);
}

TEST(RowLaw, HoldsAcrossTheGroupsOfTheSoftmax) {  // which restarts every 512 keys
  for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast})
    for (const DType kv : {DType::bf16, DType::i8})
      row_law::expect(testing::own_golden("nano-q4_0"), kernels::best_table(), arithmetic, {560, 70, 9}, kv);
}

}  // namespace
}  // namespace facet::model
