// The models that lie beside the repository, and the real Gemma 3 270M.
#include <filesystem>

#include <gtest/gtest.h>

#include "support/golden_models.h"
#include "verify/run.h"

namespace facet::verify {
namespace {

void expect_equal_file(const std::filesystem::path& path, const Options& options) {
  const Result<std::unique_ptr<engine::ModelFiles>> files =
      engine::ModelFiles::open(path.string(), engine::Vocabulary::optional);
  ASSERT_OK(files);
  const Result<Report> report = run(**files, options);
  ASSERT_OK(report);
  EXPECT_FALSE(report->first) << path << ' ' << report->first->part << ", " << report->first->step << ": expected "
                              << report->first->expected << ", found " << report->first->found << ", bound "
                              << report->first->bound;
}

TEST(VerifyShared, EveryModelIsEqual) {
  FACET_SHARED_OR_SKIP(root, "golden");
  const std::vector<testing::GoldenModel> models = testing::golden_models(root);
  EXPECT_GE(models.size(), 15u);
  for (const testing::GoldenModel& golden : models)
    for (const char* kv : {"bf16", "int8"}) {
      Options options;
      options.load.kv_type = kv;
      expect_equal_file(golden.model, options);
    }
}

TEST(VerifyShared, TheRealGemma3IsEqual) {
  const std::filesystem::path model = testing::cache_path("gemma-3-270m/gemma-3-270m-q4_k_m.gguf");
  if (!std::filesystem::exists(model))
    GTEST_SKIP() << "skipped: the default model is not in the cache folder: " << model;
  for (const char* kv : {"bf16", "int8"}) {
    Options options;
    options.load.kv_type = kv;
    expect_equal_file(model, options);
  }
}

}  // namespace
}  // namespace facet::verify
