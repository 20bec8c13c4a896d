// config.json and generation_config.json from a configuration.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "convert/metadata.h"

namespace facet::convert {
namespace {

using model::Config;
using model::Family;
using model::LayerConfig;

// Values that were floats in a file: 1e-6, not 9.999999974752427e-07.
double shortest(double value) {
  const float narrow = static_cast<float>(value);
  char text[40];
  const auto [end, problem] = std::to_chars(text, text + sizeof text, narrow);
  double out = value;
  if (problem == std::errc() && static_cast<double>(narrow) == value) std::from_chars(text, end, out);
  return out;
}

Json tokens_json(const std::vector<Token>& tokens) {
  if (tokens.empty()) return {};
  if (tokens.size() == 1) return int64_t{tokens.front()};
  Json::Array list;
  for (const Token token : tokens) list.emplace_back(int64_t{token});
  return list;
}

const char* dtype_word(DType type) {
  return type == DType::f32 ? "float32" : type == DType::f16 ? "float16" : "bfloat16";
}

class ConfigWriter {
 public:
  ConfigWriter(const Config& config, DType weights) : config_(config), weights_(weights) {}

  Json write() {
    text_ = Json(Json::Object{});
    if (config_.family == Family::gemma3)
      gemma3();
    else
      gemma4();
    if (config_.drafter) return drafter();
    Json out(Json::Object{});
    const bool three = config_.family == Family::gemma3;
    out.set("architectures", Json::Array{three ? "Gemma3ForCausalLM" : "Gemma4ForCausalLM"});
    out.set("dtype", dtype_word(weights_));
    for (auto& [key, value] : *text_.object()) out.set(key, std::move(value));
    return out;
  }

 private:
  void set(const char* key, Json value) { text_.set(key, std::move(value)); }
  void number(const char* key, double value) { set(key, shortest(value)); }

  // The first layer of a kind; any layer where there is none.
  const LayerConfig& layer_of(bool full) const {
    const auto found = std::ranges::find(config_.layers, full, &LayerConfig::full);
    return found == config_.layers.end() ? config_.layers.front() : *found;
  }

  void sizes() {
    set("vocab_size", config_.vocab_size);
    set("hidden_size", config_.width);
    set("num_hidden_layers", int64_t{config_.n_layers()});
    set("num_attention_heads", config_.heads);
    set("max_position_embeddings", config_.context);
    set("sliding_window", config_.window);
    number("rms_norm_eps", config_.norm_eps);
    set("final_logit_softcapping", config_.logit_softcap > 0 ? Json(shortest(config_.logit_softcap)) : Json());
    set("hidden_activation", "gelu_pytorch_tanh");
    set("attention_bias", false);
    set("attention_dropout", 0.0);
    set("tie_word_embeddings", config_.tied_head);
    set("use_cache", true);
    set("pad_token_id", int64_t{config_.pad});
    set("bos_token_id", tokens_json(config_.bos));
    set("eos_token_id", tokens_json(config_.eos));
    Json::Array types;
    for (const LayerConfig& layer : config_.layers)
      types.emplace_back(layer.full ? "full_attention" : "sliding_attention");
    set("layer_types", std::move(types));
  }

  static Json rope(const model::RopeConfig& rope) {
    const bool proportional = rope.kind == model::RopeKind::proportional;
    Json out(Json::Object{});
    out.set("rope_type", proportional ? "proportional" : rope.factor != 1 ? "linear" : "default");
    out.set("rope_theta", shortest(rope.theta));
    if (proportional) out.set("partial_rotary_factor", shortest(rope.rotated_part));
    if (rope.factor != 1) out.set("factor", shortest(rope.factor));
    return out;
  }

  void rotations() {
    Json both(Json::Object{});
    both.set("full_attention", rope(config_.rope_full));
    both.set("sliding_attention", rope(config_.rope_sliding));
    set("rope_parameters", std::move(both));
  }

  // --- Gemma 4 ---

  void gemma4() {
    set("model_type", "gemma4_text");
    sizes();
    heads();
    sharing();
    rotations();
    set("hidden_size_per_layer_input", config_.ple_width);
    set("vocab_size_per_layer_input", config_.ple_width > 0 ? config_.vocab_size : 0);
    const bool bidirectional = config_.image_attention == model::ImageAttention::bidirectional && !config_.drafter;
    set("use_bidirectional_attention", bidirectional ? Json("vision") : Json());
    const bool experts = config_.experts > 0;
    set("enable_moe_block", experts);
    set("num_experts", experts ? Json(config_.experts) : Json());
    set("top_k_experts", experts ? Json(config_.experts_used) : Json());
    set("moe_intermediate_size", experts ? Json(config_.expert_width) : Json());
  }

  // The flat keys where all full layers and all sliding ones agree; single layers are overridden otherwise. The flat
  // number of key heads counts only in models whose full layers take values from keys.
  void heads() {
    const LayerConfig &sliding = layer_of(false), &full = layer_of(true);
    const bool is_drafter = config_.drafter.has_value();
    const bool from_keys = std::ranges::any_of(config_.layers, &LayerConfig::value_is_key) ||
                           (is_drafter && full.kv_heads != sliding.kv_heads);
    set("head_dim", sliding.head_dim);
    set("num_key_value_heads", sliding.kv_heads);
    set("attention_k_eq_v", from_keys);
    const bool flat = std::ranges::all_of(config_.layers, [&](const LayerConfig& layer) {
      const LayerConfig& like = layer.full ? full : sliding;
      return layer.head_dim == like.head_dim && layer.kv_heads == like.kv_heads;
    });
    if (flat && (from_keys || full.kv_heads == sliding.kv_heads)) {
      set("global_head_dim", full.head_dim);
      set("num_global_key_value_heads", from_keys ? Json(full.kv_heads) : Json());
    } else {
      set("per_layer_config", overrides(sliding));
    }
  }

  Json overrides(const LayerConfig& usual) const {
    Json out(Json::Object{});
    for (size_t i = 0; i < config_.layers.size(); ++i) {
      const LayerConfig& layer = config_.layers[i];
      Json entry(Json::Object{});
      if (layer.head_dim != usual.head_dim) entry.set("head_dim", layer.head_dim);
      if (layer.kv_heads != usual.kv_heads) entry.set("num_key_value_heads", layer.kv_heads);
      if (!entry.object()->empty()) out.set(cat(i), std::move(entry));
    }
    return out;
  }

  void sharing() {
    const auto shared = std::ranges::count_if(config_.layers, &LayerConfig::shares_kv);
    const int64_t narrow = config_.layers.front().ffn_width, wide = config_.layers.back().ffn_width;
    const bool drafter = config_.drafter.has_value();
    set("num_kv_shared_layers", int64_t{shared});
    set("intermediate_size", narrow);
    set("use_double_wide_mlp", !drafter && shared > 0 && wide == 2 * narrow);
  }

  Json drafter() {
    const model::DrafterConfig& drafter = *config_.drafter;
    Json out(Json::Object{});
    out.set("architectures", Json::Array{"Gemma4AssistantForCausalLM"});
    out.set("model_type", "gemma4_assistant");
    out.set("dtype", dtype_word(weights_));
    out.set("backbone_hidden_size", drafter.target_width);
    out.set("use_ordered_embeddings", drafter.centroids > 0);
    out.set("num_centroids", drafter.centroids > 0 ? drafter.centroids : 2048);
    out.set("centroid_intermediate_top_k", drafter.centroids > 0 ? drafter.centroids_used : 32);
    out.set("tie_word_embeddings", config_.tied_head);
    out.set("text_config", std::move(text_));
    return out;
  }

  // --- Gemma 3 ---

  void gemma3() {
    set("model_type", "gemma3_text");
    sizes();
    const LayerConfig& layer = config_.layers.front();
    set("head_dim", layer.head_dim);
    set("num_key_value_heads", layer.kv_heads);
    set("intermediate_size", layer.ffn_width);
    const double scale = 1 / (config_.attention_scale * config_.attention_scale);
    set("query_pre_attn_scalar",
        std::abs(scale - std::round(scale)) < 1e-6 ? Json(static_cast<int64_t>(std::round(scale))) : Json(scale));
    set("attn_logit_softcapping", Json());
    number("rope_theta", config_.rope_full.theta);
    number("rope_local_base_freq", config_.rope_sliding.theta);
    set("rope_scaling", config_.rope_full.factor != 1 ? rope_scaling() : Json());
  }

  Json rope_scaling() const {
    Json out(Json::Object{});
    out.set("rope_type", "linear");
    out.set("factor", shortest(config_.rope_full.factor));
    return out;
  }

  const Config& config_;
  DType weights_;
  Json text_;
};

}  // namespace

Result<Json> config_json(const Config& config, DType weights) {
  Json out = ConfigWriter(config, weights).write();
  FACET_TRY(const Config read, config.drafter ? model::drafter_config_from_json(out, {}, "config.json")
                                              : model::config_from_json(out, {}, "config.json"));
  if (const std::string what = difference(config, read); !what.empty())
    return Error{.code = ErrorCode::unsupported,
                 .what = cat("config.json cannot say this of the model: ", what),
                 .where = config.name.empty() ? "config.json" : config.name};
  return out;
}

Json generation_config_json(const Config& config) {
  Json out(Json::Object{});
  out.set("bos_token_id", tokens_json(config.bos));
  out.set("eos_token_id", tokens_json(config.eos));
  out.set("pad_token_id", int64_t{config.pad});
  if (!config.suppress.empty()) {
    Json::Array list;
    for (const Token token : config.suppress) list.emplace_back(int64_t{token});
    out.set("suppress_tokens", std::move(list));
  }
  const bool greedy = config.temperature == 0;
  if (greedy || config.temperature > 0 || config.top_k >= 0 || config.top_p >= 0) out.set("do_sample", !greedy);
  if (config.temperature > 0) out.set("temperature", shortest(config.temperature));
  if (config.top_k >= 0) out.set("top_k", config.top_k);
  if (config.top_p >= 0) out.set("top_p", shortest(config.top_p));
  if (config.min_p >= 0) out.set("min_p", shortest(config.min_p));
  if (config.typical_p >= 0) out.set("typical_p", shortest(config.typical_p));
  if (config.repeat_penalty >= 0) out.set("repetition_penalty", shortest(config.repeat_penalty));
  return out;
}

}  // namespace facet::convert
