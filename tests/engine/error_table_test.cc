// Exit statuses: every kind of error has its own.
#include "engine/error_table.h"

#include <set>

#include <gtest/gtest.h>

namespace facet::engine {
namespace {

TEST(ErrorTable, GivesEveryCodeAStatusOfItsOwnThatIsNeitherSuccessNorAComparison) {
  std::set<int> seen = {0, 1};
  int count = 0;
  for (int i = 0; i <= static_cast<int>(ErrorCode::non_finite); ++i, ++count) {
    const int status = exit_status(static_cast<ErrorCode>(i));
    EXPECT_TRUE(seen.insert(status).second) << name(static_cast<ErrorCode>(i)) << " has " << status;
    EXPECT_GT(status, 1);
    EXPECT_LT(status, 256);
  }
  EXPECT_EQ(count, 9) << "non_finite is the last code of the list";
}

TEST(ErrorTable, KeepsThePublishedStatuses) {
  EXPECT_EQ(exit_status(ErrorCode::invalid_argument), 2);
  EXPECT_EQ(exit_status(ErrorCode::not_found), 3);
  EXPECT_EQ(exit_status(ErrorCode::exhausted), 6);
  EXPECT_EQ(exit_status(ErrorCode::cancelled), 130);
}

}  // namespace
}  // namespace facet::engine
