// Speed of the kernels, one thread: bench_kernels --benchmark_filter=avx2/Q4_0
// From the second-level cache: GOPS (a multiplication and an addition counted as two), GB/s of packed weights or keys,
// and the share of what the tier's products reach in registers, measured in turns with the kernel (kernels/probe.h).
// memory/…: a product of one row whose matrix lies in memory, 64 MB, as in writing.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/strings.h"
#include "support/kernel_runs.h"

namespace facet::kernels {
namespace {

constexpr int64_t kCols = 2048;
constexpr int64_t kMatrixBytes = int64_t{64} << 20;

void from_cache(benchmark::State& state, const testing::KernelRun& run, Isa isa) {
  for (auto _ : state) {
    run.call();
    benchmark::ClobberMemory();
  }
  const double calls = static_cast<double>(state.iterations());
  const auto rate = benchmark::Counter::kIsRate;
  state.counters["GOPS"] = benchmark::Counter(calls * run.operations / 1e9, rate);
  state.counters["GB/s"] = benchmark::Counter(calls * run.bytes / 1e9, rate);
  state.counters["share"] = testing::speed_of(run, isa, 20).share();
}

void from_memory(benchmark::State& state, const PanelType& type) {
  const int64_t panel_bytes = type.panel_bytes(kCols), panels = kMatrixBytes / panel_bytes;
  // Bytes 0x20: ordinary codes and scales in every type, nothing subnormal.
  const std::vector<std::byte> matrix(static_cast<size_t>(panels * panel_bytes), std::byte{0x20});
  const std::vector<float> f32(kCols, 0.5f), scale(kCols / kBlock, 0.01f);
  const std::vector<int8_t> q8(kCols, 3);
  const std::vector<int32_t> sums(kCols / kSubBlock, 3 * kSubBlock);
  const std::vector<uint16_t> bf16(kCols, 0x3F00);
  const ActivationRows x{
      .f32 = f32.data(), .q8 = q8.data(), .scale = scale.data(), .sums = sums.data(), .bf16 = bf16.data()};
  std::vector<float> y(kPanelRows);
  int64_t panel = 0;
  for (auto _ : state) {
    type.multiply_fast(y.data(), kPanelRows, matrix.data() + panel * panel_bytes, 1, x, 1, kCols);
    benchmark::ClobberMemory();
    panel = panel + 1 == panels ? 0 : panel + 1;
  }
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(panel_bytes) / 1e9, benchmark::Counter::kIsRate);
}

void add_benchmarks() {
  for (const Table& table : usable_tables()) {
    for (const testing::KernelRun& run : testing::kernel_runs(table))
      benchmark::RegisterBenchmark(cat(name(table.isa), '/', run.name).c_str(),
                                   [run, isa = table.isa](benchmark::State& state) { from_cache(state, run, isa); });
    for (const PanelType& type : table.panels)
      benchmark::RegisterBenchmark(cat(name(table.isa), "/memory/", name(type.type)).c_str(),
                                   [&type](benchmark::State& state) { from_memory(state, type); });
  }
}

}  // namespace
}  // namespace facet::kernels

int main(int argc, char** argv) {
  facet::kernels::add_benchmarks();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
