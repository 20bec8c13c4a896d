// An importance matrix of any bytes, of either generation: an Error, or one whose every entry can be used and added up.
//
// covers: src/formats/importance.cc
#include <cstdint>

#include "base/check.h"
#include "formats/importance.h"

using namespace facet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto source = formats::memory_source("imatrix", std::as_bytes(std::span(data, size)));
  Result<formats::ImportanceMatrix> matrix = formats::ImportanceMatrix::read(*source);
  if (!matrix.ok()) {
    FACET_CHECK(!matrix.error().message().empty());
    return 0;
  }
  for (const auto& [name, entry] : matrix->entries) {
    const int64_t groups = static_cast<int64_t>(entry.counts.size()),
                  cols = static_cast<int64_t>(entry.sums.size()) / groups;
    const formats::TensorInfo tensor{.name = name, .type = DType::f32, .shape = {groups, 1, cols}};
    const auto importance = matrix->importance(tensor);
    FACET_CHECK(importance.ok() && importance->has_value() && (*importance)->size() == entry.sums.size());
    const formats::TensorInfo wider{.name = name, .type = DType::f32, .shape = {groups, 1, cols + 1}};
    FACET_CHECK(!matrix->importance(wider).ok());
  }
  const formats::ImportanceMatrix once = *matrix;
  FACET_CHECK(matrix->add(once).ok() && matrix->entries.size() == once.entries.size());
  if (!matrix->entries.empty()) {
    matrix->entries.begin()->second.sums.push_back(0);
    FACET_CHECK(!matrix->add(once).ok());
  }
  formats::ImportanceMatrix broadcast;
  FACET_CHECK(broadcast.add(once).ok());
  return 0;
}
