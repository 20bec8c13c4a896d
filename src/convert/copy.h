// Streaming tensors of a checkpoint into new files: copied, converted, joined. Memory is two buffers, whatever the
// model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "formats/checkpoint.h"
#include "formats/checkpoint_writer.h"

namespace facet::convert {

// Elements of a tensor that lie together in its file; whole blocks.
struct Slice {
  const formats::TensorInfo* tensor = nullptr;
  int64_t first = 0, elements = 0;
};

// A tensor of the output and where its values come from: slices one after the other, or bytes that were made up.
struct CopiedTensor {
  formats::NewTensor out;
  std::vector<Slice> from;
  float add = 0;  // to every value
  std::vector<std::byte> made;
};

// The whole tensor under another name, as another type.
CopiedTensor whole(const formats::TensorInfo& tensor, std::string name, DType type);

// Whether copy_tensors() converts: any type to itself, types that kernels::can_dequantize knows to F32, F16 and BF16,
// I32 to I64.
bool can_convert(DType from, DType to);

// Writes all of them in order. Requires can_convert() of each. Pages of the source are given back as they were read.
// Errors: those of the writer; invalid_argument (a value too large for F16: which tensor); cancelled.
Result<void> copy_tensors(const formats::Checkpoint& source, std::span<const CopiedTensor> tensors,
                          formats::CheckpointWriter& writer, Progress* progress);

}  // namespace facet::convert
