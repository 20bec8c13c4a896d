// config.json and generation_config.json of Hugging Face folders: both spellings of Gemma 4 (text-decoder.md 1.3), and
// Gemma 3. Published Gemma 3 files leave out what equals the defaults of the class, so those defaults are here.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <span>

#include "base/strings.h"
#include "model/config_fields.h"

namespace facet::model {
namespace {

// The members of one JSON object, read with bounds. A null member counts as absent, and so does a null object.
class JsonFields {
 public:
  JsonFields(const Json* object, std::string prefix, FieldErrors& errors)
      : object_(object), prefix_(std::move(prefix)), errors_(errors) {}

  const Json* find(std::string_view key) const {
    const Json* value = object_ == nullptr ? nullptr : object_->find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  bool is_written(std::string_view key) const {
    return object_ != nullptr && object_->find(key) != nullptr;
  }  // also as null
  std::string path(std::string_view key) const { return cat(prefix_, key); }
  FieldErrors& errors() const { return errors_; }

  int64_t integer(std::string_view key, Range range) const {
    if (!has(key)) errors_.corrupt(path(key), "is missing");
    return integer(key, range, range.low);
  }
  int64_t integer(std::string_view key, Range range, int64_t otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (const int64_t* number = value->integer()) return errors_.bounded(path(key), *number, range);
    wrong_kind(key, *value, "an integer");
    return otherwise;
  }
  double number(std::string_view key, double low, double high, double otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (value->is_number()) return errors_.bounded(path(key), value->number(), low, high);
    wrong_kind(key, *value, "a number");
    return otherwise;
  }
  bool boolean(std::string_view key, bool otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (const bool* flag = value->boolean()) return *flag;
    wrong_kind(key, *value, "true or false");
    return otherwise;
  }
  std::string string(std::string_view key, std::string otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (const std::string* text = value->string()) return *text;
    wrong_kind(key, *value, "a string");
    return otherwise;
  }
  // One id or a list of them; empty where absent.
  std::vector<int64_t> ids(std::string_view key) const {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (const int64_t* id = value->integer()) return {*id};
    std::vector<int64_t> all;
    if (value->array() == nullptr)
      wrong_kind(key, *value, "a token id or a list of them");
    else
      for (const Json& item : *value->array()) {
        if (item.integer() == nullptr)
          wrong_kind(key, item, "token ids");
        else
          all.push_back(*item.integer());
      }
    return all;
  }
  JsonFields object(std::string_view key) const {
    const Json* value = find(key);
    if (value != nullptr && value->object() == nullptr) wrong_kind(key, *value, "an object");
    return {value, cat(prefix_, key, "."), errors_};
  }
  std::span<const std::pair<std::string, Json>> members() const {
    if (object_ == nullptr || object_->object() == nullptr) return {};
    return *object_->object();
  }
  void wrong_kind(std::string_view key, const Json& value, std::string expected) const {
    errors_.corrupt(path(key), "has the wrong kind", std::move(expected), value.kind());
  }

 private:
  const Json* object_;
  std::string prefix_;
  FieldErrors& errors_;
};

enum class TextClass : uint8_t { gemma4, gemma4_unified, gemma3 };

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

TextClass drafter_class(const JsonFields& top) {
  const std::string type = top.string("model_type", "");
  if (type == "gemma4_unified_assistant") return TextClass::gemma4_unified;
  if (type != "gemma4_assistant") top.errors().unsupported("model_type", "this is no drafter (gemma4_assistant)", type);
  return TextClass::gemma4;
}

TextClass text_class(const JsonFields& top) {
  const std::string type = top.string("model_type", "");
  if (is_one_of(type, {"gemma4", "gemma4_text"})) return TextClass::gemma4;
  if (is_one_of(type, {"gemma4_unified", "gemma4_unified_text"})) return TextClass::gemma4_unified;
  if (is_one_of(type, {"gemma3", "gemma3_text"})) return TextClass::gemma3;
  if (is_one_of(type, {"gemma4_assistant", "gemma4_unified_assistant"}))
    top.errors().unsupported("", cat("this is a drafter (", type,
                                     "): it proposes tokens for a larger model and cannot "
                                     "run without it; open that target model instead"));
  else if (type.empty())
    top.errors().corrupt("model_type", "is missing");
  else
    top.errors().unsupported("model_type", "facet runs gemma4, gemma4_unified and gemma3 models only", type);
  return TextClass::gemma4;
}

std::vector<bool> layer_kinds(const JsonFields& text, int64_t layers, int64_t period) {
  const Json* types = text.find("layer_types");
  if (types == nullptr) return full_layers_by_period(layers, period);
  std::vector<bool> full(static_cast<size_t>(layers));
  const Json::Array* list = types->array();
  if (list == nullptr) {
    text.wrong_kind("layer_types", *types, "a list");
    return full;
  }
  if (list->size() != full.size()) {
    text.errors().corrupt(text.path("layer_types"), "has the wrong length", cat(layers), cat(list->size()));
    return full;
  }
  for (size_t i = 0; i < full.size(); ++i) {
    const std::string* type = (*list)[i].string();
    if (type == nullptr)
      text.wrong_kind("layer_types", (*list)[i], "strings");
    else if (!is_one_of(*type, {"full_attention", "sliding_attention"}))
      text.errors().unsupported(text.path("layer_types"), "unknown kind of layer", *type);
    else
      full[i] = *type == "full_attention";
  }
  return full;
}

// {"rope_type": …, "rope_theta": …, "partial_rotary_factor": …, "factor": …}
RopeConfig rope_parameters(const JsonFields& rope, const RopeConfig& otherwise) {
  if (rope.members().empty()) return otherwise;
  RopeConfig config;
  const std::string type = rope.string("rope_type", rope.string("type", "default"));
  config.theta = rope.number("rope_theta", 1, 1e12, otherwise.theta);
  config.rotated_part = rope.number("partial_rotary_factor", 0, 1, 1);
  config.factor = rope.number("factor", 1e-6, 1e6, 1);
  if (type == "proportional") {
    config.kind = RopeKind::proportional;
  } else if (!is_one_of(type, {"default", "linear"})) {
    rope.errors().unsupported(rope.path("rope_type"), "facet knows default, linear and proportional rotation", type);
  } else if (config.rotated_part != 1 || (type == "default" && config.factor != 1)) {
    rope.errors().unsupported(rope.path("rope_type"), cat(type, " rotation of a part or by a factor is not known"));
  }
  return config;
}

void read_rope(Config& config, const JsonFields& text) {
  const JsonFields both = text.object("rope_parameters");
  if (both.members().empty()) return;
  if (!both.has("full_attention") && !both.has("sliding_attention"))
    text.errors().unsupported(text.path("rope_parameters"), "has neither full_attention nor sliding_attention");
  config.rope_full = rope_parameters(both.object("full_attention"), config.rope_full);
  config.rope_sliding = rope_parameters(both.object("sliding_attention"), config.rope_sliding);
}

// What every text configuration has.
void read_sizes(Config& config, const JsonFields& text) {
  config.width = text.integer("hidden_size", kWidthRange);
  config.norm_eps = text.number("rms_norm_eps", 0, 1, 1e-6);
  config.logit_softcap = text.number("final_logit_softcapping", 0, 1e6, 0);
  config.embedding_scale = embedding_scale(config.width);
  if (text.boolean("attention_bias", false))
    text.errors().unsupported(text.path("attention_bias"), "projections with a bias are not known");
  const std::string activation = text.string("hidden_activation", text.string("hidden_act", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh")
    text.errors().unsupported(text.path("hidden_activation"), "facet knows gelu_pytorch_tanh only", activation);
  if (text.number("attn_logit_softcapping", 0, 1e6, 0) != 0)
    text.errors().unsupported(text.path("attn_logit_softcapping"), "a cap on attention scores is not known");
}

// --- Gemma 4 ---------------------------------------------------------------------------------------------------------

// Overrides of single layers, as transformers 5.15 and later write them: {"05": {"head_dim": 512}}.
void read_layer_overrides(Config& config, const JsonFields& text) {
  const JsonFields overrides = text.object("per_layer_config");
  std::vector<bool> seen(config.layers.size());
  for (const auto& [key, value] : overrides.members()) {
    size_t index = 0;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (problem != std::errc() || end != key.data() + key.size() || index >= seen.size() || seen[index])
      return text.errors().corrupt(text.path("per_layer_config"), "has a name that is no layer, or one twice",
                                   cat("0 to ", seen.size() - 1), key);
    seen[index] = true;
    const JsonFields layer = overrides.object(key);
    config.layers[index].head_dim = layer.integer("head_dim", kHeadDimRange, config.layers[index].head_dim);
    config.layers[index].kv_heads = layer.integer("num_key_value_heads", kHeadRange, config.layers[index].kv_heads);
    for (const auto& [name, ignored] : layer.members())
      if (!is_one_of(name, {"head_dim", "num_key_value_heads"}))
        text.errors().unsupported(layer.path(name), "this cannot differ between layers");
  }
}

void read_gemma4_layers(Config& config, const JsonFields& text, ModelKind kind) {
  const int64_t layers = text.integer("num_hidden_layers", kLayerRange);
  std::vector<bool> full = layer_kinds(text, layers, 6);
  full.back() = true;  // as transformers forces it
  const int64_t head_dim = text.integer("head_dim", kHeadDimRange, 256);
  const int64_t kv_heads = text.integer("num_key_value_heads", kHeadRange);
  const bool key_is_value = text.boolean("attention_k_eq_v", false);
  const bool overridden = text.has("per_layer_config");
  const int64_t full_head_dim = overridden ? head_dim : text.integer("global_head_dim", kHeadDimRange, 512);
  const int64_t full_kv_heads =
      overridden || !key_is_value ? kv_heads : text.integer("num_global_key_value_heads", kHeadRange, kv_heads);
  const int64_t ffn_width = text.integer("intermediate_size", kWidthRange);
  const int64_t most_shared = kind == ModelKind::drafter ? layers : layers - 1;
  const int64_t first_shared = layers - text.integer("num_kv_shared_layers", {0, most_shared}, 0);
  const bool double_wide = text.boolean("use_double_wide_mlp", false);
  for (int64_t i = 0; i < layers; ++i) {
    const bool is_full = full[static_cast<size_t>(i)];
    config.layers.push_back({.full = is_full,
                             .head_dim = is_full ? full_head_dim : head_dim,
                             .kv_heads = is_full ? full_kv_heads : kv_heads,
                             .ffn_width = double_wide && i >= first_shared ? 2 * ffn_width : ffn_width,
                             .value_is_key = key_is_value && is_full && i < first_shared});
  }
  if (overridden) read_layer_overrides(config, text);
  if (kind == ModelKind::drafter) return share_all(config);
  share_caches(config, first_shared, text.errors());
}

void read_experts(Config& config, const JsonFields& text) {
  if (!text.boolean("enable_moe_block", false)) return;
  config.experts = text.integer("num_experts", kExpertRange);
  config.experts_used = text.integer("top_k_experts", kExpertRange);
  const char* key = text.has("moe_intermediate_size") ? "moe_intermediate_size" : "expert_intermediate_size";
  config.expert_width = text.integer(key, kWidthRange);
}

void read_image_attention(Config& config, const JsonFields& text, bool unified) {
  constexpr const char* kKey = "use_bidirectional_attention";
  const Json* value = text.find(kKey);
  const bool* flag = value == nullptr ? nullptr : value->boolean();
  if (value == nullptr || (flag != nullptr && !*flag)) {
    if (unified && !text.is_written(kKey)) config.image_attention = ImageAttention::bidirectional;
  } else if (value->string() != nullptr && *value->string() == "vision") {
    config.image_attention = ImageAttention::bidirectional;
  } else {
    text.errors().unsupported(text.path(kKey),
                              "only image rows may see later rows (\"vision\"): an encoder generates nothing",
                              value->dump());
  }
}

void read_gemma4(Config& config, const JsonFields& text, bool unified, ModelKind kind) {
  config.rope_sliding = {.kind = RopeKind::whole, .theta = 1e4};
  config.rope_full = {.kind = RopeKind::proportional, .theta = 1e6, .rotated_part = 0.25};
  config.vocab_size = text.integer("vocab_size", kVocabRange);
  config.heads = text.integer("num_attention_heads", kHeadRange);
  config.window = text.integer("sliding_window", kPositionRange, unified ? 1024 : 512);
  config.context = text.integer("max_position_embeddings", kPositionRange, unified ? 262144 : 131072);
  read_sizes(config, text);
  read_gemma4_layers(config, text, kind);
  read_rope(config, text);
  read_experts(config, text);
  read_image_attention(config, text, unified);
  // The class without these keys has no per-layer embeddings; the other has 256 of them unless it says otherwise.
  const int64_t usual_ple = unified || kind == ModelKind::drafter ? 0 : 256;
  config.ple_width = text.integer("hidden_size_per_layer_input", {0, kWidthRange.high}, usual_ple);
  if (config.ple_width > 0) {
    const int64_t rows = text.integer("vocab_size_per_layer_input", {0, kVocabRange.high}, config.vocab_size);
    if (rows != config.vocab_size)
      text.errors().unsupported(text.path("vocab_size_per_layer_input"), "differs from vocab_size", cat(rows));
  }
}

void read_drafter(Config& config, const JsonFields& top) {
  DrafterConfig& drafter = config.drafter.emplace();
  drafter.target_width = top.integer("backbone_hidden_size", kWidthRange);
  if (!top.boolean("use_ordered_embeddings", false)) return;
  drafter.centroids = top.integer("num_centroids", kVocabRange, 2048);
  drafter.centroids_used = top.integer("centroid_intermediate_top_k", kVocabRange, 32);
}

// --- Gemma 3 ---------------------------------------------------------------------------------------------------------

void read_gemma3_rope(Config& config, const JsonFields& text) {
  config.rope_full.theta = text.number("rope_theta", 1, 1e12, 1e6);
  config.rope_sliding.theta = text.number("rope_local_base_freq", 1, 1e12, 1e4);
  config.rope_full = rope_parameters(text.object("rope_scaling"), config.rope_full);
  read_rope(config, text);
}

void read_gemma3(Config& config, const JsonFields& text) {
  config.family = Family::gemma3;
  config.norm_offset = 1;
  config.value_norm = false;
  config.layer_scalar = false;
  config.vocab_size = text.integer("vocab_size", kVocabRange, 262208);
  config.heads = text.integer("num_attention_heads", kHeadRange, 8);
  config.window = text.integer("sliding_window", kPositionRange, 4096);
  config.context = text.integer("max_position_embeddings", kPositionRange, 131072);
  config.attention_scale = 1 / std::sqrt(text.number("query_pre_attn_scalar", 1e-3, 1e6, 256));
  read_sizes(config, text);
  read_gemma3_rope(config, text);
  const Json* bidirectional = text.find("use_bidirectional_attention");
  if (bidirectional != nullptr && (bidirectional->boolean() == nullptr || *bidirectional->boolean()))
    text.errors().unsupported(text.path("use_bidirectional_attention"), "an encoder generates nothing");

  const int64_t layers = text.integer("num_hidden_layers", kLayerRange);
  const int64_t period =
      text.integer("sliding_window_pattern", kLayerRange, text.integer("_sliding_window_pattern", kLayerRange, 6));
  const std::vector<bool> full = layer_kinds(text, layers, period);
  const LayerConfig usual{.head_dim = text.integer("head_dim", kHeadDimRange, 256),
                          .kv_heads = text.integer("num_key_value_heads", kHeadRange, 4),
                          .ffn_width = text.integer("intermediate_size", kWidthRange)};
  for (int64_t i = 0; i < layers; ++i) {
    config.layers.push_back(usual);
    config.layers.back().full = full[static_cast<size_t>(i)];
  }
  share_caches(config, layers, text.errors());
}

// --- tokens and sampling ---------------------------------------------------------------------------------------------

void read_tokens(Config& config, const JsonFields& top, const JsonFields& text, const JsonFields& generation) {
  FieldErrors& errors = top.errors();
  config.pad = static_cast<Token>(text.integer("pad_token_id", {0, config.vocab_size - 1}, 0));
  for (const JsonFields* source : {&text, &top, &generation}) {
    if (config.bos.empty())
      add_tokens(config.bos, source->ids("bos_token_id"), source->path("bos_token_id"), config.vocab_size, errors);
    add_tokens(config.eos, source->ids("eos_token_id"), source->path("eos_token_id"), config.vocab_size, errors);
    add_tokens(config.suppress, source->ids("suppress_tokens"), source->path("suppress_tokens"), config.vocab_size,
               errors);
  }
  for (const char* key : {"image_token_id", "audio_token_id", "video_token_id"})
    for (const int64_t id : top.ids(key))
      if (id >= 0 && id < config.vocab_size) add_tokens(config.placeholders, {id}, key, config.vocab_size, errors);
}

void read_sampling(Config& config, const JsonFields& generation) {
  config.temperature = generation.number("temperature", 0, 1e3, config.temperature);
  config.top_p = generation.number("top_p", 0, 1, config.top_p);
  config.min_p = generation.number("min_p", 0, 1, config.min_p);
  config.typical_p = generation.number("typical_p", 0, 1, config.typical_p);
  config.repeat_penalty = generation.number("repetition_penalty", kSmallestPenalty, 1e3, config.repeat_penalty);
  config.top_k = generation.integer("top_k", kTopKRange, config.top_k);
  if (!generation.boolean("do_sample", true)) config.temperature = 0;
}

Result<Config> read_json(const Json& config_json, const Json& generation_json, const std::string& where,
                         ModelKind wanted) {
  FieldErrors errors(where);
  if (config_json.object() == nullptr) errors.corrupt("", "is not a JSON object", {}, config_json.kind());
  const JsonFields top(&config_json, "", errors);
  const TextClass kind = wanted == ModelKind::drafter ? drafter_class(top) : text_class(top);
  const JsonFields text = top.has("text_config") ? top.object("text_config") : top;
  const JsonFields generation(&generation_json, "generation_config.json: ", errors);
  if (!generation_json.is_null() && generation_json.object() == nullptr)
    errors.corrupt("generation_config.json", "is not a JSON object", {}, generation_json.kind());
  if (errors.failed()) return *errors.error();

  Config config;
  if (kind == TextClass::gemma3)
    read_gemma3(config, text);
  else
    read_gemma4(config, text, kind == TextClass::gemma4_unified, wanted);
  if (wanted == ModelKind::drafter) read_drafter(config, top);
  config.tied_head = text.boolean("tie_word_embeddings", top.boolean("tie_word_embeddings", true));
  read_tokens(config, top, text, generation);
  read_sampling(config, generation);
  if (!errors.failed()) check_config(config, errors);
  if (errors.failed()) return *errors.error();
  return config;
}

}  // namespace

Result<Config> config_from_json(const Json& config, const Json& generation_config, const std::string& where) {
  return read_json(config, generation_config, where, ModelKind::decoder);
}

Result<Config> drafter_config_from_json(const Json& config, const Json& generation_config, const std::string& where) {
  return read_json(config, generation_config, where, ModelKind::drafter);
}

}  // namespace facet::model
