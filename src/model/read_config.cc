// The configuration of a checkpoint, whatever its container.
#include "base/strings.h"
#include "model/config.h"

namespace facet::model {

// What a GGUF file says only through its tensors.
static void look_at_tensors(Config& config, const formats::Checkpoint& checkpoint) {
  config.tied_head = checkpoint.find("output.weight") == nullptr;
  if (config.family != Family::gemma4) return;
  for (int i = 0; i < config.n_layers(); ++i) {
    LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    if (layer.shares_kv) continue;
    layer.value_is_key = checkpoint.find(cat("blk.", i, ".attn_v.weight")) == nullptr &&
                         checkpoint.find(cat("blk.", i, ".attn_k.weight")) != nullptr;
  }
}

Result<Config> read_config(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() == formats::Container::gguf) {
    FACET_TRY(Config config, config_from_gguf(checkpoint.metadata(), checkpoint.path().string()));
    look_at_tensors(config, checkpoint);
    return config;
  }
  if (checkpoint.config().is_null())
    return Error{.code = ErrorCode::not_found,
                 .what = "there is no config.json beside the weights; give the folder that has both",
                 .where = checkpoint.path().string()};
  return config_from_json(checkpoint.config(), checkpoint.generation_config(),
                          (checkpoint.path() / "config.json").string());
}

}  // namespace facet::model
