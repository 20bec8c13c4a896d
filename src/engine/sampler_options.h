// What a request leaves unset: the model file's value, else the one that facet/sampling.h names.
#pragma once

#include "facet/sampling.h"
#include "model/config.h"
#include "runtime/sampler_options.h"

namespace facet::engine {

// Draws a seed where the request has none. Unchecked: runtime::check() says what is wrong.
runtime::SamplerOptions sampler_options(const Sampling& sampling, const model::Config& config);

}  // namespace facet::engine
