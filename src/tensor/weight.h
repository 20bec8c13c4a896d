// Weight and Linear: what the model holds of its parameters. Both are handles; the bytes belong to a WeightStore
// (formats/weight_store.h), which alone knows whether they are mapped, packed or quantised at load.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/file.h"
#include "facet/result.h"
#include "tensor/dtype.h"

namespace facet {

enum class Layout : uint8_t {
  rows,    // row-major, as in the file
  panels,  // kernels/panel_layout.h: panels of 16 rows in the order the multiplication reads them
};

// A matrix of `groups` x `rows` x `cols` (groups: experts; 1 otherwise). y = W x multiplies rows of cols.
struct Weight {
  DType type = DType::f32;
  Layout layout = Layout::rows;
  int64_t rows = 0, cols = 0;
  int64_t groups = 1;
  Bytes data;  // opaque above ops
};

// Bounds that some towers put on a linear's input and output.
struct Clip {
  float low, high;
};

// Which linear of which layer: what importance matrices, adapters and the training tape know it by.
enum class LinearRole : uint8_t {
  query,
  key,
  value,
  attention_output,
  ffn_gate,
  ffn_up,
  ffn_down,
  router,
  experts_gate_up,
  experts_down,
  ple_context,
  ple_gate,
  ple_projection,
  head,
  draft_input,      // of a drafter: from the target's width
  draft_output,     // and back
  draft_centroids,  // which tokens are worth scoring
};
struct LinearId {
  LinearRole role = LinearRole::query;
  int16_t layer = -1;  // -1: not in a layer
};

struct Linear {
  Weight weight;
  LinearId id;
  std::optional<Clip> in, out;
};

// A vector of float parameters (norm weights, scales), always f32 in memory. Opaque above ops.
struct Vector {
  const float* data = nullptr;
  int64_t size = 0;
};

// A table read row by row (token embeddings, per-layer embeddings): never a matrix in memory, never packed.
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual DType type() const = 0;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  // The bytes of row i, in `type`. Valid until the next call from the same thread. Any thread. Requires 0 <= i <
  // rows().
  virtual Result<const std::byte*> row(int64_t i) const = 0;
  // A hint that row i will be read soon.
  virtual void prefetch(int64_t i) const = 0;
};

}  // namespace facet
