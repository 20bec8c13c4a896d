// What both readers of a configuration share: bounds, errors, and what must hold between the fields.
#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "model/config_fields.h"

namespace facet::model {

void FieldErrors::fail(ErrorCode code, std::string_view key, std::string what, std::string expected,
                       std::string found) {
  if (error_) return;
  error_ = Error{.code = code,
                 .what = std::move(what),
                 .where = key.empty() ? where_ : cat(where_, ": ", key),
                 .expected = std::move(expected),
                 .found = std::move(found)};
}

void FieldErrors::corrupt(std::string_view key, std::string what, std::string expected, std::string found) {
  fail(ErrorCode::corrupt, key, std::move(what), std::move(expected), std::move(found));
}

void FieldErrors::unsupported(std::string_view key, std::string what, std::string found) {
  fail(ErrorCode::unsupported, key, std::move(what), {}, std::move(found));
}

int64_t FieldErrors::bounded(std::string_view key, int64_t value, Range range) {
  if (value >= range.low && value <= range.high) return value;
  corrupt(key, "number out of range", cat(range.low, " to ", range.high), cat(value));
  return range.low;
}

double FieldErrors::bounded(std::string_view key, double value, double low, double high) {
  if (value >= low && value <= high) return value;  // false for NaN
  corrupt(key, "number out of range", cat(low, " to ", high), cat(value));
  return low;
}

std::vector<bool> full_layers_by_period(int64_t layers, int64_t period) {
  std::vector<bool> full(static_cast<size_t>(layers));
  for (int64_t i = 0; i < layers; ++i) full[static_cast<size_t>(i)] = (i + 1) % period == 0;
  return full;
}

void share_caches(Config& config, int64_t first_shared, FieldErrors& errors) {
  for (int i = 0; i < config.n_layers(); ++i) {
    LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    layer.donor = i;
    layer.shares_kv = i >= first_shared;
    if (!layer.shares_kv) continue;
    int64_t donor = first_shared - 1;
    while (donor >= 0 && config.layers[static_cast<size_t>(donor)].full != layer.full) --donor;
    if (donor < 0)
      return errors.corrupt("", cat("layer ", i, " shares the keys of an earlier ", layer.full ? "full" : "sliding",
                                    "-attention layer, but no such layer stores any"));
    layer.donor = static_cast<int>(donor);
  }
}

void share_all(Config& config) {
  for (int i = 0; i < config.n_layers(); ++i) {
    LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    layer.donor = i;
    layer.shares_kv = true;
    layer.value_is_key = false;
  }
}

void add_tokens(std::vector<Token>& tokens, const std::vector<int64_t>& ids, std::string_view key, int64_t vocab_size,
                FieldErrors& errors) {
  for (const int64_t id : ids) {
    const Token token = static_cast<Token>(errors.bounded(key, id, {0, vocab_size - 1}));
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  }
}

static void check_layer(const Config& config, int index, FieldErrors& errors) {
  const LayerConfig& layer = config.layers[static_cast<size_t>(index)];
  const std::string name = cat("layer ", index);
  if (layer.head_dim % 2 != 0) errors.corrupt(name, "head size is odd", "an even number", cat(layer.head_dim));
  if (config.heads % layer.kv_heads != 0)
    errors.corrupt(name, "query heads are not a multiple of key heads", cat("a divisor of ", config.heads),
                   cat(layer.kv_heads));
  errors.bounded(cat(name, ": heads times head size"), config.heads * layer.head_dim, kWidthRange);
  const LayerConfig& donor = config.layers[static_cast<size_t>(layer.donor)];
  if (layer.kv_heads != donor.kv_heads || layer.head_dim != donor.head_dim)
    errors.corrupt(name, cat("shares the keys of layer ", layer.donor, " but has another shape"),
                   cat(donor.kv_heads, " heads of ", donor.head_dim),
                   cat(layer.kv_heads, " heads of ", layer.head_dim));
  const LayerConfig& first = *std::ranges::find(config.layers, layer.full, &LayerConfig::full);
  if (layer.head_dim != first.head_dim)  // layers of one kind share a table of angles
    errors.unsupported(name, cat("head size differs from that of other ", layer.full ? "full" : "sliding", " layers"),
                       cat(layer.head_dim, ", not ", first.head_dim));
}

void check_config(const Config& config, FieldErrors& errors) {
  for (int i = 0; i < config.n_layers() && !errors.failed(); ++i) check_layer(config, i, errors);
  if (config.ple_width > 0)
    errors.bounded("layers times per-layer width", config.ple_width * config.n_layers(), {1, kPleColumnsMax});
  if (config.experts_used > config.experts)
    errors.corrupt("", "more experts are used than there are", cat("at most ", config.experts),
                   cat(config.experts_used));
  if (!config.drafter) return;
  if (config.ple_width > 0 || config.experts > 0)
    errors.unsupported("", "a drafter with per-layer embeddings or experts is not known");
  const DrafterConfig& drafter = *config.drafter;
  if (drafter.centroids > 0 && (drafter.centroids_used < 1 || drafter.centroids_used > drafter.centroids ||
                                config.vocab_size % drafter.centroids != 0))
    errors.corrupt("", "clusters of the vocabulary do not fit it",
                   cat("a divisor of ", config.vocab_size, " and at most as many used"),
                   cat(drafter.centroids, ", ", drafter.centroids_used, " used"));
}

double embedding_scale(int64_t width) { return static_cast<float>(std::sqrt(static_cast<double>(width))); }

std::string describe(const Config& config) {
  struct Size {
    Family family;
    int layers;
    int64_t width;
    const char* name;
  };
  static constexpr Size kSizes[] = {
      {Family::gemma4, 35, 1536, "Gemma 4 E2B"}, {Family::gemma4, 42, 2560, "Gemma 4 E4B"},
      {Family::gemma4, 48, 3840, "Gemma 4 12B"}, {Family::gemma4, 30, 2816, "Gemma 4 26B-A4B"},
      {Family::gemma4, 60, 5376, "Gemma 4 31B"}, {Family::gemma3, 18, 640, "Gemma 3 270M"},
      {Family::gemma3, 26, 1152, "Gemma 3 1B"},  {Family::gemma3, 34, 2560, "Gemma 3 4B"},
      {Family::gemma3, 48, 3840, "Gemma 3 12B"}, {Family::gemma3, 62, 5376, "Gemma 3 27B"},
  };
  for (const Size& size : kSizes)
    if (size.family == config.family && size.layers == config.n_layers() && size.width == config.width)
      return size.name;
  if (config.drafter) return cat("Gemma 4 drafter for a target of width ", config.drafter->target_width);
  return config.family == Family::gemma4 ? "Gemma 4 (unknown size)" : "Gemma 3 (unknown size)";
}

}  // namespace facet::model
