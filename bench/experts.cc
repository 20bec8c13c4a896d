// Speed of one layer of experts in the shape of 26B-A4B, synthetic weights: bench_experts --benchmark_filter=rows:1/
// A call routes its rows and runs their experts; one row: writing, 256: reading. Rows of many calls differ, so that the
// experts of one call are not in the cache when the next begins. GB/s: packed weights of the experts that were used.
#include <benchmark/benchmark.h>

#include <array>
#include <random>
#include <set>
#include <vector>

#include "base/strings.h"
#include "ops/elementwise.h"
#include "ops/experts.h"

namespace facet::ops {
namespace {

constexpr int64_t kWidth = 2816, kExperts = 128, kUsed = 8, kExpertWidth = 704;
constexpr DType kType = DType::q4_0;

// A weight whose codes and scales are all alike: ordinary numbers, which take as long as any others.
struct AlikeWeight {
  std::vector<std::byte> panels;
  Linear linear;
  int64_t group_bytes;

  AlikeWeight(const kernels::Table& table, int64_t groups, int64_t rows, int64_t cols)
      : group_bytes(rows / kernels::kPanelRows * table.panel(kType)->panel_bytes(cols)) {
    panels.assign(static_cast<size_t>(groups * group_bytes), std::byte{0x20});
    linear.weight = {
        .type = kType, .layout = Layout::panels, .rows = rows, .cols = cols, .groups = groups, .data = panels};
  }
};

std::vector<float> normal_floats(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

struct Layer {
  AlikeWeight gate_up, down;
  std::vector<float> router_rows = normal_floats(kExperts * kWidth, 1);
  std::vector<float> scale = std::vector<float>(kWidth, 1.0f), factors = std::vector<float>(kExperts, 1.0f);
  std::vector<std::byte> router_panels;
  Linear router;

  explicit Layer(const kernels::Table& table)
      : gate_up(table, kExperts, 2 * kExpertWidth, kWidth), down(table, kExperts, kWidth, kExpertWidth) {
    const kernels::PanelType& type = *table.panel(DType::f32);
    const int64_t size = type.panel_bytes(kWidth), stride = kWidth * static_cast<int64_t>(sizeof(float));
    router_panels.resize(static_cast<size_t>(kExperts / kernels::kPanelRows * size));
    for (int64_t panel = 0; panel < kExperts / kernels::kPanelRows; ++panel)
      type.pack(router_panels.data() + panel * size,
                std::as_bytes(std::span(router_rows)).data() + panel * kernels::kPanelRows * stride, stride,
                kernels::kPanelRows, kWidth);
    router.weight = {
        .type = DType::f32, .layout = Layout::panels, .rows = kExperts, .cols = kWidth, .data = router_panels};
  }
};

// rows: of one call; threads.
void run(benchmark::State& state) {
  const int64_t rows = state.range(0), calls = rows == 1 ? 64 : 4;
  const kernels::Table& table = kernels::best_table();
  static const Layer layer(table);
  ThreadPool pool(static_cast<int>(state.range(1)));
  Context ctx{.kernels = &table, .pool = &pool};
  const std::array<const Linear*, 1> up = {&layer.gate_up.linear}, down = {&layer.down.linear};
  Operand x = *Operand::allocate(rows, kWidth, forms_read_by(ctx, up));
  ExpertScratch scratch = *ExpertScratch::allocate(rows, kExperts, kUsed, kExpertWidth, forms_read_by(ctx, down));
  std::vector<float> h = normal_floats(calls * rows * kWidth, 2), y(static_cast<size_t>(rows * kWidth));
  std::vector<int32_t> chosen(static_cast<size_t>(rows * kUsed));
  int64_t call = 0;
  double experts_used = 0;
  for (auto _ : state) {
    const Mat<const float> in(h.data() + call * rows * kWidth, rows, kWidth);
    route(ctx, scratch, x, in, layer.router, {.data = layer.scale.data(), .size = kWidth},
          {.data = layer.factors.data(), .size = kExperts}, 1e-6f, {});
    prepare(ctx, x, in);
    experts(ctx, Mat<float>(y.data(), rows, kWidth), scratch, x, layer.gate_up.linear, layer.down.linear, {});
    read(chosen, Mat<const int32_t>(scratch.chosen()));
    experts_used += static_cast<double>(std::set(chosen.begin(), chosen.end()).size());
    call = call + 1 == calls ? 0 : call + 1;
  }
  const double bytes = experts_used * static_cast<double>(layer.gate_up.group_bytes + layer.down.group_bytes);
  state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, benchmark::Counter::kIsRate);
}
BENCHMARK(run)->Name("experts")->ArgNames({"rows", "threads"})->ArgsProduct({{1, 4, 256}, {1, 2}})->UseRealTime();

}  // namespace
}  // namespace facet::ops

BENCHMARK_MAIN();
