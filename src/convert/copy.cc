#include "convert/copy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/strings.h"
#include "kernels/table.h"
#include "tensor/half.h"

namespace facet::convert {
namespace {

using formats::TensorInfo;

constexpr int64_t kPieceElements = 1 << 20;  // a multiple of every block

bool is_float(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

template <class T>
void store(std::vector<std::byte>& out, size_t i, T value) {
  std::memcpy(out.data() + i * sizeof(T), &value, sizeof(T));
}

class Copier {
 public:
  Copier(const formats::Checkpoint& source, formats::CheckpointWriter& writer, Progress* progress)
      : source_(source), writer_(writer), progress_(progress) {}

  Result<void> run(std::span<const CopiedTensor> tensors) {
    for (const CopiedTensor& tensor : tensors) total_ += tensor.out.bytes();
    for (const CopiedTensor& tensor : tensors) {
      if (!tensor.made.empty()) FACET_TRY_VOID(put(tensor.made));
      for (const Slice& slice : tensor.from)
        for (int64_t at = 0; at < slice.elements; at += kPieceElements)
          FACET_TRY_VOID(piece(tensor, slice, at, std::min(kPieceElements, slice.elements - at)));
    }
    return {};
  }

 private:
  // Elements [at, at + n) of a slice.
  Result<void> piece(const CopiedTensor& tensor, const Slice& slice, int64_t at, int64_t n) {
    const DType from = slice.tensor->type;
    TensorInfo part = *slice.tensor;
    part.offset += row_bytes(from, slice.first + at);
    part.bytes = row_bytes(from, n);
    if (at + n < slice.elements) source_.will_need(part, part.bytes, part.bytes);
    const Bytes bytes = source_.bytes(part);
    FACET_CHECK(static_cast<int64_t>(bytes.size()) == part.bytes);
    if (from == tensor.out.type && tensor.add == 0) {
      FACET_TRY_VOID(put(bytes));
    } else {
      FACET_TRY_VOID(convert(tensor, from, bytes, n));
    }
    source_.release(part);
    return {};
  }

  Result<void> convert(const CopiedTensor& tensor, DType from, Bytes bytes, int64_t n) {
    converted_.resize(static_cast<size_t>(row_bytes(tensor.out.type, n)));
    if (from == DType::i32) {
      widen(bytes, n);
      return put(converted_);
    }
    floats_.resize(static_cast<size_t>(n));
    kernels::dequantize(from, floats_.data(), bytes.data(), n);
    if (tensor.add != 0)
      for (float& value : floats_) value += tensor.add;
    if (!encode(tensor.out.type))
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "a value is too large for F16; take another type",
                   .where = tensor.out.name,
                   .expected = "at most 65504",
                   .found = cat(*std::ranges::max_element(floats_, {}, [](float x) { return std::abs(x); }))};
    return put(converted_);
  }

  void widen(Bytes bytes, int64_t n) {
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      int32_t value = 0;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      store(converted_, i, int64_t{value});
    }
  }

  // floats_ as the type, in converted_. False: a finite value became infinite.
  bool encode(DType type) {
    bool fits = true;
    for (size_t i = 0; i < floats_.size(); ++i) {
      if (type == DType::f32) {
        store(converted_, i, floats_[i]);
      } else if (type == DType::bf16) {
        store(converted_, i, float_to_bf16(floats_[i]));
      } else {
        const uint16_t half = float_to_half(floats_[i]);
        store(converted_, i, half);
        fits = fits && ((half & 0x7FFF) != 0x7C00 || std::isinf(floats_[i]));
      }
    }
    return fits;
  }

  Result<void> put(Bytes bytes) {
    FACET_TRY_VOID(writer_.write(bytes));
    done_ += static_cast<int64_t>(bytes.size());
    if (progress_ != nullptr && !progress_->update("writing tensors", done_, total_))
      return Error{.code = ErrorCode::cancelled, .what = "stopped; nothing was written"};
    return {};
  }

  const formats::Checkpoint& source_;
  formats::CheckpointWriter& writer_;
  Progress* progress_;
  int64_t done_ = 0, total_ = 0;  // bytes of the output
  std::vector<float> floats_;
  std::vector<std::byte> converted_;
};

}  // namespace

CopiedTensor whole(const TensorInfo& tensor, std::string name, DType type) {
  return {.out = {.name = std::move(name), .type = type, .shape = tensor.shape},
          .from = {{.tensor = &tensor, .first = 0, .elements = tensor.elements()}},
          .made = {}};
}

bool can_convert(DType from, DType to) {
  if (from == to || (from == DType::i32 && to == DType::i64)) return true;
  return is_float(to) && kernels::can_dequantize(from);
}

Result<void> copy_tensors(const formats::Checkpoint& source, std::span<const CopiedTensor> tensors,
                          formats::CheckpointWriter& writer, Progress* progress) {
  for (const CopiedTensor& tensor : tensors)
    for (const Slice& slice : tensor.from) FACET_CHECK(can_convert(slice.tensor->type, tensor.out.type));
  return Copier(source, writer, progress).run(tensors);
}

}  // namespace facet::convert
