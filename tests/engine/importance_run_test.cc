// Importance matrices of tiny models. Their files: tests/formats/importance_test.cc.
#include "engine/importance_run.h"

#include <cmath>

#include "base/strings.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::engine {
namespace {

std::unique_ptr<ModelFiles> open(const char* name) {
  Result<std::unique_ptr<ModelFiles>> files =
      ModelFiles::open(testing::source_path(cat("tests/golden/data/gguf/", name)).string());
  EXPECT_OK(files);
  return *std::move(files);
}

std::vector<Token> random_tokens(const ModelFiles& files, int64_t n) {
  std::vector<Token> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<Token>(10 + i * 37 % (files.config.vocab_size - 10)));
  return tokens;
}

TEST(ImportanceRun, ObservesEveryLinearThatRuns) {
  const std::unique_ptr<ModelFiles> files = open("nano-q4_0.gguf");
  const Result<formats::ImportanceMatrix> matrix = collect_importance(*files, random_tokens(*files, 50), 20, {});
  ASSERT_OK(matrix);
  EXPECT_EQ(matrix->chunk_count, 3);
  EXPECT_EQ(matrix->chunk_size, 20);
  for (int layer = 0; layer < files->config.n_layers(); ++layer) {
    const bool shares = files->config.layers[static_cast<size_t>(layer)].shares_kv;
    for (const char* part :
         {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "inp_gate", "proj"}) {
      const std::string name = cat("blk.", layer, ".", part, ".weight");
      const bool runs = !shares || (std::string_view(part) != "attn_k" && std::string_view(part) != "attn_v");
      ASSERT_EQ(matrix->entries.contains(name), runs) << name;
      if (!runs) continue;
      const formats::ImportanceMatrix::Entry& entry = matrix->entries.at(name);
      EXPECT_EQ(entry.counts, std::vector<float>{50}) << name;
      const formats::TensorInfo* tensor = files->checkpoint->find(name);
      ASSERT_NE(tensor, nullptr);
      EXPECT_OK(matrix->importance(*tensor));
    }
  }
  EXPECT_EQ(matrix->entries.at("blk.0.ffn_gate.weight").sums, matrix->entries.at("blk.0.ffn_up.weight").sums);
  // Behind an RMS norm with weight w, the squares of a row add up to about the sum of w².
  double sum = 0;
  for (const float value : matrix->entries.at("blk.0.attn_q.weight").sums) sum += static_cast<double>(value);
  EXPECT_NEAR(sum / 50 / static_cast<double>(files->config.width), 1, 0.2);
}

TEST(ImportanceRun, CountsEachExpertApart) {
  const std::unique_ptr<ModelFiles> files = open("moe-micro-q4_k_m.gguf");
  const Result<formats::ImportanceMatrix> matrix = collect_importance(*files, random_tokens(*files, 30), 30, {});
  ASSERT_OK(matrix);
  for (const char* name : {"blk.1.ffn_gate_up_exps.weight", "blk.1.ffn_down_exps.weight"}) {
    const std::vector<float>& counts = matrix->entries.at(name).counts;
    ASSERT_EQ(static_cast<int64_t>(counts.size()), files->config.experts);
    float sum = 0;
    for (const float count : counts) sum += count;
    EXPECT_EQ(sum, 30 * static_cast<float>(files->config.experts_used)) << name;
    EXPECT_OK(matrix->importance(*files->checkpoint->find(name)));
  }
}

TEST(ImportanceRun, ChunksAreSequencesOfTheirOwn) {
  const std::unique_ptr<ModelFiles> files = open("nano-q4_0.gguf");
  const std::vector<Token> tokens = random_tokens(*files, 40);
  const Result<formats::ImportanceMatrix> both = collect_importance(*files, tokens, 20, {});
  ASSERT_OK(both);
  Result<formats::ImportanceMatrix> sum = collect_importance(*files, std::span(tokens).first(20), 20, {});
  ASSERT_OK(sum);
  ASSERT_OK(sum->add(*collect_importance(*files, std::span(tokens).last(20), 20, {})));
  for (const auto& [name, entry] : both->entries) {
    const std::vector<float>& other = sum->entries.at(name).sums;
    for (size_t i = 0; i < entry.sums.size(); ++i) EXPECT_FLOAT_EQ(entry.sums[i], other[i]) << name;
  }
}

TEST(ImportanceRun, RefusesWhatHasNoMeaning) {
  const std::unique_ptr<ModelFiles> files = open("nano-q4_0.gguf");
  const std::vector<Token> tokens = random_tokens(*files, 10);
  EXPECT_EQ(collect_importance(*files, tokens, 1, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(collect_importance(*files, std::span(tokens).first(1), 5, {}).error().code, ErrorCode::invalid_argument);
  LoadOptions stop;
  stop.progress = [](std::string_view phase, int64_t, int64_t) { return phase != "observing"; };
  EXPECT_EQ(collect_importance(*files, tokens, 5, stop).error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace facet::engine
