// Speed of the panel kernels: bench_kernels --benchmark_filter=avx512/Q4_0
// Few rows of x are a question of memory: GB/s of packed weights, streamed from a matrix larger than the caches (64
// MB). Many rows are a question of arithmetic: GOPS, a multiplication and an addition counted as two.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/strings.h"
#include "kernels/table.h"

namespace facet::kernels {
namespace {

constexpr int64_t kCols = 2048;
constexpr int64_t kMatrixBytes = int64_t{64} << 20;

// Activation rows of ordinary numbers in every form.
struct Rows {
  std::vector<float> f32, scale;
  std::vector<int8_t> q8;
  std::vector<int32_t> sums;
  std::vector<uint16_t> bf16;

  explicit Rows(int64_t n)
      : f32(static_cast<size_t>(n * kCols), 0.5f),
        scale(static_cast<size_t>(n * kCols / kBlock), 0.01f),
        q8(static_cast<size_t>(n * kCols), 3),
        sums(static_cast<size_t>(n * kCols / kSubBlock), 3 * kSubBlock),
        bf16(static_cast<size_t>(n * kCols), 0x3F00) {}
  ActivationRows view() const {
    return {.f32 = f32.data(),
            .stride_f32 = kCols,
            .q8 = q8.data(),
            .stride_q8 = kCols,
            .scale = scale.data(),
            .stride_scale = kCols / kBlock,
            .sums = sums.data(),
            .stride_sums = kCols / kSubBlock,
            .bf16 = bf16.data(),
            .stride_bf16 = kCols};
  }
};

void multiply(benchmark::State& state, const PanelType& type, bool fast, int64_t n) {
  const int64_t panel_bytes = type.panel_bytes(kCols), panels = kMatrixBytes / panel_bytes;
  // Bytes 0x20: ordinary codes and scales in every type, nothing subnormal.
  const std::vector<std::byte> matrix(static_cast<size_t>(panels * panel_bytes), std::byte{0x20});
  const Rows rows(n);
  std::vector<float> y(static_cast<size_t>(n * kPanelRows));
  const auto run = fast ? type.multiply_fast : type.multiply_f32;
  int64_t panel = 0;
  for (auto _ : state) {
    run(y.data(), kPanelRows, matrix.data() + panel * panel_bytes, 1, rows.view(), n, kCols);
    benchmark::ClobberMemory();
    panel = panel + 1 == panels ? 0 : panel + 1;
  }
  const double calls = static_cast<double>(state.iterations());
  const auto rate = benchmark::Counter::kIsRate;
  state.counters["GB/s"] = benchmark::Counter(calls * static_cast<double>(panel_bytes) / 1e9, rate);
  state.counters["GOPS"] = benchmark::Counter(calls * 2 * kPanelRows * kCols * static_cast<double>(n) / 1e9, rate);
}

void add_benchmarks() {
  for (const Table& table : usable_tables())
    for (const PanelType& type : table.panels)
      for (bool fast : {true, false}) {
        if (!fast && type.fast_form == kFormF32) continue;
        for (int64_t n : {1, 4, 64}) {
          const auto label = cat(name(table.isa), '/', name(type.type), fast ? "/fast/" : "/f32/", n);
          benchmark::RegisterBenchmark(label.c_str(),
                                       [&type, fast, n](benchmark::State& state) { multiply(state, type, fast, n); });
        }
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
