#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <unordered_set>

#include "base/strings.h"
#include "model/tensor_names.h"

namespace facet::model {
namespace {

using formats::TensorInfo;

// Walks the tensors that a plan asks for, checks each, and remembers which were used.
class Loader {
 public:
  Loader(const formats::Checkpoint& checkpoint, const Config& config, const Plan& plan, TensorNames names,
         formats::WeightStore& store, Progress* progress)
      : checkpoint_(checkpoint),
        config_(config),
        plan_(plan),
        names_(std::move(names)),
        store_(store),
        progress_(progress) {}

  Result<Weights> load();
  Result<DrafterWeights> load_drafter();

 private:
  using Shape = std::vector<int64_t>;

  const TensorInfo* optional(const TensorName& name, int layer) const {
    return names_.has(name) ? checkpoint_.find(names_.full(name, layer)) : nullptr;
  }
  Result<const TensorInfo*> require(const TensorName& name, int layer, const Shape& shape);
  Error missing(const std::string& name, const Shape& shape) const;
  Result<void> check_shape(const TensorInfo& tensor, const Shape& shape) const;

  Result<Vector> vector(const TensorName& name, int layer, int64_t n);
  Result<Vector> norm(const TensorName& name, int layer, int64_t n);
  Result<Linear> linear(const TensorName& name, int layer, LinearRole role, int64_t rows, int64_t cols);

  Result<void> attention(LayerWeights& w, const LayerPlan& layer);
  Result<void> dense_ffn(LayerWeights& w, const LayerPlan& layer);
  Result<void> experts(LayerWeights& w, const LayerPlan& layer);
  Result<Weight> expert_gate_up(int layer);
  Result<Weight> unfused_experts(std::span<const std::string> parts, int layer, int64_t rows, int64_t cols);
  Result<void> ple(LayerWeights& w, const LayerPlan& layer);
  Result<void> shared(Weights& w);
  Result<void> layers(Weights& w);
  Result<Linear> drafter_linear(std::initializer_list<const char*> names, LinearRole role, int64_t rows, int64_t cols);
  Result<std::vector<Token>> token_ordering();
  Result<void> rope(Weights& w);
  Result<void> refuse_leftovers(Weights& w) const;
  bool defined_away(const TensorInfo& tensor) const;

  const formats::Checkpoint& checkpoint_;
  const Config& config_;
  const Plan& plan_;
  TensorNames names_;
  formats::WeightStore& store_;
  Progress* progress_;
  std::unordered_set<std::string> used_;
};

Error Loader::missing(const std::string& name, const Shape& shape) const {
  return {.code = ErrorCode::corrupt,
          .what = "tensor is missing",
          .where = checkpoint_.path().string(),
          .expected = cat(name, ' ', list(shape)),
          .found = "no tensor of this name"};
}

Result<void> Loader::check_shape(const TensorInfo& tensor, const Shape& shape) const {
  if (tensor.shape == shape) return {};
  return Error{.code = ErrorCode::corrupt,
               .what = "tensor has the wrong shape",
               .where = cat(checkpoint_.path(), ": ", tensor.name),
               .expected = list(shape),
               .found = list(tensor.shape)};
}

Result<const TensorInfo*> Loader::require(const TensorName& name, int layer, const Shape& shape) {
  const std::string full = names_.full(name, layer);
  const TensorInfo* tensor = checkpoint_.find(full);
  if (tensor == nullptr) return missing(full, shape);
  FACET_TRY_VOID(check_shape(*tensor, shape));
  used_.insert(full);
  return tensor;
}

Result<Vector> Loader::vector(const TensorName& name, int layer, int64_t n) {
  FACET_TRY(const TensorInfo* tensor, require(name, layer, {n}));
  return store_.vector(*tensor);
}

// Gemma 3 checkpoints hold w where the norm multiplies by 1 + w (their GGUF files hold 1 + w already).
Result<Vector> Loader::norm(const TensorName& name, int layer, int64_t n) {
  FACET_TRY(const Vector stored, vector(name, layer, n));
  if (config_.norm_offset == 0) return stored;
  std::vector<float> shifted(stored.data, stored.data + stored.size);
  for (float& value : shifted) value += static_cast<float>(config_.norm_offset);
  return store_.vector(shifted);
}

Result<Linear> Loader::linear(const TensorName& name, int layer, LinearRole role, int64_t rows, int64_t cols) {
  FACET_TRY(const TensorInfo* tensor, require(name, layer, {rows, cols}));
  FACET_TRY(const Weight weight, store_.matrix(*tensor));
  return Linear{.weight = weight, .id = {.role = role, .layer = static_cast<int16_t>(layer)}, .in = {}, .out = {}};
}

Result<void> Loader::attention(LayerWeights& w, const LayerPlan& layer) {
  const int i = layer.index;
  const int64_t width = config_.width, d = layer.head_dim;
  FACET_TRY(w.attention_norm, norm(tensors::kAttentionNorm, i, width));
  FACET_TRY(w.query, linear(tensors::kQuery, i, LinearRole::query, config_.heads * d, width));
  FACET_TRY(w.query_norm, norm(tensors::kQueryNorm, i, d));
  if (layer.stores_kv) {
    FACET_TRY(w.key, linear(tensors::kKey, i, LinearRole::key, layer.kv_heads * d, width));
    FACET_TRY(w.key_norm, norm(tensors::kKeyNorm, i, d));
    if (!layer.value_is_key) {
      FACET_TRY(w.value, linear(tensors::kValue, i, LinearRole::value, layer.kv_heads * d, width));
    }
  }
  FACET_TRY(w.attention_output,
            linear(tensors::kAttentionOutput, i, LinearRole::attention_output, width, config_.heads * d));
  FACET_TRY(w.post_attention_norm, norm(tensors::kPostAttentionNorm, i, width));
  return {};
}

Result<void> Loader::dense_ffn(LayerWeights& w, const LayerPlan& layer) {
  const int i = layer.index;
  const int64_t width = config_.width, ffn = layer.ffn_width;
  FACET_TRY(w.ffn_norm, norm(tensors::kFfnNorm, i, width));
  FACET_TRY(w.ffn_gate, linear(tensors::kFfnGate, i, LinearRole::ffn_gate, ffn, width));
  FACET_TRY(w.ffn_up, linear(tensors::kFfnUp, i, LinearRole::ffn_up, ffn, width));
  FACET_TRY(w.ffn_down, linear(tensors::kFfnDown, i, LinearRole::ffn_down, width, ffn));
  FACET_TRY(w.post_ffn_norm, norm(tensors::kPostFfnNorm, i, width));
  return {};
}

// One tensor per expert (quantised exports): `parts` are the name patterns stacked inside an expert, '@' its number.
Result<Weight> Loader::unfused_experts(std::span<const std::string> parts, int layer, int64_t rows, int64_t cols) {
  std::vector<const TensorInfo*> found;
  for (int64_t e = 0; e < config_.experts; ++e) {
    for (const std::string& part : parts) {
      std::string pattern = part;
      pattern.replace(pattern.find('@'), 1, cat(e));
      FACET_TRY(const TensorInfo* tensor, require({.gguf = "", .hf = pattern.c_str()}, layer, {rows, cols}));
      found.push_back(tensor);
    }
  }
  return store_.stacked(found, config_.experts);
}

Result<Weight> Loader::expert_gate_up(int layer) {
  const int64_t experts = config_.experts, width = config_.width, g = config_.expert_width;
  if (optional(tensors::kExpertsGateUp, layer) != nullptr) {
    FACET_TRY(const TensorInfo* fused, require(tensors::kExpertsGateUp, layer, {experts, 2 * g, width}));
    return store_.matrix(*fused);
  }
  if (names_.has(tensors::kExpertsGate) && optional(tensors::kExpertsGate, layer) != nullptr) {
    FACET_TRY(const TensorInfo* gate, require(tensors::kExpertsGate, layer, {experts, g, width}));
    FACET_TRY(const TensorInfo* up, require(tensors::kExpertsUp, layer, {experts, g, width}));
    std::vector<TensorInfo> parts;  // expert by expert: its gate rows, then its up rows
    parts.reserve(static_cast<size_t>(2 * experts));
    for (int64_t e = 0; e < experts; ++e) {
      for (const TensorInfo* whole : {gate, up}) {
        TensorInfo part = *whole;
        part.shape = {g, width};
        part.bytes = whole->bytes / experts;
        part.offset = whole->offset + e * part.bytes;
        parts.push_back(std::move(part));
      }
    }
    std::vector<const TensorInfo*> pointers;
    for (const TensorInfo& part : parts) pointers.push_back(&part);
    return store_.stacked(pointers, experts);
  }
  if (checkpoint_.container() == formats::Container::safetensors) {
    const std::string parts[] = {"layers.#.experts.@.gate_proj.weight", "layers.#.experts.@.up_proj.weight"};
    return unfused_experts(parts, layer, g, width);
  }
  FACET_TRY_VOID(require(tensors::kExpertsGateUp, layer, {experts, 2 * g, width}));  // names what is missing
  return Weight{};
}

Result<void> Loader::experts(LayerWeights& w, const LayerPlan& layer) {
  const int i = layer.index;
  const auto id = [&](LinearRole role) { return LinearId{.role = role, .layer = static_cast<int16_t>(i)}; };
  FACET_TRY(w.router, linear(tensors::kRouter, i, LinearRole::router, config_.experts, config_.width));
  FACET_TRY(w.router_scale, vector(tensors::kRouterScale, i, config_.width));
  FACET_TRY(w.expert_scale, vector(tensors::kExpertScale, i, config_.experts));
  FACET_TRY(w.expert_norm, norm(tensors::kExpertNorm, i, config_.width));
  FACET_TRY(w.post_dense_norm, norm(tensors::kPostDenseNorm, i, config_.width));
  FACET_TRY(w.post_expert_norm, norm(tensors::kPostExpertNorm, i, config_.width));
  w.experts_gate_up.id = id(LinearRole::experts_gate_up);
  FACET_TRY(w.experts_gate_up.weight, expert_gate_up(i));
  w.experts_down.id = id(LinearRole::experts_down);
  if (optional(tensors::kExpertsDown, i) != nullptr || checkpoint_.container() == formats::Container::gguf) {
    FACET_TRY(const TensorInfo* down,
              require(tensors::kExpertsDown, i, {config_.experts, config_.width, config_.expert_width}));
    FACET_TRY(w.experts_down.weight, store_.matrix(*down));
  } else {
    const std::string parts[] = {"layers.#.experts.@.down_proj.weight"};
    FACET_TRY(w.experts_down.weight, unfused_experts(parts, i, config_.width, config_.expert_width));
  }
  return {};
}

Result<void> Loader::ple(LayerWeights& w, const LayerPlan& layer) {
  const int i = layer.index;
  FACET_TRY(w.ple_gate, linear(tensors::kPleGate, i, LinearRole::ple_gate, config_.ple_width, config_.width));
  FACET_TRY(w.ple_projection,
            linear(tensors::kPleProjection, i, LinearRole::ple_projection, config_.width, config_.ple_width));
  FACET_TRY(w.ple_norm, norm(tensors::kPleNorm, i, config_.width));
  return {};
}

Result<void> Loader::shared(Weights& w) {
  const int64_t width = config_.width, vocab = config_.vocab_size;
  FACET_TRY(const TensorInfo* tokens, require(tensors::kTokens, -1, {vocab, width}));
  FACET_TRY(w.tokens, store_.rows(*tokens));
  FACET_TRY(w.final_norm, norm(tensors::kFinalNorm, -1, width));
  const bool own_head = !config_.tied_head || (checkpoint_.container() == formats::Container::gguf &&
                                               optional(tensors::kHead, -1) != nullptr);
  w.head.id = {.role = LinearRole::head, .layer = -1};
  if (config_.drafter && config_.drafter->centroids > 0) return {};  // rows of the table, as they are wanted
  if (own_head) {
    FACET_TRY(w.head, linear(tensors::kHead, -1, LinearRole::head, vocab, width));
  } else {
    FACET_TRY(w.head.weight, store_.matrix(*tokens));
  }
  if (config_.ple_width == 0) return {};
  const int64_t cut = plan_.last_storing * config_.ple_width, all = config_.n_layers() * config_.ple_width;
  FACET_TRY(const TensorInfo* ple_tokens, require(tensors::kPleTokens, -1, {vocab, all}));
  FACET_TRY(w.ple_tokens, store_.rows(*ple_tokens));
  FACET_TRY(const TensorInfo* context, require(tensors::kPleContext, -1, {all, width}));
  w.ple_context_before.id = w.ple_context_after.id = {.role = LinearRole::ple_context, .layer = -1};
  if (cut > 0) {
    FACET_TRY(w.ple_context_before.weight, store_.matrix(*context, 0, cut));
  }
  FACET_TRY(w.ple_context_after.weight, store_.matrix(*context, cut, all - cut));
  FACET_TRY(w.ple_context_norm, norm(tensors::kPleContextNorm, -1, config_.ple_width));
  return {};
}

// f_j = theta^(-2 j / d) / factor for the pairs that turn, 0 for the others (text-decoder.md 2.7).
std::vector<float> rope_frequencies(const RopeConfig& rope, int64_t head_dim) {
  const int64_t pairs = head_dim / 2;
  const int64_t turning = rope.kind == RopeKind::whole
                              ? pairs
                              : static_cast<int64_t>(rope.rotated_part * static_cast<double>(head_dim) / 2);
  std::vector<float> frequencies(static_cast<size_t>(pairs), 0.0f);
  for (int64_t j = 0; j < std::min(turning, pairs); ++j) {
    const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(head_dim);
    frequencies[static_cast<size_t>(j)] = static_cast<float>(std::pow(rope.theta, exponent) / rope.factor);
  }
  return frequencies;
}

Result<void> Loader::rope(Weights& w) {
  int64_t sliding_dim = 0, full_dim = 0;
  for (const LayerPlan& layer : plan_.layers) (layer.full ? full_dim : sliding_dim) = layer.head_dim;
  FACET_TRY(w.rope_sliding, store_.vector(rope_frequencies(config_.rope_sliding, sliding_dim)));
  RopeConfig full_rope = config_.rope_full;
  const TensorInfo* factors = optional(tensors::kRopeFactors, -1);
  if (factors == nullptr) {
    FACET_TRY(w.rope_full, store_.vector(rope_frequencies(full_rope, full_dim)));
    return {};
  }
  // GGUF says the same through factors: 1 for the pairs that turn, 1e30 for those that do not.
  FACET_TRY(const Vector divisors, vector(tensors::kRopeFactors, -1, full_dim / 2));
  full_rope.kind = RopeKind::whole;
  std::vector<float> frequencies = rope_frequencies(full_rope, full_dim);
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float divisor = divisors.data[j];
    if (!(divisor > 0)) {
      return Error{.code = ErrorCode::corrupt,
                   .what = "rotary factor is not positive",
                   .where = cat(checkpoint_.path(), ": ", names_.full(tensors::kRopeFactors), '[', j, ']'),
                   .expected = "a positive number",
                   .found = cat(divisor)};
    }
    frequencies[j] = divisor >= 1e20f ? 0.0f : frequencies[j] / divisor;
  }
  FACET_TRY(w.rope_full, store_.vector(frequencies));
  return {};
}

// Tensors that some files carry although the architecture has no use for them.
bool Loader::defined_away(const TensorInfo& tensor) const {
  if (names_.is_foreign(tensor.name)) return true;
  if (tensor.name == names_.full(tensors::kHead)) return config_.tied_head;
  for (const LayerPlan& layer : plan_.layers) {
    if (layer.stores_kv && !layer.value_is_key) continue;
    const auto is = [&](const TensorName& name) { return tensor.name == names_.full(name, layer.index); };
    if (!layer.stores_kv && (is(tensors::kKey) || is(tensors::kValue) || is(tensors::kKeyNorm))) return true;
    if (layer.value_is_key && is(tensors::kValue)) return true;
  }
  return false;
}

Result<void> Loader::refuse_leftovers(Weights& w) const {
  for (const TensorInfo& tensor : checkpoint_.tensors()) {
    if (used_.contains(tensor.name)) continue;
    if (!defined_away(tensor)) {
      return Error{.code = ErrorCode::corrupt,
                   .what = "tensor is not part of this architecture",
                   .where = cat(checkpoint_.path(), ": ", tensor.name),
                   .expected = cat("the tensors of ", describe(config_)),
                   .found = cat(name(tensor.type), ' ', list(tensor.shape))};
    }
    if (!names_.is_foreign(tensor.name)) w.remarks.push_back(cat("not used: ", tensor.name));
  }
  return {};
}

Result<void> Loader::layers(Weights& w) {
  for (const LayerPlan& layer : plan_.layers) {
    LayerWeights& weights = w.layers.emplace_back();
    FACET_TRY_VOID(attention(weights, layer));
    FACET_TRY_VOID(dense_ffn(weights, layer));
    if (layer.has_experts) FACET_TRY_VOID(experts(weights, layer));
    if (layer.has_ple) FACET_TRY_VOID(ple(weights, layer));
    if (config_.layer_scalar) {
      FACET_TRY(const Vector scalar, vector(tensors::kLayerScalar, layer.index, 1));
      weights.scalar = scalar.data[0];
    }
    if (progress_ != nullptr && !progress_->update("packing weights", layer.index + 1, config_.n_layers()))
      return Error{.code = ErrorCode::cancelled, .what = "loading was stopped", .where = checkpoint_.path().string()};
  }
  return {};
}

Result<Weights> Loader::load() {
  Weights w;
  FACET_TRY_VOID(shared(w));
  FACET_TRY_VOID(rope(w));
  FACET_TRY_VOID(layers(w));
  FACET_TRY_VOID(refuse_leftovers(w));
  return w;
}

// --- drafters ---

// A matrix beside the decoder, under the first of its names that the file has: Hugging Face, GGUF, GGUF's other
// dialect.
Result<Linear> Loader::drafter_linear(std::initializer_list<const char*> names, LinearRole role, int64_t rows,
                                      int64_t cols) {
  const char* found = *names.begin();
  for (const char* name : names)
    if (checkpoint_.find(name) != nullptr) found = name;
  const TensorInfo* tensor = checkpoint_.find(found);
  if (tensor == nullptr) return missing(found, {rows, cols});
  FACET_TRY_VOID(check_shape(*tensor, {rows, cols}));
  used_.insert(tensor->name);
  FACET_TRY(const Weight weight, store_.matrix(*tensor));
  return Linear{.weight = weight, .id = {.role = role, .layer = -1}, .in = {}, .out = {}};
}

// A permutation of the vocabulary, i64 or i32.
Result<std::vector<Token>> Loader::token_ordering() {
  const int64_t vocab = config_.vocab_size;
  const TensorInfo* tensor = nullptr;
  for (const char* name : {"masked_embedding.token_ordering", "masked_embd_ordering", "mtp.token_ordering"})
    if (const TensorInfo* found = checkpoint_.find(name)) tensor = found;
  if (tensor == nullptr) return missing("masked_embedding.token_ordering", {vocab});
  FACET_TRY_VOID(check_shape(*tensor, {vocab}));
  used_.insert(tensor->name);
  const auto wrong = [&](std::string what, std::string expected, std::string found) {
    return Error{.code = ErrorCode::corrupt,
                 .what = std::move(what),
                 .where = cat(checkpoint_.path(), ": ", tensor->name),
                 .expected = std::move(expected),
                 .found = std::move(found)};
  };
  if (tensor->type != DType::i64 && tensor->type != DType::i32)
    return wrong("order of tokens has the wrong type", "I64 or I32", name(tensor->type));
  if (store_.packing() == formats::Packing::counted) return std::vector<Token>(static_cast<size_t>(vocab));
  const Bytes bytes = checkpoint_.bytes(*tensor);
  const size_t size = static_cast<size_t>(info(tensor->type).bytes);
  std::vector<Token> ordering(static_cast<size_t>(vocab));
  std::vector<bool> seen(ordering.size());
  for (size_t i = 0; i < ordering.size(); ++i) {
    int64_t token = 0;
    std::memcpy(&token, bytes.data() + i * size, size);
    if (size == 4) token = static_cast<int32_t>(token);
    if (token < 0 || token >= vocab || seen[static_cast<size_t>(token)])
      return wrong("order of tokens is no permutation", cat("each of 0 to ", vocab - 1, " once"),
                   cat(token, " at ", i));
    seen[static_cast<size_t>(token)] = true;
    ordering[i] = static_cast<Token>(token);
  }
  return ordering;
}

Result<DrafterWeights> Loader::load_drafter() {
  const DrafterConfig& drafter = *config_.drafter;
  const int64_t width = config_.width, target = drafter.target_width;
  DrafterWeights w;
  FACET_TRY_VOID(shared(w.decoder));
  FACET_TRY_VOID(rope(w.decoder));
  FACET_TRY_VOID(layers(w.decoder));
  FACET_TRY(w.input,
            drafter_linear({"pre_projection.weight", "nextn.pre_projection.weight", "mtp.pre_projection.weight"},
                           LinearRole::draft_input, width, 2 * target));
  FACET_TRY(w.output,
            drafter_linear({"post_projection.weight", "nextn.post_projection.weight", "mtp.post_projection.weight"},
                           LinearRole::draft_output, target, width));
  if (drafter.centroids > 0) {
    FACET_TRY(w.centroids, drafter_linear({"masked_embedding.centroids.weight", "masked_embd_centroids.weight",
                                           "mtp.centroids.weight"},
                                          LinearRole::draft_centroids, drafter.centroids, width));
    FACET_TRY(w.ordering, token_ordering());
  }
  FACET_TRY_VOID(refuse_leftovers(w.decoder));
  return w;
}

}  // namespace

Result<Weights> load_weights(const formats::Checkpoint& checkpoint, const Config& config, const Plan& plan,
                             formats::WeightStore& store, Progress* progress) {
  FACET_TRY(TensorNames names, TensorNames::of(checkpoint));
  return Loader(checkpoint, config, plan, std::move(names), store, progress).load();
}

Result<DrafterWeights> load_drafter_weights(const formats::Checkpoint& checkpoint, const Config& config,
                                            const Plan& plan, formats::WeightStore& store, Progress* progress) {
  FACET_CHECK(config.drafter.has_value());
  FACET_TRY(TensorNames names, TensorNames::of(checkpoint));
  return Loader(checkpoint, config, plan, std::move(names), store, progress).load_drafter();
}

}  // namespace facet::model
