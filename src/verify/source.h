// SourceWeights: a model's parameters as the bytes of its file give them, a row at a time, in double. Finds tensors by
// name on its own, and knows nothing of panels: an error in packing or in the order of tensors shows as a difference.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/requantize.h"
#include "model/config.h"
#include "model/tensor_names.h"
#include "tensor/weight.h"

namespace facet::verify {

// One row of a matrix. Of types that are scale * code - minimum, minima are the subtrahends' magnitudes; else empty.
struct SourceRow {
  std::vector<double> weights, minima;  // (cols)

  // Scratch of whoever fills it.
  std::vector<float> floats;
  std::vector<std::byte> bytes;
};

// The rows of one linear, one expert: of one tensor, or of gate and up one after the other.
class SourceMatrix {
 public:
  DType type() const { return type_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  // Any thread, each with a row of its own.
  void read(SourceRow& out, int64_t row) const;

 private:
  friend class SourceWeights;
  struct Piece {
    const std::byte* data;
    const formats::Requantizer* requantizer;  // null: bytes as they are
    int64_t first, rows;                      // of the tensor
  };
  DType type_ = DType::f32;
  int64_t rows_ = 0, cols_ = 0;
  std::vector<Piece> pieces_;
};

class SourceWeights {
 public:
  // types: what tensors become on the way (formats/requantize.h); their quantised bytes are the source then. All must
  // outlive this. Errors: not_found (no decoder).
  static Result<SourceWeights> open(const formats::Checkpoint& checkpoint, const model::Config& config,
                                    const kernels::Table& kernels, const formats::TypeMap& types);

  // Requires a checkpoint that holds the tensor, as one that was loaded does.
  SourceMatrix linear(LinearRole role, int layer, int64_t expert = 0) const;
  SourceMatrix table(const model::TensorName& name) const;
  // Norm weights, with the offset of the family; other vectors, as they are.
  std::vector<double> norm(const model::TensorName& name, int layer) const;
  std::vector<double> vector(const model::TensorName& name, int layer) const;
  bool has(const model::TensorName& name, int layer) const { return find(name, layer) != nullptr; }
  // Their mapped pages may be dropped.
  void release(LinearRole role, int layer) const;

 private:
  SourceWeights(const formats::Checkpoint& checkpoint, const model::Config& config, const kernels::Table& kernels,
                const formats::TypeMap& types, model::TensorNames names)
      : checkpoint_(&checkpoint), config_(&config), kernels_(&kernels), types_(&types), names_(std::move(names)) {}

  const formats::TensorInfo* find(const model::TensorName& name, int layer) const;
  const formats::TensorInfo& require(const model::TensorName& name, int layer) const;
  const formats::Requantizer* requantizer(const formats::TensorInfo& tensor) const;
  void append(SourceMatrix& matrix, const formats::TensorInfo& tensor, int64_t group = 0) const;
  void append_expert(SourceMatrix& matrix, LinearRole role, int layer, int64_t expert) const;

  const formats::Checkpoint* checkpoint_;
  const model::Config* config_;
  const kernels::Table* kernels_;
  const formats::TypeMap* types_;
  model::TensorNames names_;
  mutable std::unordered_map<std::string, std::unique_ptr<formats::Requantizer>> requantizers_;  // from one thread
};

}  // namespace facet::verify
