// Configurations compared, and what both spellings share.
#include "convert/metadata.h"

#include <algorithm>

#include "base/strings.h"

namespace facet::convert {
namespace {

using model::Config;
using model::LayerConfig;

// GGUF files hold floats, JSON doubles.
bool same(double a, double b) { return static_cast<float>(a) == static_cast<float>(b); }

bool same(const model::RopeConfig& a, const model::RopeConfig& b) {
  return a.kind == b.kind && same(a.theta, b.theta) && same(a.rotated_part, b.rotated_part) && same(a.factor, b.factor);
}

std::string layer_difference(const LayerConfig& a, const LayerConfig& b) {
  if (a.full != b.full) return "kind";
  if (a.head_dim != b.head_dim) return "size of heads";
  if (a.kv_heads != b.kv_heads) return "number of key heads";
  if (a.ffn_width != b.ffn_width) return "width of the feed-forward network";
  if (a.shares_kv != b.shares_kv || a.donor != b.donor) return "sharing of keys and values";
  if (a.value_is_key != b.value_is_key) return "origin of its values";
  return "";
}

// (name, equal) of all numbers.
std::vector<std::pair<const char*, bool>> compared(const Config& a, const Config& b) {
  const bool both = a.drafter.has_value() == b.drafter.has_value();
  return {{"family", a.family == b.family},
          {"vocabulary size", a.vocab_size == b.vocab_size},
          {"width", a.width == b.width},
          {"number of heads", a.heads == b.heads},
          {"window", a.window == b.window},
          {"context", a.context == b.context},
          {"epsilon of norms", same(a.norm_eps, b.norm_eps)},
          {"attention scale", same(a.attention_scale, b.attention_scale)},
          {"embedding scale", same(a.embedding_scale, b.embedding_scale)},
          {"cap of logits", same(a.logit_softcap, b.logit_softcap)},
          {"per-layer embeddings", a.ple_width == b.ple_width},
          {"number of experts", a.experts == b.experts && a.experts_used == b.experts_used},
          {"width of experts", a.expert_width == b.expert_width},
          {"tied head", a.tied_head == b.tied_head},
          {"rotation of sliding layers", same(a.rope_sliding, b.rope_sliding)},
          {"rotation of full layers", same(a.rope_full, b.rope_full)},
          {"being a drafter", both},
          {"target and head of the drafter", !both || a.drafter == b.drafter}};
}

}  // namespace

std::string difference(const Config& a, const Config& b) {
  for (const auto& [name, equal] : compared(a, b))
    if (!equal) return name;
  if (a.layers.size() != b.layers.size()) return "number of layers";
  for (size_t i = 0; i < a.layers.size(); ++i)
    if (const std::string what = layer_difference(a.layers[i], b.layers[i]); !what.empty())
      return cat(what, " of layer ", i);
  return "";
}

}  // namespace facet::convert
