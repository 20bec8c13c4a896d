// WeightStore: packing reaches every value, whatever is selected, stacked or grouped.
#include "formats/weight_store.h"

#include <array>

#include "base/random.h"
#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

using kernels::kPanelRows;
using testing::GgufBuilder;

// A checkpoint on disk with a store on top.
class Store {
 public:
  explicit Store(const GgufBuilder& file, std::shared_ptr<const PackFile> pack = nullptr) : pool_(2) {
    testing::write_bytes(folder_.path() / "test.gguf", file.bytes());
    Result<Checkpoint> opened = Checkpoint::open(folder_.path() / "test.gguf");
    EXPECT_OK(opened);
    checkpoint_ = std::make_unique<Checkpoint>(*std::move(opened));
    store_ = std::make_unique<WeightStore>(*checkpoint_, kernels_, pool_, nullptr, Packing::done, std::move(pack));
  }
  WeightStore& operator*() { return *store_; }
  WeightStore* operator->() { return store_.get(); }
  const TensorInfo& tensor(std::string_view name) const { return *checkpoint_->find(name); }
  const Checkpoint& checkpoint() const { return *checkpoint_; }

  // The values of a packed weight: group after group, its rows without the padding of the last panel.
  std::vector<float> unpack(const Weight& weight) const {
    const kernels::PanelType& type = *kernels_.panel(weight.type);
    const int64_t panels = kernels::panel_count(weight.rows), bytes = type.panel_bytes(weight.cols);
    EXPECT_EQ(static_cast<int64_t>(weight.data.size()), weight.groups * panels * bytes);
    std::vector<float> out, panel(static_cast<size_t>(kPanelRows * weight.cols));
    for (int64_t i = 0; i < weight.groups * panels; ++i) {
      type.unpack(panel.data(), weight.cols, weight.data.data() + i * bytes, weight.cols);
      const int64_t rows = std::min<int64_t>(kPanelRows, weight.rows - i % panels * kPanelRows);
      out.insert(out.end(), panel.begin(), panel.begin() + static_cast<ptrdiff_t>(rows * weight.cols));
    }
    return out;
  }

 private:
  testing::TemporaryFolder folder_;
  ThreadPool pool_;
  const kernels::Table& kernels_ = kernels::usable_tables()[0];
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<WeightStore> store_;
};

std::vector<float> random_values(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(random.uniform()) - 0.5f);
  return values;
}

GgufBuilder with_floats(const std::string& name, std::vector<int64_t> shape, std::span<const float> values) {
  GgufBuilder file;
  file.tensor(name, DType::f32, std::move(shape), testing::floats_as_bytes(values));
  return file;
}

TEST(WeightStore, PacksEveryRowAndPadsTheLastPanel) {
  for (const int64_t rows : {1, 15, 16, 17, 100}) {
    const std::vector<float> values = random_values(rows * 24, 1);
    Store store(with_floats("w", {rows, 24}, values));
    const Result<Weight> weight = store->matrix(store.tensor("w"));
    ASSERT_OK(weight);
    EXPECT_EQ(weight->rows, rows);
    EXPECT_EQ(weight->cols, 24);
    EXPECT_EQ(weight->layout, Layout::panels);
    EXPECT_EQ(store.unpack(*weight), values);
    EXPECT_EQ(store->packed_bytes(), static_cast<int64_t>(weight->data.size()));
  }
}

TEST(WeightStore, SelectsPartOfTheRows) {
  const std::vector<float> values = random_values(50 * 8, 2);
  Store store(with_floats("w", {50, 8}, values));
  const Result<Weight> part = store->matrix(store.tensor("w"), 20, 25);
  ASSERT_OK(part);
  EXPECT_EQ(store.unpack(*part), std::vector<float>(values.begin() + 20 * 8, values.begin() + 45 * 8));
  const Result<Weight> rest = store->matrix(store.tensor("w"), 45);
  ASSERT_OK(rest);
  EXPECT_EQ(rest->rows, 5);
}

TEST(WeightStore, GroupsOfExpertsKeepTheirOwnPanels) {
  const std::vector<float> values = random_values(3 * 20 * 8, 3);
  Store store(with_floats("w", {3, 20, 8}, values));
  const Result<Weight> weight = store->matrix(store.tensor("w"));
  ASSERT_OK(weight);
  EXPECT_EQ(weight->groups, 3);
  EXPECT_EQ(store.unpack(*weight), values);
}

TEST(WeightStore, StacksPiecesAcrossABorderInsideAPanel) {
  GgufBuilder file;
  std::vector<std::vector<float>> values;
  for (int i = 0; i < 4; ++i) {
    values.push_back(random_values(10 * 8, 10 + static_cast<uint64_t>(i)));
    file.tensor(cat("w", i), DType::f32, {10, 8}, testing::floats_as_bytes(values.back()));
  }
  Store store(file);
  std::vector<const TensorInfo*> tensors;
  std::vector<float> all;
  for (int i = 0; i < 4; ++i) {
    tensors.push_back(&store.tensor(cat("w", i)));
    all.insert(all.end(), values[static_cast<size_t>(i)].begin(), values[static_cast<size_t>(i)].end());
  }
  for (const int64_t groups : {1, 2, 4}) {
    const Result<Weight> weight = store->stacked(tensors, groups);
    ASSERT_OK(weight);
    EXPECT_EQ(weight->groups, groups);
    EXPECT_EQ(weight->rows, 40 / groups);
    EXPECT_EQ(store.unpack(*weight), all);
  }
}

TEST(WeightStore, StackedTensorsMustBeAlike) {
  GgufBuilder file;
  file.tensor("a", DType::f32, {2, 8}, testing::ByteVector(64))
      .tensor("b", DType::f32, {3, 8}, testing::ByteVector(96));
  Store store(file);
  const std::array<const TensorInfo*, 2> tensors{&store.tensor("a"), &store.tensor("b")};
  const Result<Weight> weight = store->stacked(tensors, 1);
  ASSERT_FALSE(weight.ok());
  EXPECT_NE(weight.error().message().find("F32 [2, 8]"), std::string::npos) << weight.error().message();
}

TEST(WeightStore, VectorsBecomeFloats) {
  GgufBuilder file;
  const std::array<float, 3> floats{1, -2, 0.5f};
  file.tensor("f32", DType::f32, {3}, testing::floats_as_bytes(floats));
  const std::array<uint16_t, 2> halves{0x3F80, 0xC000};  // 1, -2
  file.tensor("bf16", DType::bf16, {2}, std::as_bytes(std::span(halves)));
  file.tensor("q8_0", DType::q8_0, {32}, testing::ByteVector(34));
  Store store(file);
  const Result<Vector> exact = store->vector(store.tensor("f32"));
  ASSERT_OK(exact);
  EXPECT_EQ(std::vector<float>(exact->data, exact->data + exact->size),
            std::vector<float>(floats.begin(), floats.end()));
  const Result<Vector> widened = store->vector(store.tensor("bf16"));
  ASSERT_OK(widened);
  EXPECT_EQ(std::vector<float>(widened->data, widened->data + widened->size), (std::vector<float>{1, -2}));
  const Result<Vector> blocks = store->vector(store.tensor("q8_0"));
  ASSERT_FALSE(blocks.ok());
  EXPECT_EQ(blocks.error().code, ErrorCode::unsupported);
  EXPECT_EQ(exact->data[2], 0.5f);  // later vectors move nothing
}

TEST(WeightStore, RowsStayInTheFile) {
  const std::vector<float> values = random_values(7 * 8, 4);
  Store store(with_floats("table", {7, 8}, values));
  const Result<const RowSource*> rows = store->rows(store.tensor("table"));
  ASSERT_OK(rows);
  EXPECT_EQ((*rows)->rows(), 7);
  EXPECT_EQ((*rows)->cols(), 8);
  const Result<const std::byte*> row = (*rows)->row(3);
  ASSERT_OK(row);
  EXPECT_EQ(*row, store.checkpoint().bytes(store.tensor("table")).data() + 3 * 32);
  EXPECT_EQ(store->packed_bytes(), 0);
}

TEST(WeightStore, CountingSaysWhatPackingTakes) {
  GgufBuilder file;
  file.tensor("matrix", DType::f32, {17, 24}, testing::floats_as_bytes(random_values(17 * 24, 5)))
      .tensor("experts", DType::f32, {3, 20, 8}, testing::floats_as_bytes(random_values(3 * 20 * 8, 6)))
      .tensor("norm", DType::f32, {24}, testing::floats_as_bytes(random_values(24, 7)));
  Store opened(file);
  const TypeMap types = {{"matrix", DType::bf16}};
  ThreadPool pool(1);
  std::array<std::array<int64_t, 3>, 2> bytes;
  for (const Packing packing : {Packing::done, Packing::counted}) {
    WeightStore store(opened.checkpoint(), kernels::best_table(), pool, &types, packing);
    const Result<Weight> matrix = store.matrix(opened.tensor("matrix")),
                         experts = store.matrix(opened.tensor("experts"));
    ASSERT_OK(matrix);
    ASSERT_OK(experts);
    EXPECT_EQ(matrix->data.empty(), packing == Packing::counted);
    EXPECT_EQ(matrix->rows, 17);
    EXPECT_EQ(matrix->type, DType::bf16);
    EXPECT_EQ(experts->groups, 3);
    const Result<Vector> norm = store.vector(opened.tensor("norm"));
    ASSERT_OK(norm);
    EXPECT_EQ(norm->size, 24);
    ASSERT_OK(store.rows(opened.tensor("matrix")));
    bytes[packing == Packing::counted ? 1 : 0] = {store.packed_bytes(), store.vector_bytes(), store.table_bytes()};
  }
  EXPECT_GT(bytes[0][0], 3 * 20 * 8 * 4);
  EXPECT_EQ(bytes[0][1], 24 * 4);
  EXPECT_EQ(bytes[0][2], 17 * 24 * 4);
  EXPECT_EQ(bytes[0], bytes[1]);
}

// The pack of a store's matrices.
std::shared_ptr<const PackFile> pack_of(const WeightStore& store, const std::filesystem::path& path) {
  EXPECT_OK(write_pack(path, PackHead::of("", "", store.matrices()), store.matrices(), nullptr));
  Result<std::shared_ptr<const PackFile>> pack = PackFile::open(path);
  EXPECT_OK(pack);
  return *std::move(pack);
}

TEST(WeightStore, MatricesOfAPackAreNotPackedAgain) {
  const std::vector<float> values = random_values(3 * 20 * 8, 5);
  GgufBuilder file = with_floats("w", {3, 20, 8}, values);
  for (const char* name : {"a", "b"})
    file.tensor(name, DType::f32, {10, 8}, testing::floats_as_bytes(std::span(values).first(80)));
  const auto take_all = [](Store& store) {
    const std::array<const TensorInfo*, 2> parts{&store.tensor("a"), &store.tensor("b")};
    const std::array<Result<Weight>, 4> all{store->matrix(store.tensor("w")), store->matrix(store.tensor("a"), 3, 5),
                                            store->stacked(parts, 1), store->stacked(parts, 2)};
    std::vector<Weight> weights;
    for (const Result<Weight>& weight : all) {
      EXPECT_OK(weight);
      weights.push_back(*weight);
    }
    return weights;
  };
  testing::TemporaryFolder folder;
  Store first(file);
  const std::vector<Weight> packed = take_all(first);
  EXPECT_EQ(first->mapped_bytes(), 0);
  Store second(file, pack_of(*first, folder.path() / "p"));
  const std::vector<Weight> mapped = take_all(second);
  EXPECT_EQ(second->packed_bytes(), first->packed_bytes());
  EXPECT_EQ(second->mapped_bytes(), first->packed_bytes());
  EXPECT_EQ(second->matrices().size(), 4u);
  for (size_t i = 0; i < packed.size(); ++i) {
    EXPECT_EQ(as_text(mapped[i].data), as_text(packed[i].data));
    EXPECT_NE(mapped[i].data.data(), packed[i].data.data());
    EXPECT_EQ(mapped[i].rows, packed[i].rows);
    EXPECT_EQ(mapped[i].groups, packed[i].groups);
  }
}

TEST(WeightStore, MatricesOfAPackMustFit) {
  const std::vector<float> values = random_values(50 * 8, 6), others = random_values(40 * 8, 7);
  Store smaller(with_floats("w", {40, 8}, others));
  ASSERT_OK(smaller->matrix(smaller.tensor("w")));
  testing::TemporaryFolder folder;
  Store store(with_floats("w", {50, 8}, values), pack_of(*smaller, folder.path() / "p"));
  const Result<Weight> weight = store->matrix(store.tensor("w"));
  ASSERT_OK(weight);
  EXPECT_EQ(store.unpack(*weight), values);
  EXPECT_EQ(store->mapped_bytes(), 0);
}

TEST(WeightStore, AMatrixIsPackedOnce) {
  Store store(with_floats("w", {50, 8}, random_values(50 * 8, 8)));
  const Result<Weight> first = store->matrix(store.tensor("w")), again = store->matrix(store.tensor("w"));
  ASSERT_OK(first);
  ASSERT_OK(again);
  EXPECT_EQ(first->data.data(), again->data.data());
  EXPECT_EQ(store->matrices().size(), 1u);
}

TEST(WeightStore, WhatNoKernelMultipliesIsRefusedByName) {
  GgufBuilder file;
  file.tensor("ints", DType::i32, {2, 8}, testing::ByteVector(64))
      .tensor("flat", DType::f32, {8}, testing::ByteVector(32));
  Store store(file);
  const Result<Weight> ints = store->matrix(store.tensor("ints"));
  ASSERT_FALSE(ints.ok());
  EXPECT_EQ(ints.error().code, ErrorCode::unsupported);
  EXPECT_NE(ints.error().message().find("ints"), std::string::npos);
  EXPECT_FALSE(store->rows(store.tensor("ints")).ok());
  EXPECT_FALSE(store->matrix(store.tensor("flat")).ok());
}

}  // namespace
}  // namespace facet::formats
