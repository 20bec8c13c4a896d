// config.json and, behind a line "---", generation_config.json: an Error, or a configuration whose promises hold. Any
// JSON that is read also survives being written and read again, and any configuration is one in either spelling, or
// refused as that.
//
// covers: src/model/config_json.cc src/base/json.cc src/convert/config_pairs.cc src/convert/hf_config.cc
// covers: src/formats/gguf_pairs.cc
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "convert/metadata.h"
#include "model/config.h"

using namespace facet;

static void check_promises(const model::Config& config) {
  FACET_CHECK(config.n_layers() >= 1 && config.n_layers() <= 1024);
  FACET_CHECK(config.window >= 1 && config.width >= 1 && config.vocab_size >= 1);
  FACET_CHECK(config.experts_used <= config.experts);
  for (int i = 0; i < config.n_layers(); ++i) {
    const model::LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    FACET_CHECK(layer.head_dim >= 2 && layer.head_dim % 2 == 0 && layer.head_dim <= 4096);
    FACET_CHECK(layer.kv_heads >= 1 && config.heads % layer.kv_heads == 0 && layer.ffn_width >= 1);
    FACET_CHECK(layer.donor >= 0 && layer.donor <= i);
    if (config.drafter) continue;  // its donors are another model's
    FACET_CHECK((layer.donor == i) == !layer.shares_kv);
    const model::LayerConfig& donor = config.layers[static_cast<size_t>(layer.donor)];
    FACET_CHECK(!donor.shares_kv && donor.full == layer.full && donor.kv_heads == layer.kv_heads);
  }
  for (const auto* tokens : {&config.eos, &config.bos, &config.suppress, &config.placeholders})
    for (const Token token : *tokens) FACET_CHECK(token >= 0 && token < config.vocab_size);
  FACET_CHECK(!model::describe(config).empty());
}

static void check_conversions(const model::Config& config) {
  const Result<formats::GgufPairs> pairs = convert::config_pairs(config);
  FACET_CHECK(pairs.ok() || !pairs.error().message().empty());
  const Result<Json> json = convert::config_json(config, DType::bf16);
  FACET_CHECK(json.ok() || !json.error().message().empty());
  model::Config read = config;
  FACET_CHECK(convert::read_rope_divisors(convert::rope_divisors(config), "rope", read).ok());
  FACET_CHECK(!convert::generation_config_json(config).is_null());
}

static void check_round_trip(const Json& json) {
  const Result<Json> again = Json::parse(json.dump(), "again");
  FACET_CHECK(again.ok() && *again == json);
  const Result<Json> pretty = Json::parse(json.dump(2), "again");
  FACET_CHECK(pretty.ok() && *pretty == json);
  constexpr size_t kMembersMax = 100;  // set() searches
  if (json.object() == nullptr || json.object()->empty() || json.object()->size() > kMembersMax) return;
  Json rebuilt;
  for (const auto& [key, value] : *json.object()) rebuilt.set(key, Json());
  for (const auto& [key, value] : *json.object()) rebuilt.set(key, value);
  FACET_CHECK(rebuilt == json);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(static_cast<const char*>(static_cast<const void*>(data)), size);
  constexpr std::string_view kCut = "\n---\n";
  const size_t cut = text.find(kCut);
  const Result<Json> config = Json::parse(text.substr(0, cut), "config.json");
  const Result<Json> generation =
      cut == text.npos ? Result<Json>(Json()) : Json::parse(text.substr(cut + kCut.size()), "generation_config.json");
  if (config.ok()) check_round_trip(*config);
  FACET_CHECK(Json::parse(text, "small", {.depth = 4, .bytes = 16}).ok() <= config.ok() || cut != text.npos);
  if (!config.ok() || !generation.ok()) return 0;
  for (const bool drafter : {false, true}) {
    const Result<model::Config> result = drafter ? model::drafter_config_from_json(*config, *generation, "config.json")
                                                 : model::config_from_json(*config, *generation, "config.json");
    if (result.ok()) {
      FACET_CHECK(result->drafter.has_value() == drafter);
      check_promises(*result);
      check_conversions(*result);
    } else {
      FACET_CHECK(!result.error().message().empty());
    }
  }
  return 0;
}
