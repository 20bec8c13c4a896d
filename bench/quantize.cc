// Speed of the quantisers, one thread, in millions of weights a second: bench_quantize --benchmark_filter=avx512/Q4_K
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "base/strings.h"
#include "kernels/table.h"

namespace facet::kernels {
namespace {

constexpr int64_t kCols = 4096, kRows = 16;

void quantize(benchmark::State& state, const QuantizeType& type, bool with_importance) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(kRows * kCols)), importance(static_cast<size_t>(kCols));
  for (float& value : x) value = 0.02f * normal(random);
  for (float& value : importance) value = 0.1f + normal(random) * normal(random);
  for (float& value : importance) value = value < 0 ? -value : value;
  std::vector<std::byte> out(static_cast<size_t>(row_bytes(type.type, kCols)));
  for (auto _ : state) {
    for (int64_t r = 0; r < kRows; ++r)
      type.row(out.data(), x.data() + r * kCols, with_importance ? importance.data() : nullptr, kCols);
    benchmark::ClobberMemory();
  }
  state.counters["Mweights/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kRows * kCols * 1e-6, benchmark::Counter::kIsRate);
}

void register_all() {
  for (const Table& table : usable_tables())
    for (const QuantizeType& type : table.quantizers)
      for (const bool with_importance : {false, true}) {
        if (with_importance && !type.reads_importance) continue;
        const std::string label =
            cat(name(table.isa), "/", facet::name(type.type), with_importance ? "/importance" : "");
        benchmark::RegisterBenchmark(label.c_str(), [&type, with_importance](benchmark::State& state) {
          quantize(state, type, with_importance);
        })->MinTime(0.1);
      }
}

}  // namespace
}  // namespace facet::kernels

int main(int argc, char** argv) {
  facet::kernels::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
