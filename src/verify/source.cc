#include "verify/source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/strings.h"
#include "kernels/table.h"
#include "tensor/quant_blocks.h"

namespace facet::verify {
namespace {

namespace names = model::tensors;
using formats::TensorInfo;

// The tensor of a linear; experts have several spellings (append_expert).
const model::TensorName& name_of(LinearRole role) {
  switch (role) {
    case LinearRole::query: return names::kQuery;
    case LinearRole::key: return names::kKey;
    case LinearRole::value: return names::kValue;
    case LinearRole::attention_output: return names::kAttentionOutput;
    case LinearRole::ffn_gate: return names::kFfnGate;
    case LinearRole::ffn_up: return names::kFfnUp;
    case LinearRole::ffn_down: return names::kFfnDown;
    case LinearRole::router: return names::kRouter;
    case LinearRole::experts_gate_up: return names::kExpertsGateUp;
    case LinearRole::experts_down: return names::kExpertsDown;
    case LinearRole::ple_context: return names::kPleContext;
    case LinearRole::ple_gate: return names::kPleGate;
    case LinearRole::ple_projection: return names::kPleProjection;
    default: return names::kHead;
  }
}

// Blocks whose codes are zero hold their minima alone: value = scale * 0 - minimum.
void clear_codes(BlockQ4_1& b) { std::memset(b.qs, 0, sizeof b.qs); }
void clear_codes(BlockQ5_1& b) {
  std::memset(b.qh, 0, sizeof b.qh);
  std::memset(b.qs, 0, sizeof b.qs);
}
void clear_codes(BlockQ2K& b) { std::memset(b.qs, 0, sizeof b.qs); }
void clear_codes(BlockQ4K& b) { std::memset(b.qs, 0, sizeof b.qs); }
void clear_codes(BlockQ5K& b) {
  std::memset(b.qh, 0, sizeof b.qh);
  std::memset(b.qs, 0, sizeof b.qs);
}

template <class Block>
bool clear_row(std::vector<std::byte>& row) {
  for (size_t at = 0; at + sizeof(Block) <= row.size(); at += sizeof(Block)) {
    Block block;
    std::memcpy(&block, row.data() + at, sizeof block);
    clear_codes(block);
    std::memcpy(row.data() + at, &block, sizeof block);
  }
  return true;
}

// False: the type has no minima.
bool clear_codes_of_row(DType type, std::vector<std::byte>& row) {
  switch (type) {
    case DType::q4_1: return clear_row<BlockQ4_1>(row);
    case DType::q5_1: return clear_row<BlockQ5_1>(row);
    case DType::q2_k: return clear_row<BlockQ2K>(row);
    case DType::q4_k: return clear_row<BlockQ4K>(row);
    case DType::q5_k: return clear_row<BlockQ5K>(row);
    default: return false;
  }
}

}  // namespace

void SourceMatrix::read(SourceRow& out, int64_t row) const {
  FACET_CHECK(row >= 0 && row < rows_);
  const Piece* piece = pieces_.data();
  for (; row >= piece->rows; ++piece) row -= piece->rows;
  const size_t n = static_cast<size_t>(cols_);
  const int64_t bytes = row_bytes(type_, cols_);
  out.floats.resize(n);
  out.bytes.resize(static_cast<size_t>(bytes));
  if (piece->requantizer == nullptr) {
    std::copy_n(piece->data + (piece->first + row) * bytes, bytes, out.bytes.begin());
  } else if (!piece->requantizer->rows(out.bytes.data(), piece->first + row, 1, out.floats.data()).ok()) {
    out.weights.assign(n, std::numeric_limits<double>::quiet_NaN());  // loading refuses such a row; nothing equals it
    out.minima.clear();
    return;
  }
  kernels::dequantize(type_, out.floats.data(), out.bytes.data(), cols_);
  out.weights.assign(out.floats.begin(), out.floats.end());
  out.minima.clear();
  if (!clear_codes_of_row(type_, out.bytes)) return;
  kernels::dequantize(type_, out.floats.data(), out.bytes.data(), cols_);
  for (const float value : out.floats) out.minima.push_back(std::abs(static_cast<double>(value)));
}

Result<SourceWeights> SourceWeights::open(const formats::Checkpoint& checkpoint, const model::Config& config,
                                          const kernels::Table& kernels, const formats::TypeMap& types) {
  FACET_TRY(model::TensorNames spelling, model::TensorNames::of(checkpoint));
  return SourceWeights(checkpoint, config, kernels, types, std::move(spelling));
}

const TensorInfo* SourceWeights::find(const model::TensorName& name, int layer) const {
  return names_.has(name) ? checkpoint_->find(names_.full(name, layer)) : nullptr;
}

const TensorInfo& SourceWeights::require(const model::TensorName& name, int layer) const {
  const TensorInfo* tensor = find(name, layer);
  FACET_CHECK(tensor != nullptr);
  return *tensor;
}

const formats::Requantizer* SourceWeights::requantizer(const TensorInfo& tensor) const {
  const auto to = types_->find(tensor.name);
  if (to == types_->end() || to->second == tensor.type) return nullptr;
  std::unique_ptr<formats::Requantizer>& made = requantizers_[tensor.name];
  if (!made) made = std::make_unique<formats::Requantizer>(*kernels_, *checkpoint_, tensor, to->second);
  return made.get();
}

// The rows of one group join the matrix.
void SourceWeights::append(SourceMatrix& matrix, const TensorInfo& tensor, int64_t group) const {
  const formats::Requantizer* requantizer = this->requantizer(tensor);
  const int64_t rows = tensor.shape[tensor.shape.size() - 2];
  matrix.type_ = requantizer != nullptr ? requantizer->type() : tensor.type;
  matrix.cols_ = tensor.shape.back();
  matrix.rows_ += rows;
  matrix.pieces_.push_back(
      {.data = checkpoint_->bytes(tensor).data(), .requantizer = requantizer, .first = group * rows, .rows = rows});
}

// All experts in one tensor; gate and up apart; or a tensor for each expert and matrix.
void SourceWeights::append_expert(SourceMatrix& matrix, LinearRole role, int layer, int64_t expert) const {
  const bool down = role == LinearRole::experts_down;
  if (const TensorInfo* fused = find(name_of(role), layer)) return append(matrix, *fused, expert);
  if (!down && find(names::kExpertsGate, layer) != nullptr) {
    append(matrix, require(names::kExpertsGate, layer), expert);
    append(matrix, require(names::kExpertsUp, layer), expert);
    return;
  }
  const auto append_named = [&](const char* part) {
    const std::string pattern = cat("layers.#.experts.", expert, ".", part, "_proj.weight");
    append(matrix, require({.gguf = "", .hf = pattern.c_str()}, layer));
  };
  if (down) return append_named("down");
  append_named("gate");
  append_named("up");
}

SourceMatrix SourceWeights::linear(LinearRole role, int layer, int64_t expert) const {
  SourceMatrix matrix;
  if (role == LinearRole::experts_gate_up || role == LinearRole::experts_down) {
    append_expert(matrix, role, layer, expert);
  } else if (role == LinearRole::head) {
    const bool own = !config_->tied_head ||
                     (checkpoint_->container() == formats::Container::gguf && find(names::kHead, -1) != nullptr);
    append(matrix, require(own ? names::kHead : names::kTokens, -1));
  } else {
    append(matrix, require(name_of(role), layer));
  }
  return matrix;
}

SourceMatrix SourceWeights::table(const model::TensorName& name) const {
  SourceMatrix matrix;
  append(matrix, require(name, -1));
  return matrix;
}

std::vector<double> SourceWeights::vector(const model::TensorName& name, int layer) const {
  const TensorInfo& tensor = require(name, layer);
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  kernels::dequantize(tensor.type, values.data(), checkpoint_->bytes(tensor).data(), tensor.elements());
  return {values.begin(), values.end()};
}

std::vector<double> SourceWeights::norm(const model::TensorName& name, int layer) const {
  std::vector<double> values = vector(name, layer);
  for (double& value : values) value += config_->norm_offset;
  return values;
}

void SourceWeights::release(LinearRole role, int layer) const {
  if (const TensorInfo* tensor = find(name_of(role), layer)) checkpoint_->release(*tensor);
}

}  // namespace facet::verify
