#include "engine/sampler_options.h"

#include <random>

namespace facet::engine {
namespace {

uint64_t fresh_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

runtime::SamplerOptions sampler_options(const Sampling& sampling, const model::Config& config) {
  const auto file = [](double value, double usual) { return static_cast<float>(value >= 0 ? value : usual); };
  runtime::SamplerOptions options{
      .temperature = sampling.temperature.value_or(file(config.temperature, 1)),
      .top_k = sampling.top_k.value_or(config.top_k >= 0 ? static_cast<int>(config.top_k) : 64),
      .top_p = sampling.top_p.value_or(file(config.top_p, 0.95)),
      .min_p = sampling.min_p.value_or(file(config.min_p, 0)),
      .seed = sampling.seed ? *sampling.seed : fresh_seed(),
      .logprobs = sampling.logprobs,
      .typical_p = sampling.typical_p.value_or(file(config.typical_p, 1))};
  options.penalties = {.repeat = sampling.repeat_penalty.value_or(file(config.repeat_penalty, 1)),
                       .frequency = sampling.frequency_penalty.value_or(0.0f),
                       .presence = sampling.presence_penalty.value_or(0.0f),
                       .last_n = sampling.repeat_last_n.value_or(config.repeat_last_n.value_or(64))};
  options.dry = {.multiplier = sampling.dry_multiplier.value_or(0.0f),
                 .base = sampling.dry_base.value_or(1.75f),
                 .allowed_length = sampling.dry_allowed_length.value_or(2),
                 .last_n = sampling.dry_penalty_last_n.value_or(-1)};
  for (const LogitBias& bias : sampling.logit_bias) options.bias.push_back({bias.token, bias.bias});
  return options;
}

}  // namespace facet::engine
