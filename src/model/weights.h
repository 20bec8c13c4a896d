// Weights: every parameter of a text decoder, by its place in the equations. Shapes: D model width, H query heads,
// K key heads, d head width, F hidden width, P per-layer-input width, L layers, E experts, G expert width, V
// vocabulary.
#pragma once

#include <string>
#include <vector>

#include "formats/weight_store.h"
#include "model/config.h"
#include "model/layer_plan.h"
#include "tensor/weight.h"

namespace facet::model {

struct LayerWeights {
  Vector attention_norm;        // (D)
  Linear query;                 // (H d, D)
  Linear key, value;            // (K d, D); storing layers; no value where it is the key
  Vector query_norm, key_norm;  // (d)
  Linear attention_output;      // (D, H d)
  Vector post_attention_norm;   // (D)

  Vector ffn_norm;          // (D)
  Linear ffn_gate, ffn_up;  // (F, D)
  Linear ffn_down;          // (D, F)
  Vector post_ffn_norm;     // (D)

  // Mixture of experts
  Linear router;                             // (E, D)
  Vector router_scale;                       // (D)
  Vector expert_scale;                       // (E)
  Vector expert_norm;                        // (D)
  Linear experts_gate_up;                    // E x (2 G, D), gate first
  Linear experts_down;                       // E x (D, G)
  Vector post_dense_norm, post_expert_norm;  // (D)

  // Per-layer embeddings
  Linear ple_gate;        // (P, D)
  Linear ple_projection;  // (D, P)
  Vector ple_norm;        // (D)

  float scalar = 1;  // multiplies the layer's output
};

struct Weights {
  const RowSource* tokens = nullptr;      // (V, D)
  const RowSource* ple_tokens = nullptr;  // (V, L P)
  // The context half of the per-layer inputs, cut at the last storing layer: later layers need it for kept rows only.
  Linear ple_context_before, ple_context_after;  // ((cut) P, D), ((L - cut) P, D)
  Vector ple_context_norm;                       // (P)
  std::vector<LayerWeights> layers;
  Vector final_norm;               // (D)
  Linear head;                     // (V, D)
  Vector rope_sliding, rope_full;  // frequencies, (d / 2)

  std::vector<std::string> remarks;  // tensors that the architecture defines away
};

// Finds, checks and packs every tensor by name, type and shape. Missing tensors, wrong shapes and tensors that nobody
// knows are Errors; those that the architecture defines away (keys and values of sharing layers, a stored copy of a
// tied head) are skipped and named in remarks. Bytes belong to the store.
Result<Weights> load_weights(const formats::Checkpoint& checkpoint, const Config& config, const Plan& plan,
                             formats::WeightStore& store, Progress* progress);

// Of a drafter (text-decoder.md 4). B: the target's model width, C clusters of the vocabulary.
struct DrafterWeights {
  Weights decoder;              // its layers store no keys; no packed head where the head is sparse
  Linear input;                 // (D, 2 B): embedding of the token, then the target's hidden state
  Linear output;                // (B, D)
  Linear centroids;             // (C, D); sparse heads only
  std::vector<Token> ordering;  // (C, V / C): the tokens of each cluster; sparse heads only
};
Result<DrafterWeights> load_drafter_weights(const formats::Checkpoint& checkpoint, const Config& config,
                                            const Plan& plan, formats::WeightStore& store, Progress* progress);

}  // namespace facet::model
