// What it costs to choose one token of a vocabulary of 262,144, one thread: bench_sampling --benchmark_filter=top_k
// The row is as the head leaves it: before the softcap, with the largest value of every block of 64.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "base/strings.h"
#include "ops/logits.h"
#include "runtime/sampler.h"

namespace facet {
namespace {

constexpr int64_t kVocabulary = 262144;
constexpr float kCap = 30;

// About as a model's: most tokens far down, a few far above.
std::vector<float> raw_logits() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(-5, 4);
  std::vector<float> raw(kVocabulary);
  for (float& value : raw) value = normal(random);
  for (int i = 0; i < 20; ++i) raw[random() % raw.size()] = 12.0f + static_cast<float>(i % 7);
  return raw;
}

void sample(benchmark::State& state, const runtime::SamplerOptions& options) {
  const std::vector<float> raw = raw_logits();
  ThreadPool pool(1);
  Context ctx{.kernels = &kernels::best_table(), .pool = &pool};
  std::vector<float> maxima(static_cast<size_t>(logit_blocks(kVocabulary)));
  const Mat<const float> values(raw.data(), 1, kVocabulary);
  const Mat<float> largest(maxima.data(), 1, logit_blocks(kVocabulary));
  ops::block_maxima(ctx, largest, values);
  ops::LogitScratch scratch{.values = std::vector<float>(raw.size()), .bounds = std::vector<float>(maxima.size())};
  const std::vector<Token> banned = {0, 5, 255999, 262143};
  runtime::Sampler sampler(options, banned, kVocabulary);
  for (auto _ : state) {
    ops::LogitRow row(ctx, values, largest, kCap, scratch);
    Result<runtime::Sampled> sampled = sampler.sample(row);
    benchmark::DoNotOptimize(sampled);
  }
}

BENCHMARK_CAPTURE(sample, greedy, {.temperature = 0});
BENCHMARK_CAPTURE(sample, top_k_64_top_p_95, {});
BENCHMARK_CAPTURE(sample, greedy_logprobs_5, {.temperature = 0, .logprobs = 5});
BENCHMARK_CAPTURE(sample, top_k_64_logprobs_5, {.logprobs = 5});
BENCHMARK_CAPTURE(sample, top_p_95_alone, {.top_k = 0});
BENCHMARK_CAPTURE(sample, min_p_5_alone, {.top_k = 0, .top_p = 1, .min_p = 0.05f});
BENCHMARK_CAPTURE(sample, typical_p_50_alone, {.top_k = 0, .top_p = 1, .typical_p = 0.5f});
BENCHMARK_CAPTURE(sample, top_k_64_bias, {.bias = {{17, 1.0f}}});

}  // namespace
}  // namespace facet

BENCHMARK_MAIN();
