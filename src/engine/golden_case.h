// Golden cases: inputs and every intermediate result ("tap") that the reference computed for them, read from a
// safetensors file. Used by `facet trace` and by the tests.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "facet/result.h"

namespace facet::engine {

// A tensor of a golden file: its outermost dimension is rows, the rest is flattened.
struct GoldenTensor {
  std::vector<int64_t> shape;
  std::vector<float> floats;      // float types
  std::vector<int64_t> integers;  // integer types
  bool is_integer = false;

  int64_t rows() const { return shape.empty() ? 1 : shape.front(); }
  int64_t size() const { return static_cast<int64_t>(is_integer ? integers.size() : floats.size()); }
  int64_t cols() const { return rows() == 0 ? 0 : size() / rows(); }
};

struct GoldenCase {
  std::string name;
  std::map<std::string, GoldenTensor> tensors;  // inputs and taps

  const GoldenTensor* find(const std::string& tap) const;
};

// A file whose tensors are named CASE.TAP (golden.safetensors, logits.safetensors) or TAP (case-NAME.safetensors: the
// case is NAME); or a folder: its golden.safetensors and its case-*.safetensors. Errors: not_found, corrupt,
// unsupported.
Result<std::vector<GoldenCase>> read_golden_cases(const std::filesystem::path& path);

}  // namespace facet::engine
