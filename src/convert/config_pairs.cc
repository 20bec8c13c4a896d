// The keys of a GGUF file from a configuration.
#include <algorithm>

#include "base/strings.h"
#include "convert/metadata.h"
#include "formats/checkpoint_writer.h"
#include "formats/gguf.h"

namespace facet::convert {
namespace {

using formats::GgufPairs;
using model::Config;
using model::Family;
using model::LayerConfig;

constexpr float kTurns = 1, kStands = 1e30f;

uint32_t as_u32(int64_t value) { return static_cast<uint32_t>(value); }

class Writer {
 public:
  explicit Writer(const Config& config)
      : config_(config),
        architecture_(config.drafter                    ? "gemma4-assistant"
                      : config.family == Family::gemma3 ? "gemma3"
                                                        : "gemma4") {}

  GgufPairs write() {
    pairs_.set("general.architecture", architecture_);
    pairs_.set("general.type", "model");
    if (!config_.name.empty()) pairs_.set("general.name", config_.name);
    sizes();
    layers();
    rope();
    if (config_.family == Family::gemma4) gemma4();
    if (config_.drafter) drafter();
    tokens();
    sampling();
    return std::move(pairs_);
  }

 private:
  std::string key(std::string_view name) const { return cat(architecture_, '.', name); }
  template <class T>
  void set(std::string_view name, T value) {
    pairs_.set(key(name), value);
  }

  void sizes() {
    set("block_count", as_u32(config_.n_layers()));
    set("context_length", as_u32(config_.context));
    set("embedding_length", as_u32(config_.width));
    set("vocab_size", as_u32(config_.vocab_size));
    set("attention.head_count", as_u32(config_.heads));
    set("attention.layer_norm_rms_epsilon", static_cast<float>(config_.norm_eps));
    if (config_.logit_softcap > 0) set("final_logit_softcapping", static_cast<float>(config_.logit_softcap));
  }

  // One number where all layers agree, else a list.
  void per_layer(std::string_view name, int64_t LayerConfig::*field) {
    std::vector<int32_t> values;
    for (const LayerConfig& layer : config_.layers) values.push_back(static_cast<int32_t>(layer.*field));
    if (std::ranges::all_of(values, [&](int32_t value) { return value == values.front(); }))
      set(name, as_u32(values.front()));
    else
      set(name, std::span<const int32_t>(values));
  }

  // Of the layers of one kind; of any where there are none.
  int64_t head_dim(bool full) const {
    const auto found = std::ranges::find(config_.layers, full, &LayerConfig::full);
    return (found == config_.layers.end() ? config_.layers.front() : *found).head_dim;
  }

  void layers() {
    per_layer("feed_forward_length", &LayerConfig::ffn_width);
    per_layer("attention.head_count_kv", &LayerConfig::kv_heads);
    for (const char* name : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) {
      set(name, as_u32(head_dim(true)));
      if (config_.family == Family::gemma4) set(cat(name, "_swa"), as_u32(head_dim(false)));
    }
    set("attention.sliding_window", as_u32(config_.window));
    std::vector<bool> sliding;
    bool usual = config_.family == Family::gemma3;  // every sixth layer of Gemma 3 is full unless a key says otherwise
    for (size_t i = 0; i < config_.layers.size(); ++i) {
      sliding.push_back(!config_.layers[i].full);
      usual = usual && config_.layers[i].full == ((i + 1) % 6 == 0);
    }
    if (!usual) set("attention.sliding_window_pattern", sliding);
  }

  void rope() {
    set("rope.freq_base", static_cast<float>(config_.rope_full.theta));
    set("rope.freq_base_swa", static_cast<float>(config_.rope_sliding.theta));
    if (config_.rope_full.factor == 1) return;
    set("rope.scaling.type", "linear");
    set("rope.scaling.factor", static_cast<float>(config_.rope_full.factor));
  }

  void gemma4() {
    const auto shared = std::ranges::count_if(config_.layers, &LayerConfig::shares_kv);
    set("attention.shared_kv_layers", as_u32(shared));
    set("embedding_length_per_layer_input", as_u32(config_.ple_width));
    if (config_.experts == 0) return;
    set("expert_count", as_u32(config_.experts));
    set("expert_used_count", as_u32(config_.experts_used));
    set("expert_feed_forward_length", as_u32(config_.expert_width));
  }

  void drafter() {
    set("embedding_length_out", as_u32(config_.drafter->target_width));
    set("nextn_predict_layers", as_u32(config_.n_layers()));
    if (config_.drafter->centroids > 0) set("centroid_intermediate_top_k", as_u32(config_.drafter->centroids_used));
  }

  void tokens() {
    pairs_.set("tokenizer.ggml.padding_token_id", as_u32(config_.pad));
    if (!config_.bos.empty()) pairs_.set("tokenizer.ggml.bos_token_id", as_u32(config_.bos.front()));
    constexpr const char* kEnds[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < std::min(std::size(kEnds), config_.eos.size()); ++i)
      pairs_.set(kEnds[i], as_u32(config_.eos[i]));
    if (!config_.suppress.empty())
      pairs_.set("tokenizer.ggml.suppress_tokens", std::span<const int32_t>(config_.suppress));
  }

  void sampling() {
    const auto set_number = [&](const char* name, double value) {
      if (value >= 0) pairs_.set(name, static_cast<float>(value));
    };
    if (config_.top_k >= 0) pairs_.set("general.sampling.top_k", static_cast<int32_t>(config_.top_k));
    set_number("general.sampling.top_p", config_.top_p);
    set_number("general.sampling.min_p", config_.min_p);
    set_number("general.sampling.penalty_repeat", config_.repeat_penalty);
    if (config_.repeat_last_n)
      pairs_.set("general.sampling.penalty_last_n", static_cast<int32_t>(*config_.repeat_last_n));
    set_number("general.sampling.temp", config_.temperature);
  }

  const Config& config_;
  std::string architecture_;
  GgufPairs pairs_;
};

// What a reader makes of the pairs. The tensors say the rest; it is taken from `config`.
Result<Config> read_back(const GgufPairs& pairs, const Config& config) {
  const std::vector<std::byte> bytes = formats::gguf_header(pairs, {}, 1);
  const auto source = formats::memory_source("metadata", bytes);
  FACET_TRY(const formats::GgufFile file, formats::read_gguf(*source));
  FACET_TRY(Config read, config.drafter ? model::drafter_config_from_gguf(file.metadata, "metadata")
                                        : model::config_from_gguf(file.metadata, "metadata"));
  read.tied_head = config.tied_head;
  if (config.drafter) read.drafter->centroids = config.drafter->centroids;
  for (size_t i = 0; i < std::min(read.layers.size(), config.layers.size()); ++i)
    read.layers[i].value_is_key = config.layers[i].value_is_key;
  if (config.family == Family::gemma4) {
    read.rope_full.kind = config.rope_full.kind;
    read.rope_full.rotated_part = config.rope_full.rotated_part;
  }
  return read;
}

}  // namespace

Result<GgufPairs> config_pairs(const Config& config) {
  GgufPairs pairs = Writer(config).write();
  FACET_TRY(const Config read, read_back(pairs, config));
  if (const std::string what = difference(config, read); !what.empty())
    return Error{.code = ErrorCode::unsupported,
                 .what = cat("a GGUF file cannot say this of the model: ", what),
                 .where = "metadata"};
  return pairs;
}

std::vector<float> rope_divisors(const Config& config) {
  const auto full = std::ranges::find(config.layers, true, &LayerConfig::full);
  if (config.family != Family::gemma4 || full == config.layers.end()) return {};
  const int64_t pairs = full->head_dim / 2;
  const double part = config.rope_full.kind == model::RopeKind::whole ? 1 : config.rope_full.rotated_part;
  const int64_t turning = static_cast<int64_t>(part * static_cast<double>(full->head_dim) / 2);
  std::vector<float> divisors(static_cast<size_t>(pairs), kStands);
  std::fill_n(divisors.begin(), std::min(turning, pairs), kTurns);
  return divisors;
}

Result<void> read_rope_divisors(std::span<const float> divisors, const std::string& where, Config& config) {
  const auto stands = std::ranges::find_if(divisors, [](float divisor) { return divisor != kTurns; });
  const bool usual = std::all_of(stands, divisors.end(), [](float divisor) { return divisor >= 1e20f; });
  if (!usual)
    return Error{.code = ErrorCode::unsupported,
                 .what = "these factors of rotation have no counterpart in config.json",
                 .where = where,
                 .expected = "1 for the pairs that turn, then 1e30",
                 .found = cat(*std::ranges::find_if(divisors, [](float d) { return d != kTurns && d < 1e20f; }))};
  config.rope_full.kind = model::RopeKind::proportional;
  config.rope_full.rotated_part =
      static_cast<double>(stands - divisors.begin()) / static_cast<double>(std::max<size_t>(1, divisors.size()));
  return {};
}

}  // namespace facet::convert
