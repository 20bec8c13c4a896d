// A Hugging Face folder with a random decoder so small that thousands of passes take seconds. Needs no data from
// elsewhere; the same seed makes the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>

namespace facet::testing {

enum class TinyKind : uint8_t {
  per_layer,  // per-layer embeddings, the later half of the layers shares keys: like E2B
  dense,      // values are keys in full layers, image rows see each other: like 31B
  experts,    // the same with a mixture of experts: like 26B-A4B
};

struct TinyModel {
  TinyKind kind = TinyKind::per_layer;
  int64_t window = 4;
  uint64_t seed = 1;

  // Four layers, sliding and full in turn.
  static constexpr int64_t kVocab = 48, kWidth = 32, kLayers = 4, kContext = 1024;
};

void write_tiny_model(const std::filesystem::path& folder, const TinyModel& model);

}  // namespace facet::testing
