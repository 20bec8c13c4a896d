#include "engine/sampler_options.h"

#include <gtest/gtest.h>

namespace facet::engine {
namespace {

TEST(SamplerOptions, WhatNobodySaysIsAsTheHeaderSays) {
  const runtime::SamplerOptions options = sampler_options({}, {});
  EXPECT_EQ(options.temperature, 1);
  EXPECT_EQ(options.top_k, 64);
  EXPECT_EQ(options.top_p, 0.95f);
  EXPECT_EQ(options.min_p, 0);
  EXPECT_EQ(options.typical_p, 1);
  EXPECT_EQ(options.penalties.last_n, 64);
  EXPECT_EQ(options.dry.base, 1.75f);
  EXPECT_EQ(options.dry.allowed_length, 2);
  EXPECT_EQ(options.dry.last_n, -1);
  EXPECT_FALSE(options.adjust());
  EXPECT_EQ(Sampling().dry_sequence_breakers, (std::vector<std::string>{"\n", ":", "\"", "*"}));
}

TEST(SamplerOptions, TheFileSpeaksWhereTheRequestDoesNot) {
  model::Config config;
  config.temperature = 0.5;
  config.min_p = 0.25;
  config.typical_p = 0.75;
  config.repeat_penalty = 1.25;
  config.repeat_last_n = 32;
  Sampling sampling;
  const runtime::SamplerOptions file = sampler_options(sampling, config);
  EXPECT_EQ(file.temperature, 0.5f);
  EXPECT_EQ(file.min_p, 0.25f);
  EXPECT_EQ(file.typical_p, 0.75f);
  EXPECT_EQ(file.penalties.repeat, 1.25f);
  EXPECT_EQ(file.penalties.last_n, 32);
  sampling.typical_p = 1;
  sampling.repeat_penalty = 1;
  sampling.repeat_last_n = -1;
  const runtime::SamplerOptions request = sampler_options(sampling, config);
  EXPECT_EQ(request.typical_p, 1);
  EXPECT_EQ(request.penalties.repeat, 1);
  EXPECT_EQ(request.penalties.last_n, -1);
}

TEST(SamplerOptions, TheRequestIsHandedOn) {
  Sampling sampling;
  sampling.frequency_penalty = 0.5f;
  sampling.presence_penalty = -0.25f;
  sampling.dry_multiplier = 0.8f;
  sampling.dry_base = 2;
  sampling.dry_allowed_length = 3;
  sampling.dry_penalty_last_n = 99;
  sampling.logit_bias = {{7, -2}, {8, 1}};
  const runtime::SamplerOptions options = sampler_options(sampling, {});
  EXPECT_EQ(options.penalties.frequency, 0.5f);
  EXPECT_EQ(options.penalties.presence, -0.25f);
  EXPECT_EQ(options.dry.multiplier, 0.8f);
  EXPECT_EQ(options.dry.base, 2);
  EXPECT_EQ(options.dry.allowed_length, 3);
  EXPECT_EQ(options.dry.last_n, 99);
  ASSERT_EQ(options.bias.size(), 2u);
  EXPECT_EQ(options.bias[0].token, 7);
  EXPECT_EQ(options.bias[0].bias, -2);
}

}  // namespace
}  // namespace facet::engine
