// Every tensor of a text decoder or drafter, as its configuration implies it: its name in both containers, its shape,
// and how it is stored (text-decoder.md 4.5, 5).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace facet::convert {

enum class Role : uint8_t {
  matrix,       // in the type that was asked for
  context,      // the projection of per-layer embeddings: never F16, whose range it exceeds
  vector,       // F32 in GGUF files: norms, scales, the router
  norm,         // the same; Gemma 3's GGUF files hold 1 + w where its checkpoints hold w
  token_order,  // integers
};

struct NamedTensor {
  std::string gguf;               // as facet and upstream write it
  std::string gguf_dialect = {};  // in drafters of the community; empty: the same
  std::string hf;                 // without the prefix of the class
  bool prefixed = true;           // whether that prefix stands before it
  std::vector<int64_t> shape;     // outermost first
  bool required = true;           // otherwise used where present: keys of layers that share them
  Role role = Role::matrix;
  bool gate_up = false;  // experts' fused gate and up: files may have them apart
  int layer = -1;
};

// All of them, in the order of GGUF files. rope_freqs.weight, which only those have, is not among them.
std::vector<NamedTensor> tensors_of(const model::Config& config);

}  // namespace facet::convert
