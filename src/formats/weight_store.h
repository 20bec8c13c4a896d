// WeightStore: owns the bytes that the model's weights point to: packed panels, float vectors, mapped rows. The model
// cannot tell which.
#pragma once

#include <memory>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "formats/pack_file.h"
#include "formats/requantize.h"
#include "kernels/table.h"
#include "tensor/buffer.h"
#include "tensor/weight.h"

namespace facet::formats {

enum class Packing : uint8_t {
  done,
  counted,  // no tensor is read: matrices have no bytes, vectors are ones; the sizes below are those of `done`
};

class WeightStore {
 public:
  // checkpoint must outlive the store (row sources read its mapping). pool does the packing. types: what tensors become
  // on the way, the bytes that facet quantize would write; may be null, and must outlive the store. pack: of the same
  // identity (pack_identity.h), shared with other stores; matrices that are in it are not packed again. May be null.
  WeightStore(const Checkpoint& checkpoint, const kernels::Table& kernels, ThreadPool& pool,
              const TypeMap* types = nullptr, Packing packing = Packing::done,
              std::shared_ptr<const PackFile> pack = nullptr);
  WeightStore(WeightStore&&) noexcept;
  ~WeightStore();

  // A matrix for multiplication, packed in panels; the tensor's mapped pages are released. shape [out, in] or
  // [groups, out, in]. first_row / rows select a part of the output rows (rows < 0: all).
  // Errors: unsupported (a type no kernel reads), exhausted.
  Result<Weight> matrix(const TensorInfo& tensor, int64_t first_row = 0, int64_t rows = -1);
  // Several tensors of equal shape as the groups, or stacked rows, of one weight (unfused experts: group-major).
  Result<Weight> stacked(std::span<const TensorInfo* const> tensors, int64_t groups);
  // A vector as f32, whatever its type on disk.
  Result<Vector> vector(const TensorInfo& tensor);
  Result<Vector> vector(std::span<const float> values);
  // A table read row by row, in place.
  Result<const RowSource*> rows(const TensorInfo& tensor);

  Packing packing() const;
  // All matrices so far.
  std::span<const PackedMatrix> matrices() const;
  // Bytes of the packed matrices; of those that are mapped and not in memory of our own.
  int64_t packed_bytes() const;
  int64_t mapped_bytes() const;
  // Bytes of the vectors.
  int64_t vector_bytes() const;
  // Bytes of the tables, which stay in the file.
  int64_t table_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace facet::formats
