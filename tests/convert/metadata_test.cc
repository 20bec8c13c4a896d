// Configurations that one of the two spellings cannot hold are refused, by name.
#include "convert/metadata.h"

#include <algorithm>

#include "formats/checkpoint_writer.h"
#include "formats/gguf.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::convert {
namespace {

model::Config tiny(const char* name) {
  const auto folder = facet::testing::source_path("tests/golden/data/text") / name;
  const Result<std::string> text = read_file(folder / "config.json", 1 << 20);
  const Result<model::Config> config = model::config_from_json(*Json::parse(*text, name), {}, name);
  EXPECT_OK(config);
  return *config;
}

std::string refusal(const Result<formats::GgufPairs>& result) {
  return result.ok() ? "none" : result.error().message();
}
std::string refusal(const Result<Json>& result) { return result.ok() ? "none" : result.error().message(); }

bool names(const std::string& message, std::string_view words) { return message.find(words) != message.npos; }

TEST(Metadata, GgufRefusesWhatItHasNoKeyFor) {
  model::Config config = tiny("tiny-e");
  EXPECT_EQ(refusal(config_pairs(config)), "none");
  config.rope_sliding.factor = 8;
  EXPECT_TRUE(names(refusal(config_pairs(config)), "rotation of sliding layers")) << refusal(config_pairs(config));
  config = tiny("tiny-e");
  config.layers[1].head_dim = 24;
  EXPECT_TRUE(names(refusal(config_pairs(config)), "size of heads of layer 1")) << refusal(config_pairs(config));
  config = tiny("tiny-e");
  config.attention_scale = 0.25;
  EXPECT_TRUE(names(refusal(config_pairs(config)), "attention scale"));
}

TEST(Metadata, ConfigJsonRefusesWhatItHasNoKeyFor) {
  model::Config config = tiny("tiny-e");
  EXPECT_EQ(refusal(config_json(config, DType::f32)), "none");
  config.layers[1].ffn_width = 77;
  EXPECT_TRUE(names(refusal(config_json(config, DType::f32)), "width of the feed-forward network of layer 1"));
  config = tiny("tiny-moe");
  config.layers[0].value_is_key = true;
  EXPECT_TRUE(names(refusal(config_json(config, DType::f32)), "origin of its values of layer 0"));
}

// Full layers with other key heads that still have values of their own fit the newer spelling only.
TEST(Metadata, SingleLayersAreOverriddenWhereTheFlatKeysDoNotSuffice) {
  model::Config config = tiny("tiny-moe");
  const Result<Json> flat = config_json(config, DType::bf16);
  ASSERT_OK(flat);
  EXPECT_EQ(flat->find("per_layer_config"), nullptr);
  EXPECT_EQ(*flat->find("num_global_key_value_heads"), Json(1));
  for (model::LayerConfig& layer : config.layers) layer.value_is_key = false;
  const Result<Json> single = config_json(config, DType::bf16);
  ASSERT_OK(single);
  ASSERT_NE(single->find("per_layer_config"), nullptr);
  EXPECT_EQ(single->find("global_head_dim"), nullptr);
}

TEST(Metadata, RotatedPartsBecomeDivisorsAndBack) {
  for (const double part : {0.25, 0.5, 1.0}) {
    model::Config config = tiny("tiny-e");
    config.rope_full.rotated_part = part;
    const std::vector<float> divisors = rope_divisors(config);
    ASSERT_EQ(divisors.size(), 16u);
    EXPECT_EQ(std::ranges::count(divisors, 1.0f), static_cast<int>(16 * part));
    model::Config read = tiny("tiny-e");
    ASSERT_OK(read_rope_divisors(divisors, "rope_freqs.weight", read));
    EXPECT_EQ(read.rope_full.rotated_part, part);
  }
  model::Config config = tiny("tiny-e");
  const std::vector<float> scaled = {1, 1, 4, 8};
  EXPECT_EQ(read_rope_divisors(scaled, "rope_freqs.weight", config).error().code, ErrorCode::unsupported);
}

TEST(Metadata, PenaltiesHaveKeysOfTheirOwn) {
  model::Config config = tiny("tiny-e");
  config.repeat_penalty = 1.25;
  config.repeat_last_n = -1;
  config.typical_p = 0.9;  // GGUF has no key for it
  const Result<formats::GgufPairs> pairs = config_pairs(config);
  ASSERT_OK(pairs);
  const std::vector<std::byte> bytes = formats::gguf_header(*pairs, {}, 1);
  const auto source = formats::memory_source("metadata", bytes);
  const Result<formats::GgufFile> file = formats::read_gguf(*source);
  ASSERT_OK(file);
  const Result<model::Config> read = model::config_from_gguf(file->metadata, "metadata");
  ASSERT_OK(read);
  EXPECT_EQ(read->repeat_penalty, 1.25);
  EXPECT_EQ(read->repeat_last_n, -1);
  EXPECT_EQ(read->typical_p, -1);
  const Json generation = generation_config_json(config);
  EXPECT_EQ(*generation.find("repetition_penalty"), Json(1.25));
  EXPECT_EQ(*generation.find("typical_p"), Json(0.9));
}

TEST(Metadata, DecimalNumbersStayDecimal) {
  model::Config config = tiny("tiny-e");
  config.norm_eps = static_cast<double>(1e-6f);
  config.top_p = static_cast<double>(0.95f);
  config.temperature = 0;
  EXPECT_EQ(*config_json(config, DType::f32)->find("rms_norm_eps"), Json(1e-6));
  const Json generation = generation_config_json(config);
  EXPECT_EQ(*generation.find("top_p"), Json(0.95));
  EXPECT_EQ(*generation.find("do_sample"), Json(false));
}

}  // namespace
}  // namespace facet::convert
