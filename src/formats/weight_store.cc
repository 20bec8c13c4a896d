#include "formats/weight_store.h"

#include <algorithm>
#include <atomic>
#include <deque>

#include "base/strings.h"

namespace facet::formats {
namespace {

using kernels::kPanelRows;

// Panels a parallel block packs: some hundred kilobytes.
constexpr int64_t kPanelsPerBlock = 4;

// Rows of a tensor in place in the mapped file.
class MappedRows : public RowSource {
 public:
  MappedRows(const Checkpoint& checkpoint, const TensorInfo& tensor)
      : checkpoint_(checkpoint),
        tensor_(tensor),
        bytes_(checkpoint.bytes(tensor)),
        row_bytes_(row_bytes(tensor.type, tensor.shape.back())) {}

  DType type() const override { return tensor_.type; }
  int64_t rows() const override { return tensor_.elements() / tensor_.shape.back(); }
  int64_t cols() const override { return tensor_.shape.back(); }
  Result<const std::byte*> row(int64_t i) const override { return bytes_.data() + i * row_bytes_; }
  void prefetch(int64_t i) const override { checkpoint_.will_need(tensor_, i * row_bytes_, row_bytes_); }

 private:
  const Checkpoint& checkpoint_;
  TensorInfo tensor_;
  Bytes bytes_;
  int64_t row_bytes_;
};

// Rows of a table that become another type whenever they are read: few of them ever are.
class RequantizedRows : public RowSource {
 public:
  RequantizedRows(const kernels::Table& kernels, const Checkpoint& checkpoint, const TensorInfo& tensor, DType to)
      : checkpoint_(checkpoint), requantizer_(kernels, checkpoint, tensor, to) {}

  DType type() const override { return requantizer_.type(); }
  int64_t rows() const override { return requantizer_.rows(); }
  int64_t cols() const override { return requantizer_.cols(); }
  Result<const std::byte*> row(int64_t i) const override {
    thread_local std::vector<std::byte> bytes;
    thread_local std::vector<float> scratch;
    bytes.resize(static_cast<size_t>(requantizer_.row_bytes()));
    scratch.resize(static_cast<size_t>(cols()));
    FACET_TRY_VOID(requantizer_.rows(bytes.data(), i, 1, scratch.data()));
    return bytes.data();
  }
  void prefetch(int64_t i) const override {
    const TensorInfo& tensor = requantizer_.tensor();
    const int64_t row = row_bytes(tensor.type, cols());
    checkpoint_.will_need(tensor, i * row, row);
  }

 private:
  const Checkpoint& checkpoint_;
  Requantizer requantizer_;
};

// Consecutive rows of a tensor: in file layout, or as a requantizer makes them.
struct Rows {
  const std::byte* data;
  int64_t count;
  const Requantizer* requantizer = nullptr;
  int64_t first = 0;  // row of the requantizer's tensor

  // Rows r … r + n - 1 of these, one after the other, `row` bytes each.
  Result<void> copy(std::byte* to, int64_t r, int64_t n, int64_t row, float* scratch) const {
    if (requantizer != nullptr) return requantizer->rows(to, first + r, n, scratch);
    std::copy_n(data + r * row, n * row, to);
    return {};
  }
};

// Bytes of the panels of a matrix.
int64_t panels_bytes(const kernels::PanelType& type, int64_t groups, int64_t rows, int64_t cols) {
  return groups * kernels::panel_count(rows) * type.panel_bytes(cols);
}

// The rows of a matrix on their way into panels.
struct PanelPacker {
  const kernels::PanelType& type;
  const std::vector<std::vector<Rows>>& groups;  // the pieces that make up each, `rows` rows in all
  int64_t rows, cols;
  int64_t row_bytes;  // as the panel type reads rows
  bool converts;      // pieces have requantizers

  int64_t n_groups() const { return static_cast<int64_t>(groups.size()); }
  int64_t panels_per_group() const { return kernels::panel_count(rows); }
  int64_t bytes() const { return panels_bytes(type, n_groups(), rows, cols); }

  // All panels, by all threads. Errors: those of reading.
  Result<void> pack_all(ThreadPool& pool, std::byte* out) const {
    const int64_t total = n_groups() * panels_per_group(), blocks = (total + kPanelsPerBlock - 1) / kPanelsPerBlock;
    const int64_t scratch_cols = converts ? cols : 0;
    std::vector<float> scratch(static_cast<size_t>(scratch_cols * pool.n_threads()));
    std::vector<Result<void>> results(static_cast<size_t>(blocks));
    pool.parallel(blocks, [&](int64_t block, int thread) {
      Result<void>& result = results[static_cast<size_t>(block)];
      const int64_t end = std::min(total, (block + 1) * kPanelsPerBlock);
      for (int64_t i = block * kPanelsPerBlock; i < end && result.ok(); ++i)
        result = pack(out + i * type.panel_bytes(cols), i, scratch.data() + thread * scratch_cols);
    });
    for (const Result<void>& result : results)
      if (!result.ok()) return result.error();
    return {};
  }

  // One panel, counted through all groups. scratch: a row of floats where rows are converted.
  Result<void> pack(std::byte* out, int64_t panel, float* scratch) const {
    const std::vector<Rows>& pieces = groups[static_cast<size_t>(panel / panels_per_group())];
    const int64_t first = panel % panels_per_group() * kPanelRows, wanted = std::min<int64_t>(kPanelRows, rows - first);
    int64_t before = 0;
    for (const Rows& piece : pieces) {  // usually one piece holds the whole panel
      if (!converts && first >= before && first + wanted <= before + piece.count) {
        type.pack(out, piece.data + (first - before) * row_bytes, row_bytes, static_cast<int>(wanted), cols);
        return {};
      }
      before += piece.count;
    }
    std::vector<std::byte> gathered(static_cast<size_t>(wanted * row_bytes));  // converted, or across pieces
    before = 0;
    for (const Rows& piece : pieces) {
      const int64_t from = std::max(first, before), end = std::min(first + wanted, before + piece.count);
      if (from < end)
        FACET_TRY_VOID(
            piece.copy(gathered.data() + (from - first) * row_bytes, from - before, end - from, row_bytes, scratch));
      before += piece.count;
    }
    type.pack(out, gathered.data(), row_bytes, static_cast<int>(wanted), cols);
    return {};
  }
};

}  // namespace

struct WeightStore::State {
  const Checkpoint& checkpoint;
  const kernels::Table& kernels;
  ThreadPool& pool;
  std::deque<Buffer> packed;
  std::deque<std::vector<float>> vectors;
  std::deque<MappedRows> tables;
  std::deque<RequantizedRows> requantized_tables;
  const TypeMap* types = nullptr;
  Packing packing = Packing::done;
  std::shared_ptr<const PackFile> pack_file;
  std::vector<PackedMatrix> matrices;
  int64_t packed_bytes = 0, mapped_bytes = 0, vector_bytes = 0, table_bytes = 0;

  Error unsupported(const TensorInfo& tensor, std::string what) const {
    return {.code = ErrorCode::unsupported,
            .what = std::move(what),
            .where = cat(checkpoint.path(), ": ", tensor.name),
            .expected = "F32, F16, BF16 or a block type",
            .found = name(tensor.type)};
  }

  // What a tensor becomes.
  DType type_of(const TensorInfo& tensor) const {
    if (types == nullptr) return tensor.type;
    const auto found = types->find(tensor.name);
    return found == types->end() ? tensor.type : found->second;
  }
  // nullopt: it stays as it is. Errors: unsupported.
  Result<std::optional<Requantizer>> requantizer(const TensorInfo& tensor) const {
    const DType to = type_of(tensor);
    if (to == tensor.type) return std::optional<Requantizer>();
    if (!can_requantize(kernels, tensor.type, to)) return unsupported(tensor, cat("tensor cannot become ", name(to)));
    return std::optional<Requantizer>(std::in_place, kernels, checkpoint, tensor, to);
  }

  // The matrix of this name, if it is packed already, here or in the pack file: of this type and shape.
  std::optional<Weight> ready(const std::string& name, const TensorInfo& like, int64_t groups, int64_t rows,
                              int64_t cols);
  // groups[g] lists the pieces that make up group g, `rows` rows in all; every group is padded to whole panels.
  Result<Weight> pack(std::string name, const TensorInfo& like, const std::vector<std::vector<Rows>>& groups,
                      int64_t rows, int64_t cols);
};

WeightStore::WeightStore(const Checkpoint& checkpoint, const kernels::Table& kernels, ThreadPool& pool,
                         const TypeMap* types, Packing packing, std::shared_ptr<const PackFile> pack)
    : state_(std::make_unique<State>(State{.checkpoint = checkpoint,
                                           .kernels = kernels,
                                           .pool = pool,
                                           .packed = {},
                                           .vectors = {},
                                           .tables = {},
                                           .requantized_tables = {},
                                           .types = types,
                                           .packing = packing,
                                           .pack_file = std::move(pack),
                                           .matrices = {}})) {}
WeightStore::WeightStore(WeightStore&&) noexcept = default;
WeightStore::~WeightStore() = default;

std::optional<Weight> WeightStore::State::ready(const std::string& name, const TensorInfo& like, int64_t groups,
                                                int64_t rows, int64_t cols) {
  const DType type = type_of(like);
  const auto known = std::ranges::find(matrices, name, &PackedMatrix::name);
  if (known != matrices.end()) return known->weight;
  if (pack_file == nullptr || kernels.panel(type) == nullptr) return std::nullopt;
  const std::optional<Weight> found = pack_file->find(name);
  const int64_t bytes = panels_bytes(*kernels.panel(type), groups, rows, cols);
  if (!found || found->type != type || found->rows != rows || found->cols != cols || found->groups != groups ||
      static_cast<int64_t>(found->data.size()) != bytes)
    return std::nullopt;
  packed_bytes += bytes;
  mapped_bytes += bytes;
  matrices.push_back({.name = name, .weight = *found});
  return found;
}

Result<Weight> WeightStore::State::pack(std::string name, const TensorInfo& like,
                                        const std::vector<std::vector<Rows>>& groups, int64_t rows, int64_t cols) {
  const DType to = type_of(like);
  const kernels::PanelType* type = kernels.panel(to);
  if (type == nullptr) return unsupported(like, "no kernel multiplies tensors of this type");
  const PanelPacker packer{.type = *type,
                           .groups = groups,
                           .rows = rows,
                           .cols = cols,
                           .row_bytes = row_bytes(to, cols),
                           .converts = to != like.type};
  Weight weight{
      .type = to, .layout = Layout::panels, .rows = rows, .cols = cols, .groups = packer.n_groups(), .data = {}};
  packed_bytes += packer.bytes();
  if (packing == Packing::counted) {
    matrices.push_back({.name = std::move(name), .weight = weight});
    return weight;
  }
  FACET_TRY(Buffer buffer, Buffer::allocate(packer.bytes()));
  FACET_TRY_VOID(packer.pack_all(pool, buffer.data()));
  weight.data = buffer.bytes();
  packed.push_back(std::move(buffer));
  matrices.push_back({.name = std::move(name), .weight = weight});
  return weight;
}

Result<Weight> WeightStore::matrix(const TensorInfo& tensor, int64_t first_row, int64_t rows) {
  const size_t dims = tensor.shape.size();
  if (dims != 2 && dims != 3)
    return state_->unsupported(tensor, cat("is not a matrix, but of shape ", list(tensor.shape)));
  const int64_t n_groups = dims == 3 ? tensor.shape[0] : 1, all_rows = tensor.shape[dims - 2],
                cols = tensor.shape[dims - 1];
  if (rows < 0) rows = all_rows - first_row;
  FACET_CHECK(first_row >= 0 && first_row + rows <= all_rows);
  const std::string part = rows == all_rows ? tensor.name : cat(tensor.name, " rows ", first_row, " + ", rows);
  if (const std::optional<Weight> ready = state_->ready(part, tensor, n_groups, rows, cols)) return *ready;
  FACET_TRY(const std::optional<Requantizer> requantizer, state_->requantizer(tensor));
  const std::byte* data = state_->checkpoint.bytes(tensor).data();
  const int64_t row = row_bytes(tensor.type, cols);
  std::vector<std::vector<Rows>> groups;
  for (int64_t g = 0; g < n_groups; ++g) {
    const int64_t start = g * all_rows + first_row;
    groups.push_back({{.data = data + start * row,
                       .count = rows,
                       .requantizer = requantizer ? &*requantizer : nullptr,
                       .first = start}});
  }
  FACET_TRY(const Weight weight, state_->pack(part, tensor, groups, rows, cols));
  state_->checkpoint.release(tensor);
  return weight;
}

Result<Weight> WeightStore::stacked(std::span<const TensorInfo* const> tensors, int64_t n_groups) {
  FACET_CHECK(!tensors.empty() && static_cast<int64_t>(tensors.size()) % n_groups == 0);
  const TensorInfo& first = *tensors.front();
  const size_t per_group = tensors.size() / static_cast<size_t>(n_groups);
  for (const TensorInfo* one : tensors) {
    const TensorInfo& tensor = *one;
    if (tensor.type != first.type || tensor.shape != first.shape) {
      return Error{.code = ErrorCode::corrupt,
                   .what = "tensors that belong together differ in type or shape",
                   .where = cat(state_->checkpoint.path(), ": ", tensor.name),
                   .expected = cat(name(first.type), ' ', list(first.shape)),
                   .found = cat(name(tensor.type), ' ', list(tensor.shape))};
    }
  }
  const int64_t rows = first.shape[0] * static_cast<int64_t>(per_group);
  const std::string all = cat(first.name, " to ", tensors.back()->name, ", ", tensors.size(), " in ", n_groups);
  if (const std::optional<Weight> ready = state_->ready(all, first, n_groups, rows, first.shape.back())) return *ready;
  std::vector<std::vector<Rows>> groups(static_cast<size_t>(n_groups));
  std::deque<Requantizer> requantizers;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = *tensors[i];
    FACET_TRY(std::optional<Requantizer> requantizer, state_->requantizer(tensor));
    if (requantizer) requantizers.push_back(*std::move(requantizer));
    groups[i / per_group].push_back({.data = state_->checkpoint.bytes(tensor).data(),
                                     .count = tensor.shape[0],
                                     .requantizer = requantizer ? &requantizers.back() : nullptr});
  }
  FACET_TRY(const Weight weight, state_->pack(all, first, groups, rows, first.shape.back()));
  for (const TensorInfo* tensor : tensors) state_->checkpoint.release(*tensor);
  return weight;
}

Result<Vector> WeightStore::vector(const TensorInfo& tensor) {
  if (is_block_type(tensor.type) || !kernels::can_dequantize(tensor.type))
    return state_->unsupported(tensor, "vector of parameters has an unsuitable type");
  std::vector<float>& values = state_->vectors.emplace_back(static_cast<size_t>(tensor.elements()), 1.0f);
  state_->vector_bytes += tensor.elements() * static_cast<int64_t>(sizeof(float));
  if (state_->packing == Packing::done)
    kernels::dequantize(tensor.type, values.data(), state_->checkpoint.bytes(tensor).data(), tensor.elements());
  return Vector{.data = values.data(), .size = static_cast<int64_t>(values.size())};
}

Result<Vector> WeightStore::vector(std::span<const float> values) {
  const std::vector<float>& kept = state_->vectors.emplace_back(values.begin(), values.end());
  state_->vector_bytes += static_cast<int64_t>(values.size_bytes());
  return Vector{.data = kept.data(), .size = static_cast<int64_t>(kept.size())};
}

Result<const RowSource*> WeightStore::rows(const TensorInfo& tensor) {
  if (!kernels::can_dequantize(tensor.type)) return state_->unsupported(tensor, "rows of this type cannot be read");
  state_->table_bytes += tensor.bytes;
  if (const DType to = state_->type_of(tensor); to != tensor.type) {
    if (!can_requantize(state_->kernels, tensor.type, to))
      return state_->unsupported(tensor, cat("tensor cannot become ", name(to)));
    return static_cast<const RowSource*>(
        &state_->requantized_tables.emplace_back(state_->kernels, state_->checkpoint, tensor, to));
  }
  return static_cast<const RowSource*>(&state_->tables.emplace_back(state_->checkpoint, tensor));
}

Packing WeightStore::packing() const { return state_->packing; }
std::span<const PackedMatrix> WeightStore::matrices() const { return state_->matrices; }
int64_t WeightStore::packed_bytes() const { return state_->packed_bytes; }
int64_t WeightStore::mapped_bytes() const { return state_->mapped_bytes; }
int64_t WeightStore::vector_bytes() const { return state_->vector_bytes; }
int64_t WeightStore::table_bytes() const { return state_->table_bytes; }

}  // namespace facet::formats
