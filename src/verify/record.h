// What the fast path had and made, copied home part by part: the embedding, each layer, the head. The float64 path
// starts every step from these, so that no difference is carried from one step into the next.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ops/context.h"
#include "ops/linear.h"

namespace facet::verify {

// A matrix, copied.
template <class T>
struct Copied {
  int64_t rows = 0, cols = 0;
  std::vector<T> values;

  std::span<const T> row(int64_t i) const {
    return std::span(values).subspan(static_cast<size_t>(i * cols), static_cast<size_t>(cols));
  }
};

// An activation in every form in which it was prepared; empty forms are not there.
struct CopiedOperand {
  Copied<float> f32;
  Copied<int8_t> codes;
  Copied<float> scales;
  Copied<int32_t> sums;
  Copied<uint16_t> bf16;
};

struct CopiedLinear {
  int64_t group = 0;          // the expert
  std::vector<int32_t> rows;  // batch row of each row; empty for experts_down, whose rows are those of gate and up
  CopiedOperand input;
  Copied<float> output;  // none of experts_down
};

struct Record {
  Copied<float> h;    // the residual stream that the part starts from
  Copied<float> ple;  // (T, L P): all per-layer inputs
  std::map<std::string, Copied<float>, std::less<>> taps;
  Copied<int32_t> experts;  // (T, used)
  std::map<LinearRole, std::vector<CopiedLinear>> linears;
  std::vector<int> ple_first_layers;  // of each pair of ple_context and "ple"

  const Copied<float>& tap(std::string_view name) const;
  // The linear of a role that occurs once.
  const CopiedLinear& linear(LinearRole role) const;
};

class Recorder : public ops::Observer {
 public:
  // Called when a part is complete: layer -1 is the embedding, n_layers the head.
  using Complete = std::function<void(int layer, const Record& record)>;
  // interfere (may be null) sees every tap first, and may change it: tests.
  Recorder(int n_layers, int64_t ple_cols, Complete complete, ops::Observer* interfere)
      : n_layers_(n_layers), ple_cols_(ple_cols), complete_(std::move(complete)), interfere_(interfere) {}

  void tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t> rows) override;
  void tap_ids(std::string_view name, int layer, Mat<int32_t> values, std::span<const int32_t> rows) override;
  void linear_input(const ops::LinearInput& input) override;
  void linear_output(const ops::LinearOutput& output) override;

 private:
  void begin_layers(int layer);
  void finish(int layer, const Copied<float>& next);
  void keep_ple(int first_layer, Mat<float> values);

  int n_layers_;
  int64_t ple_cols_;
  Complete complete_;
  ops::Observer* interfere_;
  bool in_layers_ = false;
  Record record_;
};

}  // namespace facet::verify
