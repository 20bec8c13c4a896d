// safetensors files, right and wrong: each rule of the format (spec: gguf.md 2) is a test here.
#include "formats/safetensors.h"

#include <array>

#include <gmock/gmock.h>

#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/count_allocations.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

using testing::ByteVector;
using testing::SafetensorsBuilder;

std::string safetensors_message(const ByteVector& bytes) {
  const auto source = memory_source("test.safetensors", bytes);
  const Result<std::vector<TensorInfo>> tensors = read_safetensors(*source);
  return tensors.ok() ? "" : tensors.error().message();
}
std::string safetensors_message(std::string_view header, size_t data_bytes = 0) {
  return safetensors_message(SafetensorsBuilder::file(header, ByteVector(data_bytes)));
}

#define EXPECT_SAFETENSORS_MESSAGE(part, ...) EXPECT_THAT(safetensors_message(__VA_ARGS__), ::testing::HasSubstr(part))

// A header with one tensor "w".
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return cat(R"({"w": {"dtype": ")", dtype, R"(", "shape": )", shape, R"(, "data_offsets": )", offsets, "}}");
}

SafetensorsBuilder small_file() {
  SafetensorsBuilder file;
  const std::array<float, 6> values{1, 2, 3, 4, 5, 6};
  file.floats("matrix", {2, 3}, values);
  file.tensor("half", DType::bf16, std::array<int64_t, 1>{4}, ByteVector(8));
  file.tensor("scalar", DType::u8, {}, ByteVector(1));
  file.tensor("empty", DType::f16, std::array<int64_t, 2>{0, 7}, {});
  return file;
}

TEST(Safetensors, ReadsTensorsInPlace) {
  const ByteVector bytes = small_file().bytes();
  const auto source = memory_source("test", bytes);
  const Result<std::vector<TensorInfo>> tensors = read_safetensors(*source);
  ASSERT_OK(tensors);
  ASSERT_EQ(tensors->size(), 4u);
  const TensorInfo& matrix = tensors->front();
  EXPECT_EQ(matrix.name, "matrix");
  EXPECT_EQ(matrix.type, DType::f32);
  EXPECT_EQ(matrix.shape, (std::vector<int64_t>{2, 3}));
  float second = 0;
  ASSERT_OK(source->read(matrix.offset + 4, std::as_writable_bytes(std::span(&second, 1))));
  EXPECT_EQ(second, 2);
  EXPECT_EQ((*tensors)[2].elements(), 1);
  EXPECT_EQ((*tensors)[3].bytes, 0);
}

TEST(Safetensors, MetadataAndPaddingOfTheHeaderAreAllowed) {
  EXPECT_EQ(safetensors_message(R"({"__metadata__": {"format": "pt"}}   )"), "");
  EXPECT_EQ(safetensors_message("{}"), "");
  EXPECT_EQ(safetensors_message(one("F32", "[2]", "[0, 8]"), 8), "");
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const ByteVector good = small_file().bytes();
  for (size_t n = 0; n < good.size(); ++n)
    ASSERT_NE(safetensors_message(ByteVector(good.begin(), good.begin() + static_cast<ptrdiff_t>(n))), "") << n;
  ASSERT_EQ(safetensors_message(good), "");
}

TEST(Safetensors, FlippedBitsNeverHarm) {
  const ByteVector good = small_file().bytes();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    ByteVector bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto source = memory_source("test", bad);
    const Result<std::vector<TensorInfo>> tensors = read_safetensors(*source);
    if (!tensors.ok()) continue;
    for (const TensorInfo& tensor : *tensors)
      ASSERT_EQ(static_cast<int64_t>(source->mapped(tensor.offset, tensor.bytes).size()), tensor.bytes) << bit;
  }
}

TEST(Safetensors, HeaderLengthIsBoundedByFileAndFormat) {
  for (const uint64_t length : {uint64_t{3}, uint64_t{100'000'001}, uint64_t{1} << 63, UINT64_MAX}) {
    ByteVector bytes;
    testing::append_number(bytes, length);
    bytes.resize(10, std::byte{' '});
    const int64_t before = testing::bytes_allocated();
    EXPECT_SAFETENSORS_MESSAGE("larger than the file or the format allow", bytes);
    EXPECT_LT(testing::bytes_allocated() - before, 16 << 10);
  }
}

TEST(Safetensors, HeaderMustBeAnObjectOfValidJson) {
  EXPECT_SAFETENSORS_MESSAGE("not a safetensors file", "[]");
  EXPECT_SAFETENSORS_MESSAGE("not a safetensors file", " {}");
  EXPECT_SAFETENSORS_MESSAGE("not a safetensors file", "");
  EXPECT_NE(safetensors_message("{\"a\": }"), "");
  EXPECT_NE(safetensors_message("{\"a\xff\": {}}"), "");
  EXPECT_NE(safetensors_message("{} x"), "");
  EXPECT_NE(safetensors_message(R"({"w": {"dtype": [[[[[[[]]]]]]]}})"), "");  // too deep
}

TEST(Safetensors, DuplicateNamesAreErrors) {
  EXPECT_NE(safetensors_message(R"({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                           "w": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})",
                                2),
            "");
}

TEST(Safetensors, EntriesMustSayTypeShapeAndOffsets) {
  EXPECT_SAFETENSORS_MESSAGE("has no dtype", R"({"w": {}})");
  EXPECT_SAFETENSORS_MESSAGE("has no dtype", R"({"w": 3})");
  EXPECT_SAFETENSORS_MESSAGE("has no dtype", R"({"w": {"dtype": 1}})");
  EXPECT_SAFETENSORS_MESSAGE("has no shape", R"({"w": {"dtype": "F32"}})");
  EXPECT_SAFETENSORS_MESSAGE("has no data_offsets", R"({"w": {"dtype": "F32", "shape": [0]}})");
  EXPECT_SAFETENSORS_MESSAGE("else than integers", one("F32", "[2.0]", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("else than integers", one("F32", "[-2]", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("else than integers", one("F32", R"(["2"])", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("else than integers", one("F32", "[2e0]", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("not a range", one("F32", "[2]", "[8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("not a range", one("F32", "[2]", "[8, 0]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("not a range", one("F32", "[2]", "[0, 4, 8]"), 8);
}

TEST(Safetensors, UnknownTypesAreRefusedByName) {
  for (const char* type : {"F8_E4M3", "F4", "C64", "f32"}) {
    const ByteVector bytes = SafetensorsBuilder::file(one(type, "[2]", "[0, 8]"), ByteVector(8));
    const auto source = memory_source("test", bytes);
    const Result<std::vector<TensorInfo>> tensors = read_safetensors(*source);
    ASSERT_FALSE(tensors.ok()) << type;
    EXPECT_EQ(tensors.error().code, ErrorCode::unsupported) << type;
    EXPECT_NE(tensors.error().message().find(cat("found ", type)), std::string::npos) << tensors.error().message();
  }
}

TEST(Safetensors, SizesMustFollowFromShapeAndType) {
  EXPECT_SAFETENSORS_MESSAGE("does not follow", one("F32", "[2]", "[0, 7]"), 7);
  EXPECT_SAFETENSORS_MESSAGE("does not follow", one("F32", "[3]", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("too large", one("F32", "[4611686018427387904, 4]", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("too large", one("F32", "[9223372036854775807]", "[0, 8]"), 8);
  EXPECT_SAFETENSORS_MESSAGE("too large", one("F32", "[0, 4611686018427387904, 4]", "[0, 0]"), 0);
  EXPECT_SAFETENSORS_MESSAGE("beyond the end", one("F32", "[2]", "[0, 8]"), 7);
  EXPECT_SAFETENSORS_MESSAGE("beyond the end", one("U8", "[9223372036854775807]", "[0, 9223372036854775807]"), 8);
}

TEST(Safetensors, TensorsMustTileTheData) {
  const auto two = [](std::string_view a, std::string_view b) {
    return cat(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": )", a,
               R"(}, "b": {"dtype": "U8", "shape": [4], "data_offsets": )", b, "}}");
  };
  EXPECT_EQ(safetensors_message(two("[4, 8]", "[0, 4]"), 8), "");
  EXPECT_SAFETENSORS_MESSAGE("overlaps", two("[0, 4]", "[0, 4]"), 4);
  EXPECT_SAFETENSORS_MESSAGE("overlaps", two("[0, 4]", "[2, 6]"), 6);
  EXPECT_SAFETENSORS_MESSAGE("hole", two("[0, 4]", "[5, 9]"), 9);
  EXPECT_SAFETENSORS_MESSAGE("hole", two("[1, 5]", "[5, 9]"), 9);
  EXPECT_SAFETENSORS_MESSAGE("behind the last tensor", two("[0, 4]", "[4, 8]"), 9);
}

TEST(Safetensors, MemoryIsProportionalToTheFile) {
  std::string header = "{";
  for (int i = 0; i < 2000; ++i)
    header += cat(i > 0 ? "," : "", "\"", i, R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})");
  const ByteVector bytes = SafetensorsBuilder::file(header + "}", {});
  const auto source = memory_source("test", bytes);
  const int64_t before = testing::bytes_allocated();
  ASSERT_OK(read_safetensors(*source));
  EXPECT_LT(testing::bytes_allocated() - before, static_cast<int64_t>(60 * bytes.size()));
}

TEST(ShardIndex, ListsFilesOnceAndEveryTensor) {
  const Json json = *Json::parse(R"({"metadata": {"total_size": 1}, "weight_map":
      {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}})",
                                 "test");
  const Result<ShardIndex> index = read_shard_index(json, "test");
  ASSERT_OK(index);
  EXPECT_EQ(index->files, (std::vector<std::string>{"one.safetensors", "two.safetensors"}));
  EXPECT_EQ(index->entries.size(), 3u);
}

TEST(ShardIndex, RefusesWhatIsNoPlainFileName) {
  for (const char* file :
       {R"("../x")", R"("/etc/passwd")", R"("a/b")", R"("..")", R"(".")", R"("")", R"("a\\b")", "3", "null"}) {
    const Json json = *Json::parse(cat(R"({"weight_map": {"a": )", file, "}}"), "test");
    const Result<ShardIndex> index = read_shard_index(json, "test");
    ASSERT_FALSE(index.ok()) << file;
    EXPECT_EQ(index.error().code, ErrorCode::corrupt);
  }
  for (const char* text : {"{}", "[]", R"({"weight_map": []})", R"({"weight_map": {}})"})
    EXPECT_FALSE(read_shard_index(*Json::parse(text, "test"), "test").ok()) << text;
}

}  // namespace
}  // namespace facet::formats
