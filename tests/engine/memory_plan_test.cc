// What memory is left, from made-up system files; and which context fits in it.
#include "engine/memory_plan.h"

#include <fstream>

#include "support/expect.h"
#include "support/paths.h"

namespace facet::engine {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

class AvailableMemory : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void SetUp() override { write("proc/meminfo", "MemTotal: 4096 kB\nMemFree: 7 kB\nMemAvailable:    2048 kB\n"); }
  int64_t available() const { return available_memory(folder_.path()); }

  facet::testing::TemporaryFolder folder_;
};

TEST_F(AvailableMemory, IsWhatTheKernelSaysWithoutGroups) { EXPECT_EQ(available(), 2 * kMiB); }

TEST_F(AvailableMemory, IsWhatIsLeftOfTheLimitOfACgroupV2) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "1000000\n");
  write("sys/fs/cgroup/a/b/memory.current", "400000\n");
  EXPECT_EQ(available(), 600000);
}

TEST_F(AvailableMemory, HeedsTheGroupsAroundItsOwn) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/memory.current", "400000\n");
  write("sys/fs/cgroup/a/memory.max", "900000\n");
  write("sys/fs/cgroup/a/memory.current", "800000\n");
  EXPECT_EQ(available(), 100000);
}

TEST_F(AvailableMemory, IsWhatIsLeftOfTheLimitOfACgroupV1) {
  write("proc/self/cgroup", "3:cpu,cpuacct:/x\n7:hugetlb,memory:/box\n");
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "500000\n");
  write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "100000\n");
  EXPECT_EQ(available(), 400000);
}

TEST_F(AvailableMemory, IsNeverNegativeAndNeverMoreThanTheKernelSays) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "100\n");
  write("sys/fs/cgroup/memory.current", "300\n");
  EXPECT_EQ(available(), 0);
  write("sys/fs/cgroup/memory.max", "99999999999\n");
  EXPECT_EQ(available(), 2 * kMiB);
}

class Plan : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<ModelFiles>> opened =
        ModelFiles::open(facet::testing::source_path("tests/golden/data/gguf/nano-q4_0.gguf").string());
    ASSERT_OK(opened);
    files_ = *std::move(opened);
  }
  Result<MemoryPlan> plan(int64_t context, int64_t available) const {
    model::KvOptions kv;
    kv.context = context;
    return plan_memory(*files_, kv, 64, available);
  }
  // The smallest memory in which the whole trained context fits, to the byte.
  int64_t enough() const {
    int64_t low = 0, high = int64_t{64} << 30;
    while (low + 1 < high) {
      const int64_t middle = (low + high) / 2;
      const Result<MemoryPlan> made = plan(files_->config.context, middle);
      (made.ok() ? high : low) = middle;
    }
    return high;
  }

  std::unique_ptr<ModelFiles> files_;
};

TEST_F(Plan, TakesTheTrainedContextWhereItFits) {
  const Result<MemoryPlan> made = plan(0, int64_t{8} << 30);
  ASSERT_OK(made);
  EXPECT_EQ(made->context, files_->config.context);
  EXPECT_GT(made->weight_bytes, 0);
  EXPECT_GT(made->kv_bytes, 0);
  EXPECT_LE(made->needed_bytes(), made->available_bytes);
}

TEST_F(Plan, CapsTheDefaultContextToWhatFits) {
  const Result<MemoryPlan> made = plan(0, enough() - 1);
  ASSERT_OK(made);
  EXPECT_LT(made->context, files_->config.context);
  EXPECT_GT(made->context, 0);
}

TEST_F(Plan, RefusesAContextThatDoesNotFitAndNamesOneThatDoes) {
  const int64_t memory = enough() - 1;
  const Result<MemoryPlan> made = plan(files_->config.context, memory);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::exhausted);
  const std::string text = made.error().message();
  const size_t at = text.find("-c ");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_OK(plan(std::stoll(text.substr(at + 3)), memory));
}

TEST_F(Plan, SaysWhenNoContextFits) {
  const Result<MemoryPlan> made = plan(0, kMiB);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::exhausted);
  EXPECT_NE(made.error().message().find("no context would"), std::string::npos);
}

TEST(ReadableBytes, RoundsToOneDigit) {
  EXPECT_EQ(readable_bytes(0), "0 B");
  EXPECT_EQ(readable_bytes(1023), "1023 B");
  EXPECT_EQ(readable_bytes(kMiB * 3 / 2), "1.5 MiB");
  EXPECT_EQ(readable_bytes(kMiB * 200), "200 MiB");
}

}  // namespace
}  // namespace facet::engine
