#include "support/tiny_model.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/strings.h"
#include "support/checkpoint_builder.h"

namespace facet::testing {
namespace {

constexpr int64_t kHeads = 2, kKvHeads = 1, kHeadDim = 8, kFullHeadDim = 16, kFfn = 40, kPle = 4, kExperts = 4,
                  kExpertWidth = 8;

std::string config_text(const TinyModel& model) {
  const bool ple = model.kind == TinyKind::per_layer, experts = model.kind == TinyKind::experts;
  return cat(R"({"model_type": "gemma4_text", "vocab_size": )", TinyModel::kVocab, R"(, "hidden_size": )",
             TinyModel::kWidth, R"(, "num_hidden_layers": )", TinyModel::kLayers, R"(, "num_attention_heads": )",
             kHeads, R"(, "num_key_value_heads": )", kKvHeads, R"(, "head_dim": )", kHeadDim,
             R"(, "global_head_dim": )", kFullHeadDim, R"(, "intermediate_size": )", kFfn,
             R"(, "hidden_size_per_layer_input": )", ple ? kPle : 0, R"(, "num_kv_shared_layers": )", ple ? 2 : 0,
             R"(, "attention_k_eq_v": )", !ple, R"(, "num_global_key_value_heads": )", kKvHeads,
             R"(, "use_bidirectional_attention": )", ple ? "null" : "\"vision\"", R"(, "enable_moe_block": )", experts,
             R"(, "num_experts": )", kExperts, R"(, "top_k_experts": 2, "moe_intermediate_size": )", kExpertWidth,
             R"(, "sliding_window": )", model.window, R"(, "max_position_embeddings": )", TinyModel::kContext,
             R"(, "final_logit_softcapping": 30.0, "tie_word_embeddings": true, "bos_token_id": 2, "eos_token_id": 1,
             "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]})");
}

class Weights {
 public:
  explicit Weights(uint64_t seed) : random_(seed) {}

  void matrix(const std::string& name, std::vector<int64_t> shape) {
    add(name, shape, 0, 1.7f / std::sqrt(static_cast<float>(shape.back())));
  }
  void vector(const std::string& name, int64_t n) { add(name, {n}, 1, 0.3f); }
  void layer(const TinyModel& model, int64_t index);
  ByteVector bytes() const { return file_.bytes(); }

 private:
  // Uniform within `spread` of `middle`.
  void add(const std::string& name, const std::vector<int64_t>& shape, float middle, float spread) {
    int64_t n = 1;
    for (const int64_t dim : shape) n *= dim;
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(middle + spread * (2 * static_cast<float>(random_.uniform()) - 1));
    file_.floats("model." + name, shape, values);
  }

  Random random_;
  SafetensorsBuilder file_;
};

void Weights::layer(const TinyModel& model, int64_t index) {
  const std::string at = cat("layers.", index, ".");
  const bool full = index % 2 == 1, ple = model.kind == TinyKind::per_layer, stores = !ple || index < 2;
  const int64_t d = full ? kFullHeadDim : kHeadDim, width = TinyModel::kWidth;
  for (const char* norm :
       {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"})
    vector(cat(at, norm, ".weight"), width);
  matrix(at + "self_attn.q_proj.weight", {kHeads * d, width});
  vector(at + "self_attn.q_norm.weight", d);
  if (stores) matrix(at + "self_attn.k_proj.weight", {kKvHeads * d, width});
  if (stores) vector(at + "self_attn.k_norm.weight", d);
  if (stores && (ple || !full)) matrix(at + "self_attn.v_proj.weight", {kKvHeads * d, width});
  matrix(at + "self_attn.o_proj.weight", {width, kHeads * d});
  matrix(at + "mlp.gate_proj.weight", {kFfn, width});
  matrix(at + "mlp.up_proj.weight", {kFfn, width});
  matrix(at + "mlp.down_proj.weight", {width, kFfn});
  vector(at + "layer_scalar", 1);
  if (ple) {
    matrix(at + "per_layer_input_gate.weight", {kPle, width});
    matrix(at + "per_layer_projection.weight", {width, kPle});
    vector(at + "post_per_layer_input_norm.weight", width);
  }
  if (model.kind != TinyKind::experts) return;
  matrix(at + "router.proj.weight", {kExperts, width});
  vector(at + "router.scale", width);
  vector(at + "router.per_expert_scale", kExperts);
  matrix(at + "experts.gate_up_proj", {kExperts, 2 * kExpertWidth, width});
  matrix(at + "experts.down_proj", {kExperts, width, kExpertWidth});
  for (const char* norm :
       {"pre_feedforward_layernorm_2", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2"})
    vector(cat(at, norm, ".weight"), width);
}

}  // namespace

void write_tiny_model(const std::filesystem::path& folder, const TinyModel& model) {
  const int64_t all_ple = TinyModel::kLayers * kPle;
  Weights weights(model.seed);
  weights.matrix("embed_tokens.weight", {TinyModel::kVocab, TinyModel::kWidth});
  weights.vector("norm.weight", TinyModel::kWidth);
  if (model.kind == TinyKind::per_layer) {
    weights.matrix("embed_tokens_per_layer.weight", {TinyModel::kVocab, all_ple});
    weights.matrix("per_layer_model_projection.weight", {all_ple, TinyModel::kWidth});
    weights.vector("per_layer_projection_norm.weight", kPle);
  }
  for (int64_t i = 0; i < TinyModel::kLayers; ++i) weights.layer(model, i);
  write_bytes(folder / "model.safetensors", weights.bytes());
  write_bytes(folder / "config.json", as_bytes(config_text(model)));
}

}  // namespace facet::testing
