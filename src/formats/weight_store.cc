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

// Consecutive rows in file layout.
struct Rows {
  const std::byte* data;
  int64_t count;
};

}  // namespace

struct WeightStore::State {
  const Checkpoint& checkpoint;
  const kernels::Table& kernels;
  ThreadPool& pool;
  std::deque<Buffer> packed;
  std::deque<std::vector<float>> vectors;
  std::deque<MappedRows> tables;
  int64_t packed_bytes = 0;

  Error unsupported(const TensorInfo& tensor, std::string what) const {
    return {.code = ErrorCode::unsupported,
            .what = std::move(what),
            .where = cat(checkpoint.path(), ": ", tensor.name),
            .expected = "F32, F16, BF16 or a block type",
            .found = name(tensor.type)};
  }

  // groups[g] lists the pieces that make up group g, `rows` rows in all; every group is padded to whole panels.
  Result<Weight> pack(const TensorInfo& like, const std::vector<std::vector<Rows>>& groups, int64_t rows, int64_t cols);
};

WeightStore::WeightStore(const Checkpoint& checkpoint, const kernels::Table& kernels, ThreadPool& pool)
    : state_(std::make_unique<State>(State{
          .checkpoint = checkpoint, .kernels = kernels, .pool = pool, .packed = {}, .vectors = {}, .tables = {}})) {}
WeightStore::WeightStore(WeightStore&&) noexcept = default;
WeightStore::~WeightStore() = default;

Result<Weight> WeightStore::State::pack(const TensorInfo& like, const std::vector<std::vector<Rows>>& groups,
                                        int64_t rows, int64_t cols) {
  const kernels::PanelType* type = kernels.panel(like.type);
  if (type == nullptr) return unsupported(like, "no kernel multiplies tensors of this type");
  const int64_t row = row_bytes(like.type, cols), panel_bytes = type->panel_bytes(cols);
  const int64_t panels = (rows + kPanelRows - 1) / kPanelRows, total = panels * static_cast<int64_t>(groups.size());
  FACET_TRY(Buffer buffer, Buffer::allocate(total * panel_bytes));
  std::byte* const out = buffer.data();

  const auto pack_panel = [&](int64_t number) {
    const std::vector<Rows>& pieces = groups[static_cast<size_t>(number / panels)];
    const int64_t first = number % panels * kPanelRows;
    const int wanted = static_cast<int>(std::min<int64_t>(kPanelRows, rows - first));
    int64_t before = 0;
    for (const Rows& piece : pieces) {  // usually one piece holds the whole panel
      if (first >= before && first + wanted <= before + piece.count) {
        type->pack(out + number * panel_bytes, piece.data + (first - before) * row, row, wanted, cols);
        return;
      }
      before += piece.count;
    }
    std::vector<std::byte> gathered(static_cast<size_t>(wanted * row));  // a panel across a border of pieces
    before = 0;
    for (const Rows& piece : pieces) {
      for (int64_t r = std::max(first, before); r < std::min(first + wanted, before + piece.count); ++r)
        std::copy_n(piece.data + (r - before) * row, row, gathered.data() + (r - first) * row);
      before += piece.count;
    }
    type->pack(out + number * panel_bytes, gathered.data(), row, wanted, cols);
  };
  pool.parallel((total + kPanelsPerBlock - 1) / kPanelsPerBlock, [&](int64_t block, int) {
    for (int64_t i = block * kPanelsPerBlock; i < std::min(total, (block + 1) * kPanelsPerBlock); ++i) pack_panel(i);
  });

  const Bytes data = buffer.bytes();
  packed_bytes += buffer.size();
  packed.push_back(std::move(buffer));
  return Weight{.type = like.type,
                .layout = Layout::panels,
                .rows = rows,
                .cols = cols,
                .groups = static_cast<int64_t>(groups.size()),
                .data = data};
}

Result<Weight> WeightStore::matrix(const TensorInfo& tensor, int64_t first_row, int64_t rows) {
  const size_t dims = tensor.shape.size();
  if (dims != 2 && dims != 3)
    return state_->unsupported(tensor, cat("is not a matrix, but of shape ", list(tensor.shape)));
  const int64_t n_groups = dims == 3 ? tensor.shape[0] : 1, all_rows = tensor.shape[dims - 2],
                cols = tensor.shape[dims - 1];
  if (rows < 0) rows = all_rows - first_row;
  FACET_CHECK(first_row >= 0 && first_row + rows <= all_rows);
  const std::byte* data = state_->checkpoint.bytes(tensor).data();
  const int64_t row = row_bytes(tensor.type, cols);
  std::vector<std::vector<Rows>> groups;
  for (int64_t g = 0; g < n_groups; ++g)
    groups.push_back({{.data = data + (g * all_rows + first_row) * row, .count = rows}});
  FACET_TRY(const Weight weight, state_->pack(tensor, groups, rows, cols));
  state_->checkpoint.release(tensor);
  return weight;
}

Result<Weight> WeightStore::stacked(std::span<const TensorInfo* const> tensors, int64_t n_groups) {
  FACET_CHECK(!tensors.empty() && static_cast<int64_t>(tensors.size()) % n_groups == 0);
  const TensorInfo& first = *tensors.front();
  const size_t per_group = tensors.size() / static_cast<size_t>(n_groups);
  int64_t rows = 0;
  std::vector<std::vector<Rows>> groups(static_cast<size_t>(n_groups));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = *tensors[i];
    if (tensor.type != first.type || tensor.shape != first.shape) {
      return Error{.code = ErrorCode::corrupt,
                   .what = "tensors that belong together differ in type or shape",
                   .where = cat(state_->checkpoint.path(), ": ", tensor.name),
                   .expected = cat(name(first.type), ' ', list(first.shape)),
                   .found = cat(name(tensor.type), ' ', list(tensor.shape))};
    }
    groups[i / per_group].push_back({.data = state_->checkpoint.bytes(tensor).data(), .count = tensor.shape[0]});
    if (i < per_group) rows += tensor.shape[0];
  }
  FACET_TRY(const Weight weight, state_->pack(first, groups, rows, first.shape.back()));
  for (const TensorInfo* tensor : tensors) state_->checkpoint.release(*tensor);
  return weight;
}

Result<Vector> WeightStore::vector(const TensorInfo& tensor) {
  if (is_block_type(tensor.type) || !kernels::can_dequantize(tensor.type))
    return state_->unsupported(tensor, "vector of parameters has an unsuitable type");
  std::vector<float>& values = state_->vectors.emplace_back(static_cast<size_t>(tensor.elements()));
  kernels::dequantize(tensor.type, values.data(), state_->checkpoint.bytes(tensor).data(), tensor.elements());
  return Vector{.data = values.data(), .size = static_cast<int64_t>(values.size())};
}

Result<Vector> WeightStore::vector(std::span<const float> values) {
  const std::vector<float>& kept = state_->vectors.emplace_back(values.begin(), values.end());
  return Vector{.data = kept.data(), .size = static_cast<int64_t>(kept.size())};
}

Result<const RowSource*> WeightStore::rows(const TensorInfo& tensor) {
  if (!kernels::can_dequantize(tensor.type)) return state_->unsupported(tensor, "rows of this type cannot be read");
  return static_cast<const RowSource*>(&state_->tables.emplace_back(state_->checkpoint, tensor));
}

int64_t WeightStore::packed_bytes() const { return state_->packed_bytes; }

}  // namespace facet::formats
