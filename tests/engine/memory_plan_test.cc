// What memory is left, from made-up system files; and which context fits in it.
#include "engine/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "engine/load_gemma.h"
#include "support/expect.h"
#include "support/paths.h"
#include "support/tiny_model.h"

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

TEST_F(AvailableMemory, CountsPagesOfFilesOfACgroup) {
  write("proc/self/cgroup", "0::/a\n");
  write("sys/fs/cgroup/a/memory.max", "1000000\n");
  write("sys/fs/cgroup/a/memory.current", "900000\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 100000\nfile 800000\ninactive_file 500000\nactive_file 200000\nslab 5\n");
  EXPECT_EQ(available(), 800000);
  write("proc/self/cgroup", "7:memory:/box\n");
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "500000\n");
  write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "450000\n");
  write("sys/fs/cgroup/memory/box/memory.stat", "active_file 7\ntotal_inactive_file 300000\ntotal_active_file 50000\n");
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
  MemoryPlan plan(int64_t context, int64_t available, DType kv = DType::bf16) {
    const Result<MemoryPlan> made = plan_memory(
        *files_,
        {.pool = &pool_,
         .kv = {.sliding_k = kv, .sliding_v = kv, .full_k = kv, .full_v = kv, .context = context, .fork_rewind = 64},
         .max_batch_rows = 64},
        available);
    EXPECT_OK(made);
    return made.ok() ? *made : MemoryPlan{};
  }
  // The smallest memory in which the whole trained context fits, to the byte.
  int64_t enough() {
    int64_t low = 0, high = int64_t{64} << 30;
    while (low + 1 < high) {
      const int64_t middle = (low + high) / 2;
      (plan(files_->config.context, middle).fits() ? high : low) = middle;
    }
    return high;
  }
  static std::string refusal(const MemoryPlan& plan, const std::vector<std::string>& would_fit) {
    return does_not_fit(plan, "model", would_fit).message();
  }

  std::unique_ptr<ModelFiles> files_;
  ThreadPool pool_{1};
};

TEST_F(Plan, TakesTheTrainedContextWhereItFits) {
  const MemoryPlan made = plan(0, int64_t{8} << 30);
  EXPECT_EQ(made.context, files_->config.context);
  EXPECT_EQ(made.largest_context, files_->config.context);
  EXPECT_TRUE(made.fits());
  for (const int64_t bytes : {made.bytes.weights, made.bytes.tables, made.bytes.kv_sliding, made.bytes.kv_full,
                              made.bytes.scratch, made.bytes.logits, made.answer_bytes, made.held_bytes})
    EXPECT_GT(bytes, 0);
}

TEST_F(Plan, LeavesMemoryToOthers) {
  const int64_t memory = enough();
  const MemoryPlan made = plan(files_->config.context, memory);
  EXPECT_EQ(made.needed_bytes() + MemoryPlan::kSpareBytes, memory);
}

TEST_F(Plan, CountsTheCodesAndScalesOfInt8) {
  const auto kv_bytes = [&](const char* name) {
    const Result<DType> type = kv_type_named(name, "here");
    EXPECT_OK(type);
    return plan(0, int64_t{8} << 30, *type).kv_bytes();
  };
  const int64_t bf16 = kv_bytes("bf16"), int8 = kv_bytes("int8");
  EXPECT_EQ(kv_bytes("q8_0"), int8);
  EXPECT_GT(int8, bf16 / 2);                      // a scale of 4 bytes a head and position
  EXPECT_LE(int8, bf16 / 2 + bf16 / 2 * 4 / 32);  // of heads that are padded to 32
}

TEST_F(Plan, CapsTheDefaultContextToWhatFits) {
  const MemoryPlan made = plan(0, enough() - 1);
  EXPECT_TRUE(made.fits());
  EXPECT_LT(made.context, files_->config.context);
  EXPECT_GT(made.context, 0);
  EXPECT_EQ(made.context, made.largest_context);
  EXPECT_FALSE(plan(made.context + 64, enough() - 1).fits());
}

TEST_F(Plan, GoesBeyondTrainingWhereThatIsAskedFor) {
  const MemoryPlan made = plan(2 * files_->config.context, int64_t{8} << 30);
  EXPECT_TRUE(made.fits());
  EXPECT_EQ(made.largest_context, 2 * files_->config.context);
}

TEST_F(Plan, AContextThatDoesNotFitIsRefusedAndOneThatDoesIsNamed) {
  const int64_t memory = enough() - 1;
  const MemoryPlan made = plan(files_->config.context, memory);
  EXPECT_FALSE(made.fits());
  EXPECT_EQ(does_not_fit(made, "model", {}).code, ErrorCode::exhausted);
  LoadOptions options;
  options.context = made.context;
  options.batch_rows = 64;
  const std::string text = refusal(made, what_would_fit(*files_, options, made));
  const size_t at = text.find("-c ");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_TRUE(plan(std::stoll(text.substr(at + 3)), memory).fits());
}

TEST_F(Plan, ANarrowerCacheAndSmallerWeightsAreNamedWhereTheyHelp) {
  const int64_t memory = enough();
  const MemoryPlan wide = plan(files_->config.context, memory, DType::f32);
  EXPECT_FALSE(wide.fits());
  LoadOptions options;
  options.context = wide.context;
  options.batch_rows = 64;
  options.threads = 1;
  options.kv_type = "f32";
  const std::vector<std::string> advice = what_would_fit(*files_, options, wide);
  EXPECT_NE(std::ranges::find(advice, "--kv bf16"), advice.end()) << refusal(wide, advice);

  options.kv_type = "bf16";
  const MemoryPlan tight = plan(files_->config.context, memory - 1);
  EXPECT_FALSE(tight.fits());
  const std::vector<std::string> narrower = what_would_fit(*files_, options, tight);
  EXPECT_NE(std::ranges::find(narrower, "--kv int8"), narrower.end()) << refusal(tight, narrower);
}

TEST_F(Plan, SaysWhenNoContextFits) {
  const MemoryPlan made = plan(0, kMiB);
  EXPECT_FALSE(made.fits());
  EXPECT_EQ(made.largest_context, 0);
  EXPECT_NE(refusal(made, what_would_fit(*files_, {}, made)).find("no context would"), std::string::npos);
}

// What the plan says of a folder in BF16 that is quantised on the way is less, and fits where BF16 does not.
TEST(PlanOfAFolder, NamesAQuantisationThatFits) {
  const facet::testing::TemporaryFolder folder;
  facet::testing::write_tiny_model(folder.path(), {});
  const Result<std::unique_ptr<ModelFiles>> files = ModelFiles::open(folder.path().string(), Vocabulary::optional);
  ASSERT_OK(files);
  LoadOptions options;
  options.context = 64;
  options.threads = 1;
  options.batch_rows = 1;    // forms of activations are nothing beside the weights
  options.kv_type = "int8";  // which nothing is narrower than
  std::vector<std::string> remarks;
  const Result<MemoryPlan> made = plan_gemma(**files, options, remarks);
  ASSERT_OK(made);
  MemoryPlan tight = *made;
  tight.available_bytes = tight.needed_bytes() + MemoryPlan::kSpareBytes - 1;
  tight.largest_context = 0;
  const std::vector<std::string> advice = what_would_fit(**files, options, tight);
  ASSERT_EQ(advice.size(), 1U);
  EXPECT_TRUE(advice.front().starts_with("--quant Q8_0")) << advice.front();
}

TEST(PlanOfAFolder, FindsWhatIsWrongWithTheFile) {
  const facet::testing::TemporaryFolder folder;
  facet::testing::write_tiny_model(folder.path(), {});
  const std::filesystem::path config = folder.path() / "config.json";
  std::ifstream in(config);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const size_t at = text.find("\"num_attention_heads\"");
  ASSERT_NE(at, std::string::npos);
  text.insert(text.find_first_of("123456789", at), "2");
  std::ofstream(config) << text;
  const Result<std::unique_ptr<ModelFiles>> files = ModelFiles::open(folder.path().string(), Vocabulary::optional);
  ASSERT_OK(files);
  std::vector<std::string> remarks;
  const Result<MemoryPlan> made = plan_gemma(**files, {}, remarks);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::corrupt) << made.error().message();
}

TEST_F(Plan, OptionsOutOfRangeAreRefused) {
  std::vector<std::string> remarks;
  for (const auto& change : {+[](LoadOptions& o) { o.batch_rows = 0; }, +[](LoadOptions& o) { o.sequences = 5000; },
                             +[](LoadOptions& o) { o.context = -1; }, +[](LoadOptions& o) { o.threads = 100000; }}) {
    LoadOptions options;
    change(options);
    const Result<MemoryPlan> made = plan_gemma(*files_, options, remarks);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
  }
}

TEST(ReadableBytes, RoundsToOneDigit) {
  EXPECT_EQ(readable_bytes(0), "0 B");
  EXPECT_EQ(readable_bytes(1023), "1023 B");
  EXPECT_EQ(readable_bytes(kMiB * 3 / 2), "1.5 MiB");
  EXPECT_EQ(readable_bytes(kMiB * 200), "200 MiB");
}

}  // namespace
}  // namespace facet::engine
