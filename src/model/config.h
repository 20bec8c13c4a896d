// Config: the shape of a text decoder, read from either container and either spelling (text-decoder.md 1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/checkpoint.h"
#include "tensor/token.h"

namespace facet::model {

enum class Family : uint8_t { gemma4, gemma3 };

// How rotary frequencies are made (text-decoder.md 2.7).
enum class RopeKind : uint8_t {
  whole,         // every pair: theta^(-2j/hd)
  proportional,  // the first floor(rotated_part * hd / 2) pairs, same formula; the rest do not turn
};

struct RopeConfig {
  RopeKind kind = RopeKind::whole;
  double theta = 10000;
  double rotated_part = 1;  // proportional: share of the head that turns
  double factor = 1;        // divides every frequency

  bool operator==(const RopeConfig&) const = default;
};

// Which rows of an image see each other (text-decoder.md 2.8).
enum class ImageAttention : uint8_t { causal, bidirectional };

struct LayerConfig {
  bool full = false;  // full attention; otherwise sliding
  int64_t head_dim = 0;
  int64_t kv_heads = 0;
  int64_t ffn_width = 0;
  bool shares_kv = false;     // reads the cache of `donor` instead of storing its own
  int donor = 0;              // a storing layer; the layer itself where it stores
  bool value_is_key = false;  // no v projection: V comes from the raw K projection (storing layers only)

  bool operator==(const LayerConfig&) const = default;
};

// What a drafter has besides (text-decoder.md 4.1). It reads the keys of its target, so all its layers share.
struct DrafterConfig {
  int64_t target_width = 0;    // B: the target's model width
  int64_t centroids = 0;       // clusters of the sparse head; 0: the head is dense
  int64_t centroids_used = 0;  // clusters whose tokens are scored

  bool operator==(const DrafterConfig&) const = default;
};

struct Config {
  Family family = Family::gemma4;
  std::string name;        // general.name, or empty
  int64_t vocab_size = 0;  // V
  int64_t width = 0;       // D
  int64_t heads = 0;       // query heads, every layer
  int64_t window = 0;      // keys a sliding layer sees, itself included
  int64_t context = 0;     // positions the model was trained for
  double norm_eps = 1e-6;
  int norm_offset = 0;                    // added to every norm weight of the file: 1 for Gemma 3 safetensors, else 0
  double attention_scale = 1;             // multiplies q·k
  double embedding_scale = 1;             // exact sqrt(D) in f32, unless the switch asks for bf16 rounding
  double logit_softcap = 0;               // 0: none
  bool value_norm = true;                 // gemma4: V is RMS-normed without weight
  bool layer_scalar = true;               // gemma4: every layer scales its output
  int64_t ple_width = 0;                  // P; 0: no per-layer embeddings
  int64_t experts = 0, experts_used = 0;  // 0: dense
  int64_t expert_width = 0;
  bool tied_head = true;  // the head is the token table
  RopeConfig rope_sliding, rope_full;
  ImageAttention image_attention = ImageAttention::causal;
  std::vector<LayerConfig> layers;
  std::optional<DrafterConfig> drafter;  // this is a drafter; it cannot run alone

  Token pad = 0;
  std::vector<Token> bos;           // usually one
  std::vector<Token> eos;           // union of config.json and generation_config.json, or the file's keys
  std::vector<Token> suppress;      // never sampled
  std::vector<Token> placeholders;  // image, audio, video soft tokens: the per-layer table looks up pad for them. GGUF
                                    // files do not number them: the loader finds them by their text

  // Sampling defaults of the file; negative: not given.
  double temperature = -1, top_p = -1, min_p = -1, typical_p = -1, repeat_penalty = -1;
  int64_t top_k = -1;
  std::optional<int64_t> repeat_last_n;  // -1: the whole context

  int n_layers() const { return static_cast<int>(layers.size()); }
  bool operator==(const Config&) const = default;
};

// Reads and validates the configuration of a checkpoint. Every number is bounded and cross-checked before anything is
// allocated. Errors: unsupported (architecture, activation, …), corrupt, not_found (no config.json).
Result<Config> read_config(const formats::Checkpoint& checkpoint);
// The two sources by themselves (tests, fuzzers). `where` names the file in messages.
Result<Config> config_from_json(const Json& config, const Json& generation_config, const std::string& where);
// What no key says is left at its usual value, and read_config() looks at the tensors: value_is_key false, tied_head
// true. Full layers of gemma4 turn a quarter of the head, which the file's rope_freqs.weight must confirm.
Result<Config> config_from_gguf(const formats::GgufMetadata& metadata, const std::string& where);

// The same for a drafter's checkpoint (model type gemma4_assistant, or gemma4-assistant in GGUF files, both dialects);
// the functions above refuse those. Errors: unsupported (no drafter), corrupt.
Result<Config> read_drafter_config(const formats::Checkpoint& checkpoint);
Result<Config> drafter_config_from_json(const Json& config, const Json& generation_config, const std::string& where);
Result<Config> drafter_config_from_gguf(const formats::GgufMetadata& metadata, const std::string& where);

// "Gemma 4 E2B", "Gemma 4 26B-A4B", "Gemma 3 270M", "Gemma 4 (unknown size)".
std::string describe(const Config& config);

}  // namespace facet::model
