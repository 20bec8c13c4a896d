// Speed of the kernels, one thread: bench_kernels --benchmark_filter=avx2/Q4_0
// From the second-level cache: GOPS (a multiplication and an addition counted as two), GB/s of packed weights or keys,
// and the share of what the tier's products reach in registers, measured in turns with the kernel (kernels/probe.h).
// memory/…: a product of one row whose matrix lies in memory, 64 MB, as in writing.
// decode/TYPE/D: attention of 8 queries over 8192 keys of one KV head of width D, as in writing: all of it.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "base/strings.h"
#include "kernels/kv_layout.h"
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

void decode(benchmark::State& state, const Table& table, const KvType& type, int64_t d) {
  constexpr int64_t kQueries = 8, kBlocks = 8192 / kKvBlockKeys;
  const int64_t block_bytes = type.block_bytes(d), coded_bytes = coded_query_bytes(d);
  std::vector<std::byte> k(static_cast<size_t>(kBlocks * block_bytes)), v(k.size());
  Random random(1);
  std::vector<float> q(static_cast<size_t>(kQueries * d)), row(static_cast<size_t>(d));
  const auto fill = [&](std::vector<float>& values) {
    for (float& x : values) x = static_cast<float>(random.uniform()) - 0.5f;
  };
  for (int64_t block = 0; block < kBlocks; ++block) {
    for (int position = 0; position < kKvBlockKeys; ++position) {
      fill(row);
      type.store_k(k.data() + block * block_bytes, position, row.data(), d);
      type.store_v(v.data() + block * block_bytes, position, row.data(), d);
    }
  }
  fill(q);
  std::vector<std::byte> coded(static_cast<size_t>(kQueries * coded_bytes));
  std::vector<uint16_t> q_bf16(q.size()), p_bf16(kQueries * kKvBlockKeys);
  std::vector<float> scores(p_bf16.size()), acc(q.size());
  const std::vector<int> begin(kQueries, 0), end(kQueries, kKvBlockKeys);
  for (auto _ : state) {
    std::vector<SoftmaxState> states(kQueries, {.max = -1e30f, .sum = 0});
    std::vector<float> turned = q;
    for (int64_t i = 0; i < kQueries; ++i) {
      if (type.rotates) table.hadamard(turned.data() + i * d, d);
      if (type.code_query != nullptr) type.code_query(coded.data() + i * coded_bytes, turned.data() + i * d, d);
      table.round_bf16(q_bf16.data() + i * d, turned.data() + i * d, d);
    }
    for (int64_t block = 0; block < kBlocks; ++block) {
      const std::byte *keys = k.data() + block * block_bytes, *values = v.data() + block * block_bytes;
      if (type.scores_coded != nullptr)
        type.scores_coded(scores.data(), coded.data(), coded_bytes, kQueries, keys, d, 0.05f);
      else if (type.scores_bf16 != nullptr)
        type.scores_bf16(scores.data(), q_bf16.data(), d, kQueries, keys, d, 0.05f);
      else
        type.scores(scores.data(), turned.data(), d, kQueries, keys, d, 0.05f);
      table.softmax_step(scores.data(), states.data(), acc.data(), d, begin.data(), end.data(), kQueries, d);
      if (type.accumulate_bf16 != nullptr) {
        table.round_bf16(p_bf16.data(), scores.data(), kQueries * kKvBlockKeys);
        type.accumulate_bf16(acc.data(), d, p_bf16.data(), kQueries, values, d);
      } else {
        type.accumulate(acc.data(), d, scores.data(), kQueries, values, d);
      }
    }
    benchmark::ClobberMemory();
  }
  const double calls = static_cast<double>(state.iterations());
  state.counters["GB/s"] =
      benchmark::Counter(calls * 2 * static_cast<double>(k.size()) / 1e9, benchmark::Counter::kIsRate);
}

void add_benchmarks() {
  for (const Table& table : usable_tables()) {
    for (const testing::KernelRun& run : testing::kernel_runs(table))
      benchmark::RegisterBenchmark(cat(name(table.isa), '/', run.name).c_str(),
                                   [run, isa = table.isa](benchmark::State& state) { from_cache(state, run, isa); });
    for (const PanelType& type : table.panels)
      benchmark::RegisterBenchmark(cat(name(table.isa), "/memory/", name(type.type)).c_str(),
                                   [&type](benchmark::State& state) { from_memory(state, type); });
    for (const KvType& type : table.kv_types)
      for (const int64_t d : {256, 512})
        benchmark::RegisterBenchmark(cat(name(table.isa), "/decode/", name(type.type), '/', d).c_str(),
                                     [&, d](benchmark::State& state) { decode(state, table, type, d); });
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
