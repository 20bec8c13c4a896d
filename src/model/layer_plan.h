// LayerPlan: what a layer does, decided once at load. What differs between layers and sizes of the family is data here,
// so that the forward pass has few ifs.
#pragma once

#include <vector>

#include "model/config.h"

namespace facet::model {

struct LayerPlan {
  int index = 0;
  bool full = false;  // full attention; otherwise sliding
  int64_t kv_heads = 0, head_dim = 0;
  int64_t ffn_width = 0;
  bool stores_kv = true;      // computes and stores keys and values; otherwise reads another layer's
  bool value_is_key = false;  // V comes from the raw K projection
  bool has_experts = false;
  bool has_ple = false;
  bool last_storing = false;  // after its keys are stored, rows without outputs have nothing left to do
};

struct Plan {
  std::vector<LayerPlan> layers;
  int last_storing = 0;  // index of the last layer that stores keys and values
};

Plan make_plan(const Config& config);

}  // namespace facet::model
