// TapCollector: an observer that gathers the taps of several chunks into whole tensors.
#pragma once

#include <map>
#include <string>

#include "engine/golden_case.h"
#include "ops/context.h"

namespace facet::engine {

class TapCollector : public ops::Observer {
 public:
  // n_rows: of all chunks together. interfere (may be null) sees every tap first.
  TapCollector(int64_t n_rows, int64_t ple_width, int n_layers, ops::Observer* interfere)
      : n_rows_(n_rows), ple_width_(ple_width), n_layers_(n_layers), interfere_(interfere) {}

  void set_first_row(int64_t first) { first_row_ = first; }
  std::map<std::string, GoldenTensor> take() { return std::move(taps_); }

  void tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t> rows) override;
  void tap_ids(std::string_view name, int layer, Mat<int32_t> values, std::span<const int32_t> rows) override;
  void linear_input(const ops::LinearInput& input) override;

 private:
  GoldenTensor& tensor_of(const std::string& name, int64_t cols);

  int64_t n_rows_, ple_width_, first_row_ = 0;
  int n_layers_;
  ops::Observer* interfere_;
  std::map<std::string, GoldenTensor> taps_;
};

}  // namespace facet::engine
