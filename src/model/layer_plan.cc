#include "model/layer_plan.h"

namespace facet::model {

Plan make_plan(const Config& config) {
  Plan plan;
  for (int i = 0; i < config.n_layers(); ++i) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    plan.layers.push_back({.index = i,
                           .full = layer.full,
                           .kv_heads = layer.kv_heads,
                           .head_dim = layer.head_dim,
                           .ffn_width = layer.ffn_width,
                           .stores_kv = !layer.shares_kv,
                           .value_is_key = layer.value_is_key,
                           .has_experts = config.experts > 0,
                           .has_ple = config.ple_width > 0});
    if (!layer.shares_kv) plan.last_storing = i;
  }
  plan.layers[static_cast<size_t>(plan.last_storing)].last_storing = plan.layers.front().stores_kv;
  return plan;
}

}  // namespace facet::model
