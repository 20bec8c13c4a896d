#include "engine/tap_collector.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "ops/elementwise.h"

namespace facet::engine {
namespace {

std::string full_name(std::string_view name, int layer) {
  return layer < 0 ? std::string(name) : cat("layer.", layer, '.', name);
}

}  // namespace

GoldenTensor& TapCollector::tensor_of(const std::string& name, int64_t cols) {
  GoldenTensor& tensor = taps_[name];
  tensor.shape = {n_rows_, cols};
  tensor.floats.resize(static_cast<size_t>(n_rows_ * cols), std::numeric_limits<float>::quiet_NaN());
  return tensor;
}

void TapCollector::tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t> rows) {
  if (interfere_ != nullptr) interfere_->tap(name, layer, values, rows);
  // Per-layer inputs come in two parts: `layer` is the first one of the part.
  const bool is_ple = name == "ple";
  GoldenTensor& tensor =
      is_ple ? tensor_of("ple", ple_width_ * n_layers_) : tensor_of(full_name(name, layer), values.cols());
  const int64_t column = is_ple ? layer * ple_width_ : 0;
  std::vector<float> row(static_cast<size_t>(values.cols()));
  for (int64_t i = 0; i < values.rows(); ++i) {
    ops::read(row, values.row_range(i, 1));
    std::ranges::copy(row,
                      tensor.floats.begin() + (first_row_ + rows[static_cast<size_t>(i)]) * tensor.cols() + column);
  }
}

void TapCollector::tap_ids(std::string_view name, int layer, Mat<int32_t> values, std::span<const int32_t> rows) {
  if (interfere_ != nullptr) interfere_->tap_ids(name, layer, values, rows);
  GoldenTensor& tensor = taps_[full_name(name, layer)];
  tensor.is_integer = true;
  tensor.shape = {n_rows_, values.cols()};
  tensor.integers.resize(static_cast<size_t>(n_rows_ * values.cols()), -1);
  std::vector<int32_t> row(static_cast<size_t>(values.cols()));
  for (int64_t i = 0; i < values.rows(); ++i) {
    ops::read(row, Mat<const int32_t>(values).row_range(i, 1));
    std::ranges::copy(row, tensor.integers.begin() + (first_row_ + rows[static_cast<size_t>(i)]) * values.cols());
  }
}

void TapCollector::linear_input(const ops::LinearInput& input) {
  if (interfere_ != nullptr) interfere_->linear_input(input);
}

}  // namespace facet::engine
