#include "convert/names.h"

#include "model/tensor_names.h"

namespace facet::convert {
namespace {

namespace names = model::tensors;
using model::TensorName;
using Shape = std::vector<int64_t>;

class Lister {
 public:
  explicit Lister(const model::Config& config) : config_(config) {}

  std::vector<NamedTensor> list() {
    globals();
    for (int i = 0; i < config_.n_layers(); ++i) {
      layer_ = i;
      const model::LayerConfig& layer = config_.layers[static_cast<size_t>(i)];
      attention(layer);
      dense_ffn(layer);
      if (config_.experts > 0) experts();
      if (config_.ple_width > 0) ple();
      if (config_.layer_scalar) add(names::kLayerScalar, {1}, Role::vector);
    }
    return std::move(out_);
  }

 private:
  NamedTensor& add(const TensorName& name, Shape shape, Role role = Role::matrix) {
    return out_.emplace_back(NamedTensor{.gguf = model::gguf_name(name.gguf, layer_),
                                         .hf = model::gguf_name(name.hf, layer_),
                                         .prefixed = name.hf != names::kHead.hf,
                                         .shape = std::move(shape),
                                         .role = role,
                                         .layer = layer_});
  }
  void add_norm(const TensorName& name, int64_t n) { add(name, {n}, Role::norm); }
  void add_drafter(const char* gguf, const char* dialect, const char* hf, Shape shape, Role role = Role::matrix) {
    NamedTensor& tensor = add({.gguf = gguf, .hf = hf}, std::move(shape), role);
    tensor.gguf_dialect = dialect;
    tensor.prefixed = false;
  }

  void globals() {
    const int64_t vocab = config_.vocab_size, width = config_.width, ple = config_.n_layers() * config_.ple_width;
    add(names::kTokens, {vocab, width});
    if (!config_.tied_head) add(names::kHead, {vocab, width});
    add_norm(names::kFinalNorm, width);
    if (ple > 0) {
      add(names::kPleTokens, {vocab, ple});
      add(names::kPleContext, {ple, width}, Role::context);
      add_norm(names::kPleContextNorm, config_.ple_width);
    }
    if (!config_.drafter) return;
    const int64_t target = config_.drafter->target_width, centroids = config_.drafter->centroids;
    add_drafter("nextn.pre_projection.weight", "mtp.pre_projection.weight", "pre_projection.weight",
                {width, 2 * target});
    add_drafter("nextn.post_projection.weight", "mtp.post_projection.weight", "post_projection.weight",
                {target, width});
    if (centroids == 0) return;
    add_drafter("masked_embd_centroids.weight", "mtp.centroids.weight", "masked_embedding.centroids.weight",
                {centroids, width});
    add_drafter("masked_embd_ordering", "mtp.token_ordering", "masked_embedding.token_ordering", {vocab},
                Role::token_order);
  }

  void attention(const model::LayerConfig& layer) {
    const int64_t width = config_.width, queries = config_.heads * layer.head_dim,
                  keys = layer.kv_heads * layer.head_dim;
    add_norm(names::kAttentionNorm, width);
    add(names::kQuery, {queries, width});
    add_norm(names::kQueryNorm, layer.head_dim);
    const size_t first = out_.size();
    add(names::kKey, {keys, width});
    add_norm(names::kKeyNorm, layer.head_dim);
    if (!layer.value_is_key) add(names::kValue, {keys, width});
    for (size_t i = first; i < out_.size(); ++i) out_[i].required = !layer.shares_kv;
    add(names::kAttentionOutput, {width, queries});
    add_norm(names::kPostAttentionNorm, width);
  }

  void dense_ffn(const model::LayerConfig& layer) {
    const int64_t width = config_.width, ffn = layer.ffn_width;
    add_norm(names::kFfnNorm, width);
    add(names::kFfnGate, {ffn, width});
    add(names::kFfnUp, {ffn, width});
    add(names::kFfnDown, {width, ffn});
    add_norm(names::kPostFfnNorm, width);
  }

  void experts() {
    const int64_t width = config_.width, n = config_.experts, inner = config_.expert_width;
    add(names::kRouter, {n, width}, Role::vector);
    add(names::kRouterScale, {width}, Role::vector);
    add(names::kExpertScale, {n}, Role::vector);
    add(names::kExpertsGateUp, {n, 2 * inner, width}).gate_up = true;
    add(names::kExpertsDown, {n, width, inner});
    for (const TensorName& name : {names::kExpertNorm, names::kPostDenseNorm, names::kPostExpertNorm})
      add_norm(name, width);
  }

  void ple() {
    add(names::kPleGate, {config_.ple_width, config_.width});
    add(names::kPleProjection, {config_.width, config_.ple_width});
    add_norm(names::kPleNorm, config_.width);
  }

  const model::Config& config_;
  std::vector<NamedTensor> out_;
  int layer_ = -1;
};

}  // namespace

std::vector<NamedTensor> tensors_of(const model::Config& config) { return Lister(config).list(); }

}  // namespace facet::convert
