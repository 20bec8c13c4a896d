// Random weights packed for a tier, with their exact values beside them, for the tests of products.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "base/check.h"
#include "kernels/panel_data.h"
#include "ops/linear.h"

namespace facet::testing {

// groups x rows x cols, packed; values holds what the weights are exactly.
struct PackedLinear {
  std::vector<float> values;
  std::vector<std::byte> panels;
  Linear linear;

  double value(int64_t group, int64_t row, int64_t col) const {
    const Weight& w = linear.weight;
    return values[static_cast<size_t>((group * w.rows + row) * w.cols + col)];
  }
};

inline PackedLinear random_linear(const kernels::Table& table, DType type, int64_t groups, int64_t rows, int64_t cols,
                                  uint32_t seed) {
  std::mt19937 random(seed);
  const kernels::PanelType* panel_type = table.panel(type);
  FACET_CHECK(panel_type != nullptr);
  const std::vector<std::byte> bytes = random_rows(type, groups * rows, cols, random);
  PackedLinear made;
  made.values.resize(static_cast<size_t>(groups * rows * cols));
  kernels::dequantize(type, made.values.data(), bytes.data(), groups * rows * cols);
  const int64_t panels = kernels::panel_count(rows), size = panel_type->panel_bytes(cols);
  made.panels.resize(static_cast<size_t>(groups * panels * size));
  const int64_t stride = row_bytes(type, cols);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t first = p * kernels::kPanelRows;
      panel_type->pack(made.panels.data() + (g * panels + p) * size, bytes.data() + (g * rows + first) * stride, stride,
                       static_cast<int>(std::min<int64_t>(kernels::kPanelRows, rows - first)), cols);
    }
  }
  made.linear.weight = {
      .type = type, .layout = Layout::panels, .rows = rows, .cols = cols, .groups = groups, .data = made.panels};
  return made;
}

inline std::vector<float> random_floats(int64_t n, uint32_t seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

// A context on one tier with its own pool.
struct OpsContext {
  ThreadPool pool;
  Context ctx;

  OpsContext(const kernels::Table& table, Arithmetic arithmetic, int n_threads = 1) : pool(n_threads) {
    ctx = {.kernels = &table, .pool = &pool, .arithmetic = arithmetic, .observer = nullptr};
  }
};

}  // namespace facet::testing
