// Tiers by name, and the tables that tests walk over.
#include <gtest/gtest.h>

#include "kernels/table.h"
#include "support/kernel_tables.h"

namespace facet::kernels {
namespace {

TEST(Dispatch, FindsEveryTierByItsName) {
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) EXPECT_EQ(isa_named(name(isa)), isa);
  EXPECT_EQ(isa_named("sse9"), std::nullopt);
}

TEST(Dispatch, ScalarIsAlwaysUsableAndComesFirst) {
  ASSERT_FALSE(usable_tables().empty());
  EXPECT_EQ(usable_tables().front().isa, Isa::scalar);
  EXPECT_EQ(&best_table(), &usable_tables().back());
  for (const Table& table : usable_tables()) EXPECT_EQ(table_of(table.isa), &table);
}

TEST(Dispatch, TestsSeeTheEmulatedTierLast) {
  ASSERT_GE(testing::kernel_tables().size(), usable_tables().size());
  EXPECT_FALSE(testing::is_emulated(testing::kernel_tables().front()));
}

}  // namespace
}  // namespace facet::kernels
