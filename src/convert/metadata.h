// The configuration of a model, written: as the keys of a GGUF file, or as config.json and generation_config.json. The
// readers are in model/config.h; what they make of these is the same configuration, or it is an error.
#pragma once

#include "base/json.h"
#include "formats/gguf_pairs.h"
#include "model/config.h"

namespace facet::convert {

// general.architecture, the keys of the architecture, token ids, sampling defaults (text-decoder.md 5.2, 5.3). Without
// the vocabulary. Errors: unsupported (a property that no key can hold: which).
Result<formats::GgufPairs> config_pairs(const model::Config& config);

// What rope_freqs.weight holds: one divisor for each pair of a full layer's head, 1 for those that turn, 1e30 for the
// others. Empty where the family has none.
std::vector<float> rope_divisors(const model::Config& config);
// Sets the rotated part of full layers from such divisors. Errors: unsupported (any other values).
Result<void> read_rope_divisors(std::span<const float> divisors, const std::string& where, model::Config& config);

// The flat spelling as published where it can say everything, else with per_layer_config (text-decoder.md 1.3); the
// text-only class. weights: the type that most of them have. Errors: unsupported, as above.
Result<Json> config_json(const model::Config& config, DType weights);
Json generation_config_json(const model::Config& config);

// The first property of the decoder that differs, in words; empty: none. Names, token ids and sampling are no
// properties of it; neither is what only pictures meet.
std::string difference(const model::Config& a, const model::Config& b);

}  // namespace facet::convert
