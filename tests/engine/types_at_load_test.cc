// Quantising while loading: the same numbers as the file that quantize writes.
#include "engine/types_at_load.h"

#include "base/strings.h"
#include "convert/quantize.h"
#include "engine/load_gemma.h"
#include "facet/engine.h"
#include "model/gemma.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::engine {
namespace {

namespace fs = std::filesystem;

class TypesAtLoad : public ::testing::Test {
 protected:
  // The golden of that name as floats, and quantised from those.
  void make(const char* golden, convert::FileType type) {
    ThreadPool pool(2);
    const formats::Checkpoint original =
        *formats::Checkpoint::open(testing::source_path(cat("tests/golden/data/gguf/", golden)));
    ASSERT_OK(convert::quantize(
        original, floats_,
        {.recipe = {.file = convert::FileType::f32}, .allow_requantize = true, .overwrite = convert::Overwrite::yes},
        pool));
    const formats::Checkpoint in = *formats::Checkpoint::open(floats_);
    ASSERT_OK(
        convert::quantize(in, quantised_, {.recipe = {.file = type}, .overwrite = convert::Overwrite::yes}, pool));
  }
  static Score score(const fs::path& path, const std::string& quant) {
    LoadOptions options;
    options.quant = quant;
    options.context = 128;
    Result<Engine> engine = Engine::load(path.string(), options);
    EXPECT_OK(engine);
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 60; ++i) tokens.push_back(10 + i * 41 % 300);
    Result<Score> score = engine->score(tokens);
    EXPECT_OK(score);
    return *std::move(score);
  }

  testing::TemporaryFolder folder_;
  fs::path floats_ = folder_.path() / "f32.gguf", quantised_ = folder_.path() / "q.gguf";
};

TEST_F(TypesAtLoad, GiveTheNumbersOfTheQuantisedFile) {
  for (const char* golden : {"nano-q4_0.gguf", "moe-micro-q4_k_m.gguf"}) {
    for (const convert::FileType type : {convert::FileType::q4_k_m, convert::FileType::q4_0, convert::FileType::iq4_xs,
                                         convert::FileType::q8_0, convert::FileType::bf16}) {
      make(golden, type);
      const Score file = score(quantised_, ""), loaded = score(floats_, convert::info(type).name);
      EXPECT_EQ(file.logprobs, loaded.logprobs) << golden << ' ' << convert::info(type).name;
      EXPECT_NE(score(floats_, "").logprobs, loaded.logprobs);
    }
  }
}

TEST_F(TypesAtLoad, NeverMakeATensorLarger) {
  const std::string model = testing::source_path("tests/golden/data/gguf/nano-q4_0.gguf").string();
  const std::unique_ptr<ModelFiles> files = *ModelFiles::open(model);
  std::vector<std::string> remarks;
  const formats::TypeMap larger = *types_at_load(*files, "q8_0", remarks);
  for (const auto& [name, type] : larger) EXPECT_FALSE(is_block_type(files->checkpoint->find(name)->type)) << name;
  ASSERT_EQ(remarks.size(), 1u);
  EXPECT_NE(remarks[0].find("keep their type"), std::string::npos);
  EXPECT_TRUE(types_at_load(*files, "", remarks)->empty());
  EXPECT_EQ(types_at_load(*files, "q9", remarks).error().code, ErrorCode::invalid_argument);
}

TEST_F(TypesAtLoad, KnowHuggingFaceNames) {
  const std::unique_ptr<ModelFiles> files =
      *ModelFiles::open(testing::source_path("tests/golden/data/text/tiny-moe").string(), Vocabulary::optional);
  std::vector<std::string> remarks;
  const formats::TypeMap types = *types_at_load(*files, "q8_0", remarks);
  const auto ends_with = [&](std::string_view end) {
    int64_t count = 0;
    for (const auto& [name, type] : types) count += name.ends_with(end) && type == DType::q8_0;
    return count;
  };
  EXPECT_EQ(ends_with("self_attn.q_proj.weight"), files->config.n_layers());
  EXPECT_EQ(ends_with("experts.gate_up_proj"), files->config.n_layers());
  EXPECT_EQ(ends_with("embed_tokens.weight"), 1);
  EXPECT_EQ(ends_with("router.proj.weight"), 0);
  EXPECT_EQ(ends_with("norm.weight"), 0);
  for (const auto& [name, type] : types) EXPECT_NE(files->checkpoint->find(name), nullptr) << name;
  // And a model loads with them.
  ThreadPool pool(2);
  model::GemmaOptions options{.pool = &pool, .max_batch_rows = 16, .types = &types};
  options.kv.context = 64;
  EXPECT_OK(model::Gemma::load(*files->checkpoint, files->config, options));
}

TEST_F(TypesAtLoad, PlanLessMemory) {
  make("moe-micro-q4_k_m.gguf", convert::FileType::q4_k_m);
  const std::unique_ptr<ModelFiles> files = *ModelFiles::open(floats_.string());
  std::vector<std::string> remarks;
  LoadOptions options;
  options.context = 64;
  const Result<MemoryPlan> whole = plan_gemma(*files, options, remarks);
  options.quant = "q4_k_m";
  const Result<MemoryPlan> plan = plan_gemma(*files, options, remarks);
  ASSERT_OK(plan);
  ASSERT_OK(whole);
  EXPECT_LT(plan->bytes.weights, whole->bytes.weights / 3);
}

}  // namespace
}  // namespace facet::engine
