// The configuration of a checkpoint, whatever its container.
#include <algorithm>
#include <utility>

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

// The sparse head of a GGUF drafter shows in its centroids. How many clusters are scored only facet's own files say.
static Result<void> look_at_head(Config& config, const formats::Checkpoint& checkpoint) {
  constexpr int64_t kPublishedClusters = 32;
  const formats::TensorInfo* centroids = nullptr;
  for (const char* name : {"masked_embd_centroids.weight", "mtp.centroids.weight"})
    if (const formats::TensorInfo* found = checkpoint.find(name)) centroids = found;
  const int64_t used = std::exchange(config.drafter->centroids_used, 0);
  if (centroids == nullptr) return {};
  const int64_t n = centroids->shape.size() == 2 ? centroids->shape[0] : 0;
  if (n < 1 || config.vocab_size % n != 0)
    return Error{.code = ErrorCode::corrupt,
                 .what = "clusters of the vocabulary do not fit it",
                 .where = cat(checkpoint.path(), ": ", centroids->name),
                 .expected = cat("a matrix whose rows divide ", config.vocab_size),
                 .found = list(centroids->shape)};
  config.drafter->centroids = n;
  config.drafter->centroids_used = std::min(n, used > 0 ? used : kPublishedClusters);
  return {};
}

static Error no_config(const formats::Checkpoint& checkpoint) {
  return {.code = ErrorCode::not_found,
          .what = "there is no config.json beside the weights; give the folder that has both",
          .where = checkpoint.path().string()};
}

Result<Config> read_drafter_config(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() == formats::Container::gguf) {
    FACET_TRY(Config config, drafter_config_from_gguf(checkpoint.metadata(), checkpoint.path().string()));
    config.tied_head = checkpoint.find("output.weight") == nullptr;
    FACET_TRY_VOID(look_at_head(config, checkpoint));
    return config;
  }
  if (checkpoint.config().is_null()) return no_config(checkpoint);
  return drafter_config_from_json(checkpoint.config(), checkpoint.generation_config(),
                                  (checkpoint.path() / "config.json").string());
}

Result<Config> read_config(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() == formats::Container::gguf) {
    FACET_TRY(Config config, config_from_gguf(checkpoint.metadata(), checkpoint.path().string()));
    look_at_tensors(config, checkpoint);
    return config;
  }
  if (checkpoint.config().is_null()) return no_config(checkpoint);
  return config_from_json(checkpoint.config(), checkpoint.generation_config(),
                          (checkpoint.path() / "config.json").string());
}

}  // namespace facet::model
