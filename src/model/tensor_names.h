// The two names of every tensor of a text decoder: in GGUF files and in Hugging Face checkpoints (text-decoder.md 5).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "formats/checkpoint.h"

namespace facet::model {

// Patterns; '#' stands for the layer number. Hugging Face names follow a prefix that differs between classes.
struct TensorName {
  const char* gguf;
  const char* hf;
};

namespace tensors {
inline constexpr TensorName kTokens{"token_embd.weight", "embed_tokens.weight"};
inline constexpr TensorName kFinalNorm{"output_norm.weight", "norm.weight"};
inline constexpr TensorName kHead{"output.weight", "lm_head.weight"};  // Hugging Face: without the prefix
inline constexpr TensorName kPleTokens{"per_layer_token_embd.weight", "embed_tokens_per_layer.weight"};
inline constexpr TensorName kPleContext{"per_layer_model_proj.weight", "per_layer_model_projection.weight"};
inline constexpr TensorName kPleContextNorm{"per_layer_proj_norm.weight", "per_layer_projection_norm.weight"};
inline constexpr TensorName kRopeFactors{"rope_freqs.weight", nullptr};

inline constexpr TensorName kAttentionNorm{"blk.#.attn_norm.weight", "layers.#.input_layernorm.weight"};
inline constexpr TensorName kQuery{"blk.#.attn_q.weight", "layers.#.self_attn.q_proj.weight"};
inline constexpr TensorName kKey{"blk.#.attn_k.weight", "layers.#.self_attn.k_proj.weight"};
inline constexpr TensorName kValue{"blk.#.attn_v.weight", "layers.#.self_attn.v_proj.weight"};
inline constexpr TensorName kAttentionOutput{"blk.#.attn_output.weight", "layers.#.self_attn.o_proj.weight"};
inline constexpr TensorName kQueryNorm{"blk.#.attn_q_norm.weight", "layers.#.self_attn.q_norm.weight"};
inline constexpr TensorName kKeyNorm{"blk.#.attn_k_norm.weight", "layers.#.self_attn.k_norm.weight"};
inline constexpr TensorName kPostAttentionNorm{"blk.#.post_attention_norm.weight",
                                               "layers.#.post_attention_layernorm.weight"};

inline constexpr TensorName kFfnNorm{"blk.#.ffn_norm.weight", "layers.#.pre_feedforward_layernorm.weight"};
inline constexpr TensorName kFfnGate{"blk.#.ffn_gate.weight", "layers.#.mlp.gate_proj.weight"};
inline constexpr TensorName kFfnUp{"blk.#.ffn_up.weight", "layers.#.mlp.up_proj.weight"};
inline constexpr TensorName kFfnDown{"blk.#.ffn_down.weight", "layers.#.mlp.down_proj.weight"};
inline constexpr TensorName kPostFfnNorm{"blk.#.post_ffw_norm.weight", "layers.#.post_feedforward_layernorm.weight"};

inline constexpr TensorName kRouter{"blk.#.ffn_gate_inp.weight", "layers.#.router.proj.weight"};
inline constexpr TensorName kRouterScale{"blk.#.ffn_gate_inp.scale", "layers.#.router.scale"};
inline constexpr TensorName kExpertScale{"blk.#.ffn_down_exps.scale", "layers.#.router.per_expert_scale"};
inline constexpr TensorName kExpertsGateUp{"blk.#.ffn_gate_up_exps.weight", "layers.#.experts.gate_up_proj"};
inline constexpr TensorName kExpertsGate{"blk.#.ffn_gate_exps.weight", nullptr};  // older files: gate and up apart
inline constexpr TensorName kExpertsUp{"blk.#.ffn_up_exps.weight", nullptr};
inline constexpr TensorName kExpertsDown{"blk.#.ffn_down_exps.weight", "layers.#.experts.down_proj"};
inline constexpr TensorName kExpertNorm{"blk.#.pre_ffw_norm_2.weight", "layers.#.pre_feedforward_layernorm_2.weight"};
inline constexpr TensorName kPostDenseNorm{"blk.#.post_ffw_norm_1.weight",
                                           "layers.#.post_feedforward_layernorm_1.weight"};
inline constexpr TensorName kPostExpertNorm{"blk.#.post_ffw_norm_2.weight",
                                            "layers.#.post_feedforward_layernorm_2.weight"};

inline constexpr TensorName kPleGate{"blk.#.inp_gate.weight", "layers.#.per_layer_input_gate.weight"};
inline constexpr TensorName kPleProjection{"blk.#.proj.weight", "layers.#.per_layer_projection.weight"};
inline constexpr TensorName kPleNorm{"blk.#.post_norm.weight", "layers.#.post_per_layer_input_norm.weight"};
inline constexpr TensorName kLayerScalar{"blk.#.layer_output_scale.weight", "layers.#.layer_scalar"};
}  // namespace tensors

// A pattern of GGUF names with its layer: "blk.#.attn_q.weight", 3 is "blk.3.attn_q.weight".
std::string gguf_name(std::string_view pattern, int layer);

// How one checkpoint spells the names.
class TensorNames {
 public:
  // Finds the prefix of a Hugging Face checkpoint from its token table. Errors: not_found (no token table).
  static Result<TensorNames> of(const formats::Checkpoint& checkpoint);

  // The full name; layer -1 outside layers. Requires the container to have the tensor.
  std::string full(const TensorName& name, int layer = -1) const;
  bool has(const TensorName& name) const { return gguf_ || name.hf != nullptr; }
  // Whether a tensor belongs to another part of a multimodal model (towers, projectors): not the decoder's business.
  bool is_foreign(std::string_view name) const;

 private:
  bool gguf_ = true;
  std::string prefix_;
};

}  // namespace facet::model
