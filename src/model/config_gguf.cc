// The keys of a GGUF file of architecture gemma4 (text-decoder.md 5.2, gguf.md 1.9) or gemma3.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "model/config_fields.h"

namespace facet::model {
namespace {

using formats::GgufMetadata;
using formats::GgufValue;

// Keys with bounds. Names without a leading word of their own ("tokenizer.", "general.") are prefixed by the
// architecture.
class GgufFields {
 public:
  GgufFields(const GgufMetadata& metadata, std::string prefix, FieldErrors& errors)
      : metadata_(metadata), prefix_(std::move(prefix)), errors_(errors) {}

  FieldErrors& errors() const { return errors_; }
  std::string path(std::string_view key) const { return cat(prefix_, key); }
  const GgufValue* find(std::string_view key) const { return metadata_.find(path(key)); }
  bool has(std::string_view key) const { return find(key) != nullptr; }

  int64_t integer(std::string_view key, Range range) const {
    if (!has(key)) errors_.corrupt(path(key), "is missing");
    return integer(key, range, range.low);
  }
  int64_t integer(std::string_view key, Range range, int64_t otherwise) const {
    return errors_.bounded(path(key), take(metadata_.integer(path(key)), otherwise), range);
  }
  double number(std::string_view key, double low, double high, double otherwise) const {
    const Result<std::optional<double>> value = metadata_.number(path(key));
    if (value.ok() && !value->has_value()) return otherwise;  // which may be outside: "not given"
    return errors_.bounded(path(key), take(value, low), low, high);
  }
  std::string string(std::string_view key, std::string_view otherwise) const {
    return std::string(take(metadata_.string(path(key)), otherwise));
  }
  // Numbers of a list; empty where absent.
  std::vector<int64_t> integers(std::string_view key, uint64_t count_max) const {
    const GgufValue* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array() || value->count > count_max) {
      errors_.corrupt(path(key), "is not a list of at most as many numbers", cat(count_max));
      return {};
    }
    std::optional<std::vector<int64_t>> numbers = value->integers();
    if (!numbers) errors_.corrupt(path(key), "is not a list of integers");
    return numbers ? *std::move(numbers) : std::vector<int64_t>();
  }
  // One number for all layers, or a list with one for each.
  std::vector<int64_t> per_layer(std::string_view key, int64_t layers, Range range) const {
    const size_t n = static_cast<size_t>(layers);
    const GgufValue* value = find(key);
    if (value == nullptr || !value->is_array()) return std::vector<int64_t>(n, integer(key, range));
    std::vector<int64_t> numbers = integers(key, kLayerRange.high);
    if (numbers.size() != n) {
      errors_.corrupt(path(key), "has the wrong length", cat(layers), cat(numbers.size()));
      return std::vector<int64_t>(n, range.low);
    }
    for (int64_t& number : numbers) number = errors_.bounded(path(key), number, range);
    return numbers;
  }

 private:
  template <class T>
  T take(const Result<std::optional<T>>& value, T otherwise) const {
    if (!value.ok()) errors_.corrupt("", value.error().message());
    return value.ok() ? value->value_or(otherwise) : otherwise;
  }

  const GgufMetadata& metadata_;
  std::string prefix_;
  FieldErrors& errors_;
};

// Which layers see everything: a list (true = sliding), or a period.
std::vector<bool> layer_kinds(const GgufFields& keys, int64_t layers) {
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const GgufValue* value = keys.find(kKey);
  if (value == nullptr || !value->is_array()) return full_layers_by_period(layers, keys.integer(kKey, kLayerRange, 6));
  const std::vector<int64_t> sliding = keys.per_layer(kKey, layers, {0, 1});
  std::vector<bool> full(sliding.size());
  for (size_t i = 0; i < full.size(); ++i) full[i] = sliding[i] == 0;
  return full;
}

// Key and value heads have one size, and rotation covers it.
int64_t head_dim(const GgufFields& keys, std::string_view suffix, int64_t otherwise) {
  const std::string key = cat("attention.key_length", suffix), value = cat("attention.value_length", suffix);
  const std::string rotated = cat("rope.dimension_count", suffix);
  const int64_t dim = keys.integer(key, kHeadDimRange, otherwise);
  for (const std::string& other : {value, rotated})
    if (keys.integer(other, {1, kWidthRange.high}, dim) != dim)
      keys.errors().unsupported(keys.path(other), cat("differs from ", key));
  return dim;
}

void read_rope(Config& config, const GgufFields& keys) {
  config.rope_full.theta = keys.number("rope.freq_base", 1, 1e12, 1e6);
  config.rope_sliding.theta = keys.number("rope.freq_base_swa", 1, 1e12, 1e4);
  if (config.family == Family::gemma4) {
    config.rope_full.kind = RopeKind::proportional;
    config.rope_full.rotated_part = 0.25;
  }
  const std::string scaling = keys.string("rope.scaling.type", "linear");
  if (scaling == "linear")
    config.rope_full.factor =
        keys.number("rope.scaling.factor", 1e-6, 1e6, keys.number("rope.scale_linear", 1e-6, 1e6, 1));
  else if (scaling != "none")
    keys.errors().unsupported(keys.path("rope.scaling.type"), "facet knows none and linear", scaling);
}

void read_sizes(Config& config, const GgufFields& keys, const GgufFields& tokenizer) {
  const GgufValue* tokens = tokenizer.find("tokens");
  if (tokens != nullptr && tokens->is_array())
    config.vocab_size = keys.errors().bounded(
        tokenizer.path("tokens"), static_cast<int64_t>(std::min<uint64_t>(tokens->count, 1u << 30)), kVocabRange);
  else
    config.vocab_size = keys.integer("vocab_size", kVocabRange);
  config.width = keys.integer("embedding_length", kWidthRange);
  config.context = keys.integer("context_length", kPositionRange, 131072);
  config.norm_eps = keys.number("attention.layer_norm_rms_epsilon", 0, 1, 1e-6);
  config.logit_softcap = keys.number("final_logit_softcapping", 0, 1e6, 0);
  config.embedding_scale = embedding_scale(config.width);
  if (keys.number("attn_logit_softcapping", 0, 1e6, 0) != 0)
    keys.errors().unsupported(keys.path("attn_logit_softcapping"), "a cap on attention scores is not known");
  const int64_t layers = keys.integer("block_count", kLayerRange);
  const std::vector<int64_t> heads = keys.per_layer("attention.head_count", layers, kHeadRange);
  config.heads = heads.front();
  if (std::count(heads.begin(), heads.end(), config.heads) != layers)
    keys.errors().unsupported(keys.path("attention.head_count"), "differs between layers");
}

void read_layers(Config& config, const GgufFields& keys, ModelKind kind) {
  const int64_t layers = keys.integer("block_count", kLayerRange);
  std::vector<bool> full = layer_kinds(keys, layers);
  // Files of Gemma 3 without a window have none.
  config.window = keys.integer("attention.sliding_window", {0, kPositionRange.high}, 0);
  if (config.window == 0) {
    if (config.family == Family::gemma4)
      keys.errors().corrupt(keys.path("attention.sliding_window"), "is missing or zero");
    config.window = config.context;
    full.assign(full.size(), true);
  }
  const int64_t full_dim = head_dim(keys, "", std::clamp<int64_t>(config.width / config.heads, 2, kHeadDimRange.high));
  const int64_t sliding_dim = head_dim(keys, "_swa", full_dim);
  const std::vector<int64_t> kv_heads = keys.per_layer("attention.head_count_kv", layers, kHeadRange);
  const std::vector<int64_t> ffn_width = keys.per_layer("feed_forward_length", layers, kWidthRange);
  for (size_t i = 0; i < full.size(); ++i)
    config.layers.push_back({.full = full[i],
                             .head_dim = full[i] ? full_dim : sliding_dim,
                             .kv_heads = kv_heads[i],
                             .ffn_width = ffn_width[i]});
  if (kind == ModelKind::drafter) return share_all(config);
  const int64_t shared = keys.integer("attention.shared_kv_layers", {0, layers - 1}, 0);
  share_caches(config, layers - shared, keys.errors());
}

void read_gemma4(Config& config, const GgufFields& keys) {
  config.ple_width = keys.integer("embedding_length_per_layer_input", {0, kWidthRange.high}, 0);
  config.experts = keys.integer("expert_count", {0, kExpertRange.high}, 0);
  if (config.experts > 0) {
    config.experts_used = keys.integer("expert_used_count", kExpertRange);
    config.expert_width = keys.integer("expert_feed_forward_length", kWidthRange);
  }
  // No key says it; the sizes with per-layer embeddings are the causal ones.
  if (config.ple_width == 0) config.image_attention = ImageAttention::bidirectional;
}

void read_gemma3(Config& config, const GgufFields& keys) {
  config.value_norm = false;
  config.layer_scalar = false;
  constexpr int kLayersOf27B = 62;  // the one size that does not scale by its head
  const double per_head = static_cast<double>(config.width) / static_cast<double>(config.heads);
  const double dim = static_cast<double>(config.layers.front().head_dim);
  config.attention_scale = 1 / std::sqrt(config.n_layers() == kLayersOf27B ? per_head : dim);
  if (keys.integer("attention.shared_kv_layers", {0, kLayerRange.high}, 0) != 0)
    keys.errors().unsupported(keys.path("attention.shared_kv_layers"), "gemma3 shares no keys");
}

void read_tokens(Config& config, const GgufFields& tokenizer) {
  const Range ids{0, config.vocab_size - 1};
  config.pad = static_cast<Token>(tokenizer.integer("padding_token_id", ids, 0));
  if (tokenizer.has("bos_token_id")) config.bos = {static_cast<Token>(tokenizer.integer("bos_token_id", ids))};
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"})
    if (tokenizer.has(key))
      add_tokens(config.eos, {tokenizer.integer(key, ids)}, key, config.vocab_size, tokenizer.errors());
  const uint64_t count_max = static_cast<uint64_t>(config.vocab_size);
  add_tokens(config.suppress, tokenizer.integers("suppress_tokens", count_max), tokenizer.path("suppress_tokens"),
             config.vocab_size, tokenizer.errors());
}

void read_sampling(Config& config, const GgufFields& general) {
  config.temperature = general.number("sampling.temp", 0, 1e3, config.temperature);
  config.top_p = general.number("sampling.top_p", 0, 1, config.top_p);
  config.min_p = general.number("sampling.min_p", 0, 1, config.min_p);
  config.repeat_penalty = general.number("sampling.penalty_repeat", kSmallestPenalty, 1e3, config.repeat_penalty);
  if (general.has("sampling.top_k")) config.top_k = general.integer("sampling.top_k", kTopKRange);
  if (general.has("sampling.penalty_last_n"))
    config.repeat_last_n = general.integer("sampling.penalty_last_n", {-1, kTopKRange.high});
}

// Upstream writes a hyphen; files of the community have an underscore and another name for the width.
bool is_drafter(std::string_view architecture) {
  return architecture == "gemma4-assistant" || architecture == "gemma4_assistant";
}

void read_drafter(Config& config, const GgufFields& keys) {
  const char* key = keys.has("embedding_length_out") ? "embedding_length_out" : "n_embd_backbone";
  config.drafter = DrafterConfig{.target_width = keys.integer(key, kWidthRange)};
  config.drafter->centroids_used = keys.integer("centroid_intermediate_top_k", {0, kVocabRange.high}, 0);
}

void check_architecture(const std::string& name, ModelKind kind, FieldErrors& errors) {
  if (kind == ModelKind::drafter) {
    if (!is_drafter(name)) errors.unsupported("general.architecture", "this is no drafter (gemma4-assistant)", name);
    return;
  }
  if (name == "gemma4" || name == "gemma3") return;
  if (is_drafter(name))
    errors.unsupported("", cat("this is a drafter (", name,
                               "): it proposes tokens for a larger model and cannot run "
                               "without it; open that target model instead"));
  else if (name == "clip")
    errors.unsupported("", "this file holds the picture and sound encoders only (mmproj); open the text model's file");
  else if (name.empty())
    errors.corrupt("general.architecture", "is missing");
  else
    errors.unsupported("general.architecture", "facet runs gemma4 and gemma3 models only", name);
}

Result<Config> read_metadata(const GgufMetadata& metadata, const std::string& where, ModelKind kind) {
  FieldErrors errors(where);
  const GgufFields general(metadata, "general.", errors), tokenizer(metadata, "tokenizer.ggml.", errors);
  const std::string architecture = general.string("architecture", "");
  if (!errors.failed()) check_architecture(architecture, kind, errors);
  if (errors.failed()) return *errors.error();

  const GgufFields keys(metadata, cat(architecture, "."), errors);
  Config config;
  config.family = architecture == "gemma3" ? Family::gemma3 : Family::gemma4;
  config.name = general.string("name", "");
  read_sizes(config, keys, tokenizer);
  read_layers(config, keys, kind);
  read_rope(config, keys);
  if (config.family == Family::gemma4)
    read_gemma4(config, keys);
  else
    read_gemma3(config, keys);
  if (kind == ModelKind::drafter) read_drafter(config, keys);
  read_tokens(config, tokenizer);
  read_sampling(config, general);
  if (!errors.failed()) check_config(config, errors);
  if (errors.failed()) return *errors.error();
  return config;
}

}  // namespace

Result<Config> config_from_gguf(const GgufMetadata& metadata, const std::string& where) {
  return read_metadata(metadata, where, ModelKind::decoder);
}

Result<Config> drafter_config_from_gguf(const GgufMetadata& metadata, const std::string& where) {
  return read_metadata(metadata, where, ModelKind::drafter);
}

}  // namespace facet::model
