// Context: what every op needs besides its operands. Travels by reference; there is no global state, so two engines can
// live in one process.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "kernels/table.h"
#include "tensor/view.h"
#include "tensor/weight.h"

namespace facet {

// f32: weights are dequantised exactly and multiplied as float. fast: block types meet int8 activations, BF16 weights
// meet bf16 activations; everything else stays float.
enum class Arithmetic : uint8_t { f32, fast };

namespace ops {

class Operand;

// The float input of a linear, before any rounding. Of a routed layer one comes for each expert that has rows.
struct LinearInput {
  LinearId id;
  int64_t group = 0;                 // the expert; 0 otherwise
  Mat<const float> values;           // (rows, the linear's columns)
  std::span<const int32_t> index;    // which rows of values are meant; empty: all of them
  std::span<const int32_t> rows;     // batch row of each row of values; empty where those are pairs of row and expert
  const Operand* operand = nullptr;  // what the product reads (ops/linear.h)
  int64_t first = 0;                 // the operand's row that row 0 of values is

  int64_t count() const { return index.empty() ? values.rows() : static_cast<int64_t>(index.size()); }
};

// What a linear made of the input that was shown last under the same id and group: (count(), the linear's rows). There
// is none of experts_down, whose products join a sum at once.
struct LinearOutput {
  LinearId id;
  int64_t group = 0;
  Mat<const float> values;
};

// Listens to a forward pass. Taps are named as the reference names its tensors ("attn_out", "k", "router"); the layer
// is -1 outside layers. Where rows were skipped, a tap shows those that are left.
class Observer {
 public:
  virtual ~Observer() = default;
  // values may be changed: tests inject faults that way. rows[i] is the batch row of row i.
  virtual void tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t> rows) = 0;
  virtual void tap_ids(std::string_view name, int layer, Mat<int32_t> values, std::span<const int32_t> rows) = 0;
  // For importance matrices, adapters, training.
  virtual void linear_input(const LinearInput& input) = 0;
  virtual void linear_output(const LinearOutput& /*output*/) {}
};

}  // namespace ops

struct Context {
  const kernels::Table* kernels = nullptr;
  ThreadPool* pool = nullptr;
  Arithmetic arithmetic = Arithmetic::fast;
  ops::Observer* observer = nullptr;  // usually none
};

namespace ops {

// One parallel region: work(block, thread) for every block; see ThreadPool::parallel.
inline void parallel(const Context& ctx, int64_t n_blocks, FunctionRef<void(int64_t, int)> work) {
  ctx.pool->parallel(n_blocks, work);
}

}  // namespace ops
}  // namespace facet
