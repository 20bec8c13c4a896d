// Trace: runs golden cases of the reference through a model and measures every intermediate result, so that a user can
// prove an engine on his own file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/golden_case.h"
#include "facet/result.h"
#include "kernels/table.h"
#include "model/gemma.h"
#include "tensor/dtype.h"

namespace facet::engine {

struct TraceOptions {
  std::filesystem::path golden;
  std::optional<std::string> case_name;  // default: the model's own name where the file has it, else all
  int64_t chunk = 0;                     // rows a forward call; 0: all at once
  bool skip = true;                      // also run with work skipping, and demand the same bits
  DType kv = DType::f32;
  Arithmetic arithmetic = Arithmetic::f32;
  int threads = 1;
  std::optional<kernels::Isa> isa;
  double tolerance = -1;                     // < 0: per tap, as the goldens' README says
  std::optional<std::filesystem::path> out;  // our taps, as a safetensors file under the same names

  // Tests only: changes the kernels, the configuration, the loaded model or its activations, to see that the trace
  // notices.
  std::function<void(kernels::Table&)> change_kernels;
  std::function<void(model::Config&)> change_config;
  std::function<void(model::Gemma&)> change_model;
  ops::Observer* interfere = nullptr;  // sees (and may change) every tap before it is measured
};

struct TapError {
  std::string case_name, tap;
  double error = 0;      // max |ours - golden| / max |golden|; integers: share that differs
  double tolerance = 0;  // integers: 0
  bool passed = false;
  std::string note = {};  // why it failed without a number: "missing", "not finite", "shape …"
};

struct TraceReport {
  std::vector<TapError> taps;             // in the order of the computation, case by case
  std::vector<std::string> not_required;  // cases the specification rejects
  // Our taps: "CASE.TAP" -> values, for comparisons by other means.
  std::map<std::string, GoldenTensor> ours;
  bool passed = false;
};

// Errors: those of loading, and invalid_argument (an unknown case).
Result<TraceReport> trace(const std::filesystem::path& model, const TraceOptions& options);

}  // namespace facet::engine
