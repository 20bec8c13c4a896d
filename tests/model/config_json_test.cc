// config.json in every spelling: the golden folders, the published tables, and hostile files.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/file.h"
#include "base/strings.h"
#include "model/config.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::model {
namespace {

namespace fs = std::filesystem;

Json parse(std::string_view text) {
  Result<Json> json = Json::parse(text, "test");
  EXPECT_OK(json);
  return json.ok() ? *std::move(json) : Json();
}

Json parse_file(const fs::path& path) {
  Result<std::string> text = read_file(path, 1 << 20);
  EXPECT_OK(text);
  return text.ok() ? parse(*text) : Json();
}

Config read(const Json& config, const Json& generation = Json()) {
  Result<Config> result = config_from_json(config, generation, "config.json");
  EXPECT_OK(result);
  return result.ok() ? *std::move(result) : Config();
}

std::string message_of(const Json& config, const Json& generation = Json()) {
  const Result<Config> result = config_from_json(config, generation, "config.json");
  return result.ok() ? "" : result.error().message();
}

// A text configuration with the keys that have no default.
Json small(std::string_view more = "") {
  return parse(cat(R"({"model_type": "gemma4_text", "vocab_size": 128, "hidden_size": 96, "num_hidden_layers": 6,
      "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 32,
      "intermediate_size": 128, "hidden_size_per_layer_input": 0)",
                   more, "}"));
}

Json with(Json config, std::string key, Json value) {
  config.set(std::move(key), std::move(value));
  return config;
}

// The table of the four published sizes (text-decoder.md 1.1), as their config.json spells it.
Json published(std::string_view layer_types, std::string_view sizes) {
  std::string kinds;
  for (const char kind : layer_types)
    kinds += cat(kinds.empty() ? "" : ", ", kind == 'F' ? "\"full_attention\"" : "\"sliding_attention\"");
  return parse(cat(R"({"model_type": "gemma4", "tie_word_embeddings": true, "eos_token_id": [1, 106],
      "image_token_id": 258880, "audio_token_id": 258881, "video_token_id": 258884,
      "text_config": {"model_type": "gemma4_text", "layer_types": [)",
                   kinds, R"(], "head_dim": 256, "global_head_dim": 512, "vocab_size": 262144,
      "vocab_size_per_layer_input": 262144, "rms_norm_eps": 1e-06, "hidden_activation": "gelu_pytorch_tanh",
      "attention_bias": false, "final_logit_softcapping": 30.0, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1,
      "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}, "full_attention":
      {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}},)",
                   sizes, "}}"));
}

std::string repeat(std::string_view part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

Json published_e2b() {
  return published(repeat("SSSSF", 7), R"("hidden_size": 1536, "num_hidden_layers": 35, "num_attention_heads": 8,
      "num_key_value_heads": 1, "num_global_key_value_heads": null, "attention_k_eq_v": false,
      "num_kv_shared_layers": 20, "intermediate_size": 6144, "use_double_wide_mlp": true,
      "hidden_size_per_layer_input": 256, "enable_moe_block": false, "num_experts": null, "top_k_experts": null,
      "moe_intermediate_size": null, "sliding_window": 512, "max_position_embeddings": 131072,
      "use_bidirectional_attention": null)");
}

Json published_e4b() {
  return published(repeat("SSSSSF", 7), R"("hidden_size": 2560, "num_hidden_layers": 42, "num_attention_heads": 8,
      "num_key_value_heads": 2, "num_global_key_value_heads": null, "attention_k_eq_v": false,
      "num_kv_shared_layers": 18, "intermediate_size": 10240, "use_double_wide_mlp": false,
      "hidden_size_per_layer_input": 256, "enable_moe_block": false, "sliding_window": 512,
      "max_position_embeddings": 131072, "use_bidirectional_attention": null)");
}

Json published_26b() {
  return published(repeat("SSSSSF", 5), R"("hidden_size": 2816, "num_hidden_layers": 30, "num_attention_heads": 16,
      "num_key_value_heads": 8, "num_global_key_value_heads": 2, "attention_k_eq_v": true, "num_kv_shared_layers": 0,
      "intermediate_size": 2112, "use_double_wide_mlp": false, "hidden_size_per_layer_input": 0,
      "enable_moe_block": true, "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704,
      "sliding_window": 1024, "max_position_embeddings": 262144, "use_bidirectional_attention": "vision")");
}

Json published_31b() {
  return published(repeat("SSSSSF", 10), R"("hidden_size": 5376, "num_hidden_layers": 60, "num_attention_heads": 32,
      "num_key_value_heads": 16, "num_global_key_value_heads": 4, "attention_k_eq_v": true, "num_kv_shared_layers": 0,
      "intermediate_size": 21504, "use_double_wide_mlp": false, "hidden_size_per_layer_input": 0,
      "enable_moe_block": false, "sliding_window": 1024, "max_position_embeddings": 262144,
      "use_bidirectional_attention": "vision")");
}

// Weights of the text decoder that a configuration implies.
int64_t parameters(const Config& c) {
  int64_t all = c.vocab_size * c.width + c.width;
  for (const LayerConfig& layer : c.layers) {
    const int64_t q = c.heads * layer.head_dim, kv = layer.kv_heads * layer.head_dim;
    all += 2 * q * c.width + layer.head_dim + 4 * c.width + 3 * c.width * layer.ffn_width + 1;
    if (!layer.shares_kv) all += (layer.value_is_key ? 1 : 2) * kv * c.width + layer.head_dim;
    if (c.ple_width > 0) all += 2 * c.ple_width * c.width + c.width;
    if (c.experts > 0) all += c.experts * (3 * c.width * c.expert_width + c.width + 1) + 4 * c.width;
  }
  if (c.ple_width > 0) all += (c.vocab_size + c.width) * c.n_layers() * c.ple_width + c.ple_width;
  return all;
}

TEST(ConfigJson, GoldenFoldersReadAlikeInBothSpellings) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  for (const char* folder : {"tiny-e", "tiny-moe"}) {
    const Json generation = parse_file(text / folder / "generation_config.json");
    const Config config = read(parse_file(text / folder / "config.json"), generation);
    EXPECT_EQ(config, read(parse_file(text / folder / "config_flat.json"), generation)) << folder;
    EXPECT_EQ(config.n_layers(), 6);
    EXPECT_EQ(config.layers[5].head_dim, 32);
    EXPECT_EQ(config.placeholders, (std::vector<Token>{100, 101, 102}));
  }
}

TEST(ConfigJson, EveryGoldenTargetReadsAndEveryDrafterIsRefused) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  int targets = 0, drafters = 0;
  for (const auto& entry : fs::directory_iterator(text)) {
    const std::string name = entry.path().filename().string();
    const Json json = parse_file(entry.path() / "config.json");
    if (name.find("assistant") != std::string::npos) {
      EXPECT_NE(message_of(json).find("drafter"), std::string::npos) << name;
      ++drafters;
      continue;
    }
    const Config config = read(json, parse_file(entry.path() / "generation_config.json"));
    EXPECT_EQ(config.window, name.rfind("wide-", 0) == 0 ? 32 : 4) << name;
    EXPECT_EQ(config.eos, std::vector<Token>{1}) << name;
    EXPECT_EQ(config.bos, std::vector<Token>{2}) << name;
    EXPECT_EQ(config.ple_width > 0, config.image_attention == ImageAttention::causal) << name;
    EXPECT_EQ(config.logit_softcap, 30) << name;
    ++targets;
  }
  EXPECT_GE(targets, 10);
  EXPECT_EQ(drafters, 2);
}

TEST(ConfigJson, DraftersAreReadByTheirOwnReader) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  for (const char* folder : {"tiny-assistant-centroid", "tiny-assistant-dense"}) {
    const Json json = parse_file(text / folder / "config.json");
    const Result<Config> config = drafter_config_from_json(json, Json(), "config.json");
    ASSERT_OK(config);
    ASSERT_TRUE(config->drafter.has_value());
    EXPECT_EQ(config->drafter->target_width, 96);
    const bool sparse = std::string_view(folder) == "tiny-assistant-centroid";
    EXPECT_EQ(config->drafter->centroids, sparse ? 16 : 0);
    EXPECT_EQ(config->drafter->centroids_used, sparse ? 4 : 0);
    EXPECT_EQ(config->n_layers(), 4);
    EXPECT_TRUE(std::ranges::all_of(config->layers, &LayerConfig::shares_kv));
    EXPECT_EQ(config->layers[3].head_dim, 32);
    EXPECT_EQ(config->ple_width, 0);
    EXPECT_EQ(config->logit_softcap, 0);
  }
  const Result<Config> decoder =
      drafter_config_from_json(parse_file(text / "tiny-e" / "config.json"), Json(), "config.json");
  ASSERT_FALSE(decoder.ok());
  EXPECT_EQ(decoder.error().code, ErrorCode::unsupported);
}

TEST(ConfigJson, ADraftersClustersMustFitTheVocabulary) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  const Json json = parse_file(text / "tiny-assistant-centroid" / "config.json");
  for (const auto& [key, value] : {std::pair("num_centroids", 100), std::pair("centroid_intermediate_top_k", 17)}) {
    const Result<Config> config =
        drafter_config_from_json(with(json, key, Json(int64_t{value})), Json(), "config.json");
    ASSERT_FALSE(config.ok()) << key;
    EXPECT_EQ(config.error().code, ErrorCode::corrupt);
  }
}

TEST(ConfigJson, TinyEIsWhatItsGoldensSay) {
  FACET_SHARED_OR_SKIP(folder, "golden/text/tiny-e");
  const Config config = read(parse_file(folder / "config.json"));
  const std::vector<int> donors{0, 1, 2, 1, 1, 2};
  for (int i = 0; i < 6; ++i) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    EXPECT_EQ(layer.full, i == 2 || i == 5);
    EXPECT_EQ(layer.shares_kv, i >= 3);
    EXPECT_EQ(layer.donor, donors[static_cast<size_t>(i)]);
    EXPECT_EQ(layer.ffn_width, i >= 3 ? 256 : 128);
    EXPECT_EQ(layer.kv_heads, 2);
    EXPECT_FALSE(layer.value_is_key);
  }
  EXPECT_EQ(config.ple_width, 8);
  EXPECT_EQ(config.embedding_scale, static_cast<double>(std::sqrt(96.0f)));
}

TEST(ConfigJson, UnifiedPublishedAndResavedSpellingsAgree) {
  FACET_SHARED_OR_SKIP(folder, "golden/unified/tiny");
  const Json generation = parse_file(folder / "generation_config.json");
  const Config config = read(parse_file(folder / "config.json"), generation);
  EXPECT_EQ(config, read(parse_file(folder / "config_published.json"), generation));
  EXPECT_EQ(config.ple_width, 0);
  EXPECT_EQ(config.image_attention, ImageAttention::bidirectional);
  EXPECT_FALSE(config.suppress.empty());
}

TEST(ConfigJson, PublishedE2B) {
  const Config config = read(published_e2b());
  EXPECT_EQ(describe(config), "Gemma 4 E2B");
  ASSERT_EQ(config.n_layers(), 35);
  for (int i = 0; i < 35; ++i) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    EXPECT_EQ(layer.full, i % 5 == 4);
    EXPECT_EQ(layer.head_dim, layer.full ? 512 : 256);
    EXPECT_EQ(layer.kv_heads, 1);
    EXPECT_EQ(layer.donor, i < 15 ? i : layer.full ? 14 : 13);
    EXPECT_EQ(layer.ffn_width, i < 15 ? 6144 : 12288);
  }
  EXPECT_EQ(config.rope_full, (RopeConfig{RopeKind::proportional, 1e6, 0.25, 1}));
  EXPECT_EQ(config.rope_sliding, (RopeConfig{RopeKind::whole, 1e4, 1, 1}));
  EXPECT_EQ(config.eos, (std::vector<Token>{1, 106}));
  EXPECT_EQ(config.placeholders, (std::vector<Token>{258880, 258881, 258884}));
  EXPECT_EQ(config.image_attention, ImageAttention::causal);
  EXPECT_EQ(config.attention_scale, 1);
  EXPECT_EQ(config.norm_offset, 0);
  EXPECT_NEAR(static_cast<double>(parameters(config)), 4.629e9, 1e6);
}

TEST(ConfigJson, PublishedE4B) {
  const Config config = read(published_e4b());
  EXPECT_EQ(describe(config), "Gemma 4 E4B");
  EXPECT_EQ(config.layers[24].donor, 22);
  EXPECT_EQ(config.layers[41].donor, 23);
  EXPECT_EQ(config.layers[41].ffn_width, 10240);
  EXPECT_EQ(config.layers[5].kv_heads, 2);
  EXPECT_NEAR(static_cast<double>(parameters(config)), 7.463e9, 1e6);
}

TEST(ConfigJson, Published26B) {
  const Config config = read(published_26b());
  EXPECT_EQ(describe(config), "Gemma 4 26B-A4B");
  EXPECT_EQ(config.layers[0].kv_heads, 8);
  EXPECT_EQ(config.layers[5].kv_heads, 2);
  EXPECT_EQ(config.layers[5].head_dim, 512);
  EXPECT_TRUE(config.layers[5].value_is_key);
  EXPECT_FALSE(config.layers[4].value_is_key);
  EXPECT_EQ(config.experts, 128);
  EXPECT_EQ(config.experts_used, 8);
  EXPECT_EQ(config.expert_width, 704);
  EXPECT_EQ(config.ple_width, 0);
  EXPECT_EQ(config.image_attention, ImageAttention::bidirectional);
  EXPECT_NEAR(static_cast<double>(parameters(config)), 25.233e9, 2e6);
}

TEST(ConfigJson, Published31B) {
  const Config config = read(published_31b());
  EXPECT_EQ(describe(config), "Gemma 4 31B");
  EXPECT_EQ(config.layers[59].kv_heads, 4);
  EXPECT_EQ(config.layers[58].kv_heads, 16);
  EXPECT_EQ(config.window, 1024);
  EXPECT_EQ(config.context, 262144);
  EXPECT_NEAR(static_cast<double>(parameters(config)), 30.697e9, 2e6);
}

TEST(ConfigJson, AliasOfExpertWidthAndPaddedOverrides) {
  Json config = published_26b();
  Json* text = nullptr;
  for (auto& [key, value] : *config.object())
    if (key == "text_config") text = &value;
  text->set("moe_intermediate_size", Json());
  text->set("expert_intermediate_size", Json(704));
  text->set("global_head_dim", Json(64));  // ignored beside overrides, and so is the next
  text->set("num_global_key_value_heads", Json(16));
  text->set("per_layer_config", parse(R"({"05": {"head_dim": 512, "num_key_value_heads": 2}, "11": {"head_dim": 512},
      "17": {"head_dim": 512}, "23": {"head_dim": 512}, "29": {"head_dim": 512}})"));
  const Config read_back = read(config);
  EXPECT_EQ(read_back.expert_width, 704);
  EXPECT_EQ(read_back.layers[5].kv_heads, 2);
  EXPECT_EQ(read_back.layers[11].kv_heads, 8);
  EXPECT_EQ(read_back.layers[11].head_dim, 512);
  EXPECT_EQ(read_back.layers[12].head_dim, 256);
}

TEST(ConfigJson, DefaultsOfTheTextClass) {
  const Config config = read(parse(R"({"model_type": "gemma4_text", "vocab_size": 64, "hidden_size": 32,
      "num_hidden_layers": 7, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48})"));
  EXPECT_EQ(config.ple_width, 256);
  EXPECT_EQ(config.logit_softcap, 0);
  EXPECT_EQ(config.window, 512);
  EXPECT_EQ(config.layers[0].head_dim, 256);
  EXPECT_EQ(config.layers[5].head_dim, 512);
  EXPECT_TRUE(config.layers[5].full);
  EXPECT_TRUE(config.layers[6].full);  // the last one always
  EXPECT_FALSE(config.layers[4].full);
  EXPECT_EQ(config.temperature, -1);
  EXPECT_EQ(config.top_k, -1);
  EXPECT_TRUE(config.tied_head);
}

TEST(ConfigJson, StopTokensAreTheUnionAndSamplingComesFromTheGenerationFile) {
  const Json generation = parse(R"({"eos_token_id": [1, 106, 50], "bos_token_id": 2, "do_sample": true, "top_k": 64,
      "top_p": 0.95, "temperature": 1.0, "suppress_tokens": [103, 102], "typical_p": 0.9, "repetition_penalty": 1.1})");
  const Config config = read(with(small(), "eos_token_id", parse("[1, 106]")), generation);
  EXPECT_EQ(config.eos, (std::vector<Token>{1, 106, 50}));
  EXPECT_EQ(config.bos, (std::vector<Token>{2}));
  EXPECT_EQ(config.suppress, (std::vector<Token>{103, 102}));
  EXPECT_EQ(config.top_k, 64);
  EXPECT_EQ(config.top_p, 0.95);
  EXPECT_EQ(config.temperature, 1);
  EXPECT_EQ(config.typical_p, 0.9);
  EXPECT_EQ(config.repeat_penalty, 1.1);
  EXPECT_EQ(config.repeat_last_n, std::nullopt);
  EXPECT_EQ(read(small(), parse(R"({"do_sample": false})")).temperature, 0);
}

TEST(ConfigJson, PlaceholdersOutsideTheVocabularyAreIgnored) {
  const Json config = with(with(small(), "image_token_id", Json(127)), "audio_token_id", Json(128));
  EXPECT_EQ(read(config).placeholders, std::vector<Token>{127});
}

TEST(ConfigJson, RotationByParts) {
  const Config config = read(small(R"(, "rope_parameters": {"full_attention": {"rope_type": "default",
      "rope_theta": 500000}, "sliding_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5,
      "factor": 2}})"));
  EXPECT_EQ(config.rope_full, (RopeConfig{RopeKind::whole, 5e5, 1, 1}));
  EXPECT_EQ(config.rope_sliding, (RopeConfig{RopeKind::proportional, 1e4, 0.5, 2}));
}

TEST(ConfigJson, Gemma3AsPublished) {
  // The 4B's file leaves out every value that equals the default of its class.
  const Config config = read(parse(R"({"model_type": "gemma3", "eos_token_id": [1, 106], "image_token_index": 262144,
      "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
      "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}})"));
  EXPECT_EQ(describe(config), "Gemma 3 4B");
  EXPECT_EQ(config.family, Family::gemma3);
  EXPECT_EQ(config.norm_offset, 1);
  EXPECT_FALSE(config.value_norm);
  EXPECT_FALSE(config.layer_scalar);
  EXPECT_EQ(config.vocab_size, 262208);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.rope_full, (RopeConfig{RopeKind::whole, 1e6, 1, 8}));
  EXPECT_EQ(config.rope_sliding, (RopeConfig{RopeKind::whole, 1e4, 1, 1}));
  EXPECT_EQ(config.attention_scale, 1.0 / 16);
  EXPECT_EQ(config.ple_width, 0);
  for (int i = 0; i < 34; ++i) {
    EXPECT_EQ(config.layers[static_cast<size_t>(i)].full, i % 6 == 5);
    EXPECT_EQ(config.layers[static_cast<size_t>(i)].kv_heads, 4);
    EXPECT_EQ(config.layers[static_cast<size_t>(i)].head_dim, 256);
  }
}

TEST(ConfigJson, Gemma3TextWithItsOwnSizes) {
  const Config config = read(parse(R"({"model_type": "gemma3_text", "hidden_size": 640, "intermediate_size": 2048,
      "num_hidden_layers": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 128,
      "query_pre_attn_scalar": 64, "vocab_size": 262144, "sliding_window": 512, "max_position_embeddings": 32768,
      "sliding_window_pattern": 3, "rope_theta": 200000, "rope_local_base_freq": 5000, "rope_scaling": null,
      "attn_logit_softcapping": null, "use_bidirectional_attention": false})"));
  EXPECT_EQ(describe(config), "Gemma 3 270M");
  EXPECT_EQ(config.attention_scale, 0.125);
  EXPECT_EQ(config.rope_full.theta, 2e5);
  EXPECT_EQ(config.rope_sliding.theta, 5e3);
  EXPECT_TRUE(config.layers[2].full);
  EXPECT_TRUE(config.layers[17].full);
}

TEST(ConfigJson, OtherModelsAreRefusedByName) {
  for (const char* type : {"diffusion_gemma", "embedding_gemma2", "gemma2", "llama"}) {
    const std::string message = message_of(with(small(), "model_type", Json(type)));
    EXPECT_NE(message.find(type), std::string::npos) << message;
  }
  for (const char* type : {"gemma4_assistant", "gemma4_unified_assistant"})
    EXPECT_NE(message_of(with(small(), "model_type", Json(type))).find("target"), std::string::npos);
  EXPECT_EQ(message_of(with(small(), "model_type", Json())), "config.json: model_type: is missing");
}

TEST(ConfigJson, WhatCannotBeComputedIsRefused) {
  const auto refused = [](std::string key, std::string_view value, std::string_view says) {
    const std::string message = message_of(with(small(), key, parse(value)));
    EXPECT_NE(message.find(says), std::string::npos) << key << ": " << message;
  };
  refused("use_bidirectional_attention", "\"all\"", "generates nothing");
  refused("use_bidirectional_attention", "true", "generates nothing");
  refused("attention_bias", "true", "bias");
  refused("hidden_activation", "\"silu\"", "silu");
  refused("attn_logit_softcapping", "50.0", "cap on attention");
  refused("per_layer_config", R"({"2": {"sliding_window": 4}})", "per_layer_config.2.sliding_window");
  refused("rope_parameters", R"({"full_attention": {"rope_type": "yarn"}})", "yarn");
  refused("rope_parameters", R"({"rope_theta": 10000.0})", "neither");
  refused("rope_parameters", R"({"full_attention": {"rope_type": "default", "partial_rotary_factor": 0.5}})",
          "default");
  refused("layer_types", R"(["linear_attention", "full_attention", "full_attention", "full_attention",
      "full_attention", "full_attention"])",
          "linear_attention");
}

TEST(ConfigJson, NumbersAreBounded) {
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "global_head_dim", "intermediate_size", "sliding_window",
                          "max_position_embeddings", "num_kv_shared_layers", "hidden_size_per_layer_input"}) {
    for (const Json& value : {Json(-1), Json(int64_t{1} << 40), Json(std::numeric_limits<int64_t>::max()),
                              Json(std::numeric_limits<int64_t>::min()), Json(1e300), Json("6"), Json(true),
                              Json(Json::Array{}), Json(1.5)}) {
      const std::string message = message_of(with(small(), key, value));
      EXPECT_NE(message.find(key), std::string::npos) << key << " = " << value.dump() << ": " << message;
    }
  }
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "intermediate_size"})
    EXPECT_EQ(message_of(with(small(), key, Json())), cat("config.json: ", key, ": is missing"));
  for (const char* key : {"rms_norm_eps", "final_logit_softcapping"})
    EXPECT_NE(message_of(with(small(), key, Json(-1.0))).find(key), std::string::npos);
}

TEST(ConfigJson, FieldsMustAgreeWithEachOther) {
  const auto refused = [](Json config, std::string_view says) {
    const std::string message = message_of(config);
    EXPECT_NE(message.find(says), std::string::npos) << says << ": " << message;
  };
  refused(with(small(), "num_key_value_heads", Json(3)), "not a multiple");
  refused(with(small(), "head_dim", Json(15)), "odd");
  refused(with(small(), "num_kv_shared_layers", Json(6)), "num_kv_shared_layers");
  refused(with(small(), "num_kv_shared_layers", Json(3)), "no such layer stores any");  // full layers: only the last
  refused(with(small(), "layer_types", parse(R"(["full_attention"])")), "wrong length");
  refused(with(small(), "layer_types", parse("[1, 2, 3, 4, 5, 6]")), "layer_types");
  refused(with(small(), "layer_types", Json("full_attention")), "layer_types");
  refused(with(small(), "per_layer_config", parse(R"({"6": {}})")), "no layer");
  refused(with(small(), "per_layer_config", parse(R"({"-1": {}})")), "no layer");
  refused(with(small(), "per_layer_config", parse(R"({"5": {}, "05": {}})")), "no layer");
  refused(with(small(), "per_layer_config", parse(R"({"5": 7})")), "per_layer_config.5");
  refused(with(small(), "per_layer_config", parse(R"([])")), "per_layer_config");
  refused(with(with(small(), "num_attention_heads", Json(1024)), "head_dim", Json(4096)), "out of range");
  // Layers of one kind turn by one table of angles.
  refused(with(small(), "per_layer_config", parse(R"({"1": {"head_dim": 32}})")), "layer 1: head size differs");
  refused(with(small(), "pad_token_id", Json(128)), "pad_token_id");
  refused(with(small(), "eos_token_id", Json(128)), "eos_token_id");
  refused(with(small(), "eos_token_id", Json("1")), "eos_token_id");
  refused(with(small(), "eos_token_id", parse("[1, null]")), "eos_token_id");
  refused(with(small(), "text_config", Json(3)), "text_config");
  refused(with(small(), "hidden_size_per_layer_input", Json(1 << 22)), "hidden_size_per_layer_input");
  refused(with(with(small(), "hidden_size_per_layer_input", Json(8)), "vocab_size_per_layer_input", Json(64)),
          "differs");
  Json moe = with(small(), "enable_moe_block", Json(true));
  refused(moe, "num_experts");
  moe = with(with(with(moe, "num_experts", Json(4)), "top_k_experts", Json(5)), "moe_intermediate_size", Json(8));
  refused(moe, "more experts");
  // A layer that shares keys of another shape than its own.
  Json shared =
      with(with(small(), "num_kv_shared_layers", Json(2)), "per_layer_config", parse(R"({"4": {"head_dim": 64}})"));
  shared.set("layer_types", parse(R"(["sliding_attention", "sliding_attention", "full_attention", "full_attention",
      "sliding_attention", "full_attention"])"));
  refused(shared, "another shape");
}

TEST(ConfigJson, AnythingElseIsAnError) {
  for (const char* text : {"null", "3", "[]", "\"gemma4\"", "{}", R"({"model_type": 4})", R"({"model_type": "gemma4"})",
                           R"({"model_type": "gemma3", "text_config": []})", R"({"model_type": "gemma3"})"})
    EXPECT_NE(message_of(parse(text)), "") << text;
  for (const char* text : {"3", "[]", R"({"top_k": -1})", R"({"top_p": 2})", R"({"temperature": -0.5})",
                           R"({"typical_p": 2})", R"({"repetition_penalty": 0})", R"({"suppress_tokens": [128]})",
                           R"({"suppress_tokens": [[]]})", R"({"do_sample": 1})"})
    EXPECT_NE(message_of(small(), parse(text)).find("generation_config.json"), std::string::npos) << text;
}

TEST(ConfigJson, EveryFieldOfAnyKindNeverCrashes) {
  const Json kinds[] = {Json(),
                        Json(true),
                        Json(0),
                        Json(-3),
                        Json(7),
                        Json(0.5),
                        Json("x"),
                        Json(Json::Array{Json(1)}),
                        Json(Json::Object{{"1", Json(Json::Object{{"head_dim", Json(2)}})}})};
  for (const Json& base : {published_e2b(), published_26b(), small()}) {
    const Json* text = base.find("text_config") != nullptr ? base.find("text_config") : &base;
    for (const auto& [key, ignored] : *text->object())
      for (const Json& value : kinds) {
        Json changed = with(*text, key, value);
        const Result<Config> result = config_from_json(changed, Json(), "config.json");
        EXPECT_TRUE(!result.ok() || result->n_layers() >= 1);
      }
  }
}

}  // namespace
}  // namespace facet::model
