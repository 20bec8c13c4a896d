#include "formats/importance.h"

#include <cmath>
#include <limits>

#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

using testing::append_number;
using testing::as_vector;
using testing::ByteVector;
using testing::floats_as_bytes;
using testing::GgufBuilder;

Result<ImportanceMatrix> read(const ByteVector& bytes) {
  return ImportanceMatrix::read(*memory_source("imatrix", bytes));
}

GgufBuilder small_imatrix() {
  GgufBuilder file;
  const std::vector<std::string> texts = {"one.txt", "two.txt"};
  file.text("general.type", "imatrix").texts("imatrix.datasets", texts);
  file.number("imatrix.chunk_count", uint32_t{7}).number("imatrix.chunk_size", uint32_t{512});
  file.tensor("blk.0.attn_q.weight.in_sum2", DType::f32, {3}, floats_as_bytes(std::vector<float>{2, 4, 8}));
  file.tensor("blk.0.attn_q.weight.counts", DType::f32, {1}, floats_as_bytes(std::vector<float>{4}));
  file.tensor("blk.0.ffn_down_exps.weight.in_sum2", DType::f32, {2, 2},
              floats_as_bytes(std::vector<float>{2, 4, 0, 0}));
  file.tensor("blk.0.ffn_down_exps.weight.counts", DType::f32, {2, 1}, floats_as_bytes(std::vector<float>{2, 0}));
  return file;
}

void append_text(ByteVector& out, std::string_view text) {
  append_number(out, static_cast<int32_t>(text.size()));
  const ByteVector bytes = as_vector(text);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// Two entries; the mean squares of the first are 0.5, 1, 2.
ByteVector legacy() {
  ByteVector out;
  append_number(out, int32_t{2});
  append_text(out, "blk.0.attn_q.weight");
  append_number(out, int32_t{3});
  append_number(out, int32_t{3});
  for (const float value : {1.5f, 3.0f, 6.0f}) append_number(out, value);
  append_text(out, "blk.0.ffn_down_exps.weight");
  append_number(out, int32_t{3});
  append_number(out, int32_t{4});
  for (const float value : {3.0f, 6.0f, 3.0f, 3.0f}) append_number(out, value);
  return out;
}

TensorInfo tensor(std::string name, std::vector<int64_t> shape) {
  return {.name = std::move(name), .type = DType::f32, .shape = std::move(shape)};
}

std::vector<float> importance(const ImportanceMatrix& matrix, const TensorInfo& tensor) {
  const Result<std::optional<std::vector<float>>> found = matrix.importance(tensor);
  EXPECT_OK(found);
  return found.ok() && *found ? **found : std::vector<float>();
}

TEST(Importance, ReadsTheNewForm) {
  const Result<ImportanceMatrix> matrix = read(small_imatrix().bytes());
  ASSERT_OK(matrix);
  EXPECT_EQ(matrix->datasets, (std::vector<std::string>{"one.txt", "two.txt"}));
  EXPECT_EQ(matrix->chunk_count, 7);
  EXPECT_EQ(matrix->chunk_size, 512);
  EXPECT_EQ(importance(*matrix, tensor("blk.0.attn_q.weight", {8, 3})), (std::vector<float>{0.5, 1, 2}));
  EXPECT_EQ(importance(*matrix, tensor("blk.0.ffn_down_exps.weight", {2, 8, 2})), (std::vector<float>{1, 2, 1, 1}))
      << "an expert that nothing reached counts evenly";
  EXPECT_TRUE(importance(*matrix, tensor("token_embd.weight", {8, 3})).empty());
}

TEST(Importance, ReadsTheLegacyForm) {
  ByteVector bytes = legacy();
  const Result<ImportanceMatrix> bare = read(bytes);
  ASSERT_OK(bare);
  EXPECT_EQ(importance(*bare, tensor("blk.0.attn_q.weight", {8, 3})), (std::vector<float>{0.5, 1, 2}));
  EXPECT_EQ(importance(*bare, tensor("blk.0.ffn_down_exps.weight", {2, 8, 2})), (std::vector<float>{1, 2, 1, 1}));
  append_number(bytes, int32_t{3});
  append_text(bytes, "wiki.txt");
  const Result<ImportanceMatrix> whole = read(bytes);
  ASSERT_OK(whole);
  EXPECT_EQ(whole->chunk_count, 3);
  EXPECT_EQ(whole->datasets, std::vector<std::string>{"wiki.txt"});
}

TEST(Importance, WhatIsWrittenReadsBackInBothForms) {
  const testing::TemporaryFolder folder;
  const ImportanceMatrix matrix = *read(small_imatrix().bytes());
  for (const auto format : {ImportanceMatrix::Format::gguf, ImportanceMatrix::Format::legacy}) {
    const auto path = folder.path() / (format == ImportanceMatrix::Format::gguf ? "imatrix.gguf" : "imatrix.dat");
    ASSERT_OK(matrix.write(path, format));
    const Result<ImportanceMatrix> again = ImportanceMatrix::read(path);
    ASSERT_OK(again);
    EXPECT_EQ(again->chunk_count, 7);
    EXPECT_EQ(again->datasets.back(), "two.txt");
    for (const TensorInfo& one :
         {tensor("blk.0.attn_q.weight", {8, 3}), tensor("blk.0.ffn_down_exps.weight", {2, 8, 2})})
      EXPECT_EQ(importance(*again, one), importance(matrix, one)) << one.name;
  }
  EXPECT_EQ(ImportanceMatrix::read(folder.path() / "imatrix.gguf")->entries.at("blk.0.ffn_down_exps.weight").counts,
            (std::vector<float>{2, 0}));
}

TEST(Importance, AddsUpBothForms) {
  Result<ImportanceMatrix> sum = read(legacy());
  ASSERT_OK(sum);
  const ImportanceMatrix same = *sum;
  ASSERT_OK(sum->add(same));
  EXPECT_EQ(importance(*sum, tensor("blk.0.attn_q.weight", {8, 3})), (std::vector<float>{0.5, 1, 2}));
  ImportanceMatrix other = *read(small_imatrix().bytes());
  ASSERT_OK(other.add(*read(small_imatrix().bytes())));
  EXPECT_EQ(other.entries["blk.0.ffn_down_exps.weight"].counts, (std::vector<float>{4, 0}));
  EXPECT_EQ(other.chunk_count, 14);
  ASSERT_OK(other.add(same));  // one count for all experts meets one for each
  EXPECT_EQ(other.entries["blk.0.ffn_down_exps.weight"].counts, (std::vector<float>{4 + 1536, 1536}));
}

TEST(Importance, RefusesAnotherModel) {
  ImportanceMatrix matrix = *read(small_imatrix().bytes());
  EXPECT_EQ(matrix.importance(tensor("blk.0.attn_q.weight", {8, 4})).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(matrix.importance(tensor("blk.0.ffn_down_exps.weight", {4, 8, 1})).error().code,
            ErrorCode::invalid_argument);
  ImportanceMatrix wider;
  wider.entries["blk.0.attn_q.weight"] = {.sums = {1, 2, 3, 4}, .counts = {1}};
  EXPECT_EQ(matrix.add(wider).error().code, ErrorCode::invalid_argument);
}

TEST(Importance, RefusesWhatIsWrong) {
  const auto code = [](const ByteVector& bytes) {
    const Result<ImportanceMatrix> matrix = read(bytes);
    return matrix.ok() ? std::string("fine") : name(matrix.error().code);
  };
  GgufBuilder model;
  model.text("general.type", "model");
  EXPECT_EQ(code(model.bytes()), "unsupported");
  EXPECT_EQ(code(GgufBuilder().bytes()), "unsupported");
  GgufBuilder lonely;
  lonely.tensor("a.in_sum2", DType::f32, {1}, floats_as_bytes(std::vector<float>{1}));
  EXPECT_EQ(code(lonely.bytes()), "corrupt");
  GgufBuilder nan = small_imatrix();
  nan.tensor("b.in_sum2", DType::f32, {1}, floats_as_bytes(std::vector<float>{std::nanf("")}));
  nan.tensor("b.counts", DType::f32, {1}, floats_as_bytes(std::vector<float>{1}));
  EXPECT_EQ(code(nan.bytes()), "corrupt");
  EXPECT_EQ(code({}), "corrupt");
  ByteVector none;
  append_number(none, int32_t{0});
  EXPECT_EQ(code(none), "corrupt");
  const ByteVector whole = legacy();
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(code(ByteVector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))), "corrupt") << size;
  ByteVector many = whole;
  many[3] = std::byte{0x40};  // a thousand million entries
  EXPECT_EQ(code(many), "corrupt");
}

}  // namespace
}  // namespace facet::formats
