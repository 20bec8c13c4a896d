// GGUF files, right and wrong: each check that a reader owes (spec: gguf.md 1.7) is a test here.
#include "formats/gguf.h"

#include <array>
#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>

#include "support/checkpoint_builder.h"
#include "support/count_allocations.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

using testing::ByteVector;
using testing::GgufBuilder;

struct Read {
  ByteVector bytes;
  std::shared_ptr<const ByteSource> source;
  Result<GgufFile> file;

  explicit Read(ByteVector b)
      : bytes(std::move(b)), source(memory_source("test.gguf", bytes)), file(read_gguf(*source)) {}
};

// The message of the error, or "" where the file is fine.
std::string gguf_message(const ByteVector& bytes) {
  const Read read(bytes);
  return read.file.ok() ? "" : read.file.error().message();
}
std::string gguf_message(const GgufBuilder& file) { return gguf_message(file.bytes()); }
ErrorCode code_of(const GgufBuilder& file) {
  const Read read(file.bytes());
  EXPECT_FALSE(read.file.ok());
  return read.file.ok() ? ErrorCode::cancelled : read.file.error().code;
}

#define EXPECT_GGUF_MESSAGE(file, part) EXPECT_THAT(gguf_message(file), ::testing::HasSubstr(part))

ByteVector zeros(size_t n) { return ByteVector(n); }

// Some of everything.
GgufBuilder small() {
  GgufBuilder file;
  file.text("general.architecture", "gemma4")
      .number("general.alignment", uint32_t{32})
      .number("a.bool", true)
      .number("a.float", 0.5f)
      .number("a.large", uint64_t{1} << 63);
  const std::array<std::string, 3> words{"one", "", "three"};
  file.texts("a.words", words);
  const std::array<int32_t, 3> numbers{1, -2, 3};
  file.numbers<int32_t>("a.numbers", numbers);
  file.tensor("first", DType::f32, {2, 3}, zeros(24));
  file.tensor("second", DType::q4_0, {2, 64}, zeros(72));
  file.tensor("third", DType::bf16, {5}, zeros(10));
  return file;
}

TEST(Gguf, ReadsVersionsTwoAndThree) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder file = small();
    file.version = version;
    const Read read(file.bytes());
    ASSERT_OK(read.file);
    EXPECT_EQ(read.file->version, version);
    ASSERT_EQ(read.file->tensors.size(), 3u);
    const TensorInfo& second = read.file->tensors[1];
    EXPECT_EQ(second.name, "second");
    EXPECT_EQ(second.shape, (std::vector<int64_t>{2, 64}));
    EXPECT_EQ(second.bytes, 72);
    EXPECT_EQ(second.offset - read.file->tensors[0].offset, 32);
    EXPECT_EQ(second.offset % 32, 0);
    EXPECT_TRUE(read.file->remarks.empty());
  }
}

TEST(Gguf, ReadsEveryValueType) {
  GgufBuilder file;
  file.number("u8", uint8_t{200}).number("i8", int8_t{-3}).number("u16", uint16_t{60000}).number("i16", int16_t{-5});
  file.number("u32", uint32_t{4000000000}).number("i32", int32_t{-7}).number("u64", uint64_t{1} << 40);
  file.number("i64", int64_t{-1} << 40).number("f32", 0.25f).number("f64", 0.125).number("bool", true).text("s", "hi");
  const Read read(file.bytes());
  ASSERT_OK(read.file);
  const GgufMetadata& m = read.file->metadata;
  EXPECT_EQ(m.find("u8")->integer(), 200);
  EXPECT_EQ(m.find("i8")->integer(), -3);
  EXPECT_EQ(m.find("u16")->integer(), 60000);
  EXPECT_EQ(m.find("i16")->integer(), -5);
  EXPECT_EQ(m.find("u32")->integer(), 4000000000);
  EXPECT_EQ(m.find("i32")->number(), -7.0);
  EXPECT_EQ(m.find("u64")->integer(), int64_t{1} << 40);
  EXPECT_EQ(m.find("i64")->integer(), int64_t{-1} << 40);
  EXPECT_EQ(m.find("f32")->number(), 0.25);
  EXPECT_EQ(m.find("f64")->number(), 0.125);
  EXPECT_EQ(m.find("f64")->integer(), std::nullopt);
  EXPECT_EQ(m.find("bool")->boolean(), true);
  EXPECT_EQ(m.find("s")->string(), "hi");
  EXPECT_EQ(m.find("s")->integer(), std::nullopt);
  EXPECT_EQ(m.find("absent"), nullptr);
  EXPECT_EQ(m.all().size(), 12u);
}

TEST(Gguf, ReadsArraysInPlace) {
  const Read read(small().bytes());
  ASSERT_OK(read.file);
  const GgufMetadata& m = read.file->metadata;
  EXPECT_EQ(*m.find("a.words")->strings(), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(*m.find("a.numbers")->integers(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(*m.find("a.numbers")->floats(), (std::vector<float>{1, -2, 3}));
  EXPECT_FALSE(m.find("a.words")->integers().has_value());
  EXPECT_FALSE(m.find("a.numbers")->strings().has_value());
  EXPECT_FALSE(m.find("a.float")->floats().has_value());
}

TEST(Gguf, AskingForTheWrongTypeNamesTheKey) {
  const Read read(small().bytes());
  ASSERT_OK(read.file);
  const GgufMetadata& m = read.file->metadata;
  for (const std::string& said : {m.integer("a.float").error().message(), m.string("a.float").error().message(),
                                  m.boolean("a.float").error().message()})
    EXPECT_TRUE(said.starts_with("test.gguf: a.float: ")) << said;
  EXPECT_FALSE(m.number("a.words").ok());
  const std::string large = m.integer("a.large").error().message();
  EXPECT_TRUE(large.ends_with("expected an integer, found u64 9223372036854775808")) << large;
  EXPECT_FALSE(m.integer("absent")->has_value());
}

// 1: every read is bounds-checked.
TEST(Gguf, EveryTruncationIsAnError) {
  const ByteVector good = small().bytes();
  for (size_t n = 0; n < good.size(); ++n)
    ASSERT_NE(gguf_message(ByteVector(good.begin(), good.begin() + static_cast<ptrdiff_t>(n))), "") << n;
  ASSERT_EQ(gguf_message(good), "");
}

TEST(Gguf, FlippedBitsNeverHarm) {
  const ByteVector good = small().bytes();
  int refused = 0;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    ByteVector bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const Read read(bad);
    if (!read.file.ok()) {
      ++refused;
      continue;
    }
    for (const TensorInfo& tensor : read.file->tensors)  // whatever it says now lies inside the file
      ASSERT_EQ(static_cast<int64_t>(read.source->mapped(tensor.offset, tensor.bytes).size()), tensor.bytes) << bit;
    for (const auto& [key, value] : read.file->metadata.all()) (void)value.strings();
  }
  EXPECT_GT(refused, 1000);
}

TEST(Gguf, WrongBytesAtTheStartAreNamed) {
  EXPECT_GGUF_MESSAGE(ByteVector(24), "not a GGUF file");
  EXPECT_GGUF_MESSAGE(testing::as_vector("GGUF"), "ends inside");
  GgufBuilder file = small();
  for (const uint32_t version : {0u, 1u, 4u}) {
    file.version = version;
    EXPECT_GGUF_MESSAGE(file, "version is not supported");
    EXPECT_EQ(code_of(file), ErrorCode::unsupported);
  }
  file.version = 0x03000000;
  EXPECT_GGUF_MESSAGE(file, "byte order");
  EXPECT_EQ(code_of(file), ErrorCode::unsupported);
}

// 2: lengths of strings and arrays.
TEST(Gguf, AbsurdLengthsOfStringsAndArraysAreErrors) {
  for (const uint64_t length : {uint64_t{100}, uint64_t{1} << 31, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7}) {
    ByteVector text;
    testing::append_number(text, length);
    EXPECT_GGUF_MESSAGE(GgufBuilder().pair("key", GgufType::string, text), "larger than the rest");
    for (const GgufType element : {GgufType::u8, GgufType::f64, GgufType::string}) {
      ByteVector array;
      testing::append_number(array, static_cast<uint32_t>(element));
      testing::append_number(array, length);
      EXPECT_GGUF_MESSAGE(GgufBuilder().pair("key", GgufType::array, array), "longer than the rest");
    }
  }
  ByteVector key;  // the length of a key
  GgufBuilder file;
  file.more_pairs = 1;
  ByteVector bytes = file.bytes();
  testing::append_number(bytes, UINT64_MAX);
  bytes.resize(bytes.size() + 16);
  EXPECT_GGUF_MESSAGE(bytes, "larger than the rest");
}

TEST(Gguf, StringsInArraysAreBoundedToo) {
  ByteVector array;
  testing::append_number(array, static_cast<uint32_t>(GgufType::string));
  testing::append_number(array, uint64_t{2});
  testing::append_number(array, uint64_t{0});
  testing::append_number(array, uint64_t{1} << 40);
  EXPECT_GGUF_MESSAGE(GgufBuilder().pair("key", GgufType::array, array), "larger than the rest");
}

TEST(Gguf, ArraysOfArraysAndUnknownTypesAreErrors) {
  ByteVector array;
  testing::append_number(array, static_cast<uint32_t>(GgufType::array));
  testing::append_number(array, uint64_t{0});
  EXPECT_GGUF_MESSAGE(GgufBuilder().pair("key", GgufType::array, array), "arrays of arrays");
  EXPECT_GGUF_MESSAGE(GgufBuilder().pair("key", static_cast<GgufType>(13), zeros(8)), "value type is not known");
  EXPECT_GGUF_MESSAGE(GgufBuilder().pair("key", static_cast<GgufType>(-1), zeros(8)), "value type is not known");
}

// 3: counts in the header.
TEST(Gguf, AbsurdCountsAreErrorsWithoutAnAllocation) {
  for (const int64_t more : {int64_t{1}, int64_t{1000}, int64_t{1} << 40, INT64_MAX - 100, int64_t{-100}}) {
    GgufBuilder pairs = small(), tensors = small();
    pairs.more_pairs = more;
    tensors.more_tensors = more;
    for (const GgufBuilder& file : {pairs, tensors}) {
      const ByteVector bytes = file.bytes();
      const int64_t before = testing::bytes_allocated();
      EXPECT_NE(gguf_message(bytes), "") << more;
      EXPECT_LT(testing::bytes_allocated() - before, 64 << 10) << more;
    }
  }
}

TEST(Gguf, MorePairsOrTensorsThanAnyModelHasAreErrors) {
  const auto with = [](int pairs, int tensors) {
    GgufBuilder file;
    for (int i = 0; i < pairs; ++i) file.number(std::to_string(i), true);
    for (int i = 0; i < tensors; ++i) file.tensor(std::to_string(i), DType::i8, {0}, {});
    return file;
  };
  EXPECT_EQ(gguf_message(with(8192, 0)), "");
  EXPECT_GGUF_MESSAGE(with(8193, 0), "more metadata than the file can hold, or than a limit: expected at most 8192");
  EXPECT_EQ(gguf_message(with(0, 65536)), "");
  EXPECT_GGUF_MESSAGE(with(0, 65537), "more tensors than the file can hold, or than a limit: expected at most 65536");
}

// 4: dimensions.
TEST(Gguf, DimensionsThatOverflowAreErrors) {
  const auto with_dims = [](std::vector<int64_t> dims) {
    GgufBuilder file = small();
    file.records[0].dims = std::move(dims);
    return file;
  };
  const int64_t big = int64_t{1} << 32;
  EXPECT_GGUF_MESSAGE(with_dims({big, big}), "too large");
  EXPECT_GGUF_MESSAGE(with_dims({big, 1, big}), "too large");
  EXPECT_GGUF_MESSAGE(with_dims({0, big, big}), "too large");  // in whatever order they are multiplied
  EXPECT_GGUF_MESSAGE(with_dims({big, big, 0}), "too large");
  EXPECT_GGUF_MESSAGE(with_dims({INT64_MAX, 1, 1, 1}), "too large");  // bytes overflow
  EXPECT_GGUF_MESSAGE(with_dims({INT64_MAX / 4, 1}), "beyond the end");
  EXPECT_GGUF_MESSAGE(with_dims({-1}), "negative dimension");
  EXPECT_GGUF_MESSAGE(with_dims({-1, -6}), "negative dimension");
  EXPECT_GGUF_MESSAGE(with_dims({1, 1, 1, 1, 1}), "too many dimensions");
  EXPECT_EQ(gguf_message(with_dims({3, 2, 1, 1})), "");
}

TEST(Gguf, EmptyTensorsAndScalarsAreRead) {
  GgufBuilder file;
  file.tensor("empty", DType::q4_k, {3, 0}, {}).tensor("scalar", DType::f32, {}, zeros(4));
  file.tensor("none", DType::f32, {0, 7}, {});
  const Read read(file.bytes());
  ASSERT_OK(read.file);
  EXPECT_EQ(read.file->tensors[0].bytes, 0);
  EXPECT_EQ(read.file->tensors[1].bytes, 4);
  EXPECT_EQ(read.file->tensors[1].elements(), 1);
  EXPECT_EQ(read.file->tensors[2].elements(), 0);
}

// 5: bytes lie in the file.
TEST(Gguf, TensorsBeyondTheEndAreErrors) {
  GgufBuilder file = small();
  file.records[2].offset = 160;
  EXPECT_GGUF_MESSAGE(file, "beyond the end");
  file.records[2].offset = uint64_t{1} << 62;
  EXPECT_GGUF_MESSAGE(file, "beyond the end");
  file = small();
  file.records[2].dims = {1 << 20};
  EXPECT_GGUF_MESSAGE(file, "beyond the end");
  file.data.clear();
  EXPECT_GGUF_MESSAGE(file, "beyond the end");
}

// 6: type numbers.
TEST(Gguf, UnknownAndRemovedTypesAreRefusedByName) {
  for (const int32_t type : {4, 5, 9, 15, 31, 32, 33, 36, 37, 38, 1000, -1, INT32_MIN}) {
    GgufBuilder file = small();
    file.records[1].type = type;
    EXPECT_GGUF_MESSAGE(file, "second: tensor type is not supported");
    EXPECT_EQ(code_of(file), ErrorCode::unsupported);
  }
  GgufBuilder file = small();
  file.records[1].type = 31;
  EXPECT_GGUF_MESSAGE(file, "removed from the format");
}

// 7: whole blocks.
TEST(Gguf, RowsOfPartialBlocksAreErrors) {
  GgufBuilder file = small();
  file.records[1].dims = {48, 2};
  EXPECT_GGUF_MESSAGE(file, "multiple of 32");
}

// 8: alignment.
TEST(Gguf, UnusableAlignmentsAreErrors) {
  const auto with = [](auto alignment) {
    GgufBuilder file;
    file.number("general.alignment", alignment);
    return file;
  };
  EXPECT_EQ(gguf_message(with(uint32_t{1})), "");
  EXPECT_EQ(gguf_message(with(uint32_t{1} << 20)), "");
  EXPECT_GGUF_MESSAGE(with(uint32_t{0}), "alignment is not usable");
  EXPECT_GGUF_MESSAGE(with(uint32_t{48}), "alignment is not usable");
  EXPECT_GGUF_MESSAGE(with(uint32_t{1} << 21), "alignment is not usable");
  EXPECT_GGUF_MESSAGE(with(uint64_t{32}), "alignment is not usable");
  EXPECT_GGUF_MESSAGE(with(int32_t{32}), "alignment is not usable");
}

TEST(Gguf, OtherAlignmentsPlaceTensorsAccordingly) {
  for (const uint32_t alignment : {1u, 8u, 4096u}) {
    GgufBuilder file;
    file.alignment = alignment;
    file.number("general.alignment", alignment);
    file.tensor("a", DType::i8, {3}, testing::as_vector("abc")).tensor("b", DType::i8, {2}, testing::as_vector("de"));
    const Read read(file.bytes());
    ASSERT_OK(read.file);
    const TensorInfo& b = read.file->tensors[1];
    EXPECT_EQ(as_text(read.source->mapped(b.offset, b.bytes)), "de");
    EXPECT_EQ(b.offset % alignment, 0);
  }
}

// 9, 10: places in the file.
TEST(Gguf, MisalignedAndOverlappingTensorsAreErrors) {
  GgufBuilder file = small();
  file.records[1].offset += 1;
  EXPECT_GGUF_MESSAGE(file, "not aligned");
  file.records[1].offset = UINT64_MAX - 31;
  EXPECT_GGUF_MESSAGE(file, "not aligned");  // a multiple of 32, but beyond every file
  file = small();
  file.records[2].offset = 64;  // inside the second
  EXPECT_GGUF_MESSAGE(file, "overlaps tensor second");
  file.records[2].offset = 0;
  EXPECT_GGUF_MESSAGE(file, "overlaps");
}

TEST(Gguf, AnUnusualLayoutIsReadAndRemarked) {
  GgufBuilder file = small();
  std::swap(file.records[0], file.records[2]);
  const Read read(file.bytes());
  ASSERT_OK(read.file);
  EXPECT_EQ(read.file->remarks.size(), 1u);
}

TEST(Gguf, ThePaddingOfTheLastTensorMayBeMissing) {
  GgufBuilder file;
  file.tensor("a", DType::i8, {3}, testing::as_vector("abc"));
  EXPECT_EQ(gguf_message(file), "");
}

// 11: duplicates.
TEST(Gguf, DuplicateAndEmptyNamesAreErrors) {
  EXPECT_GGUF_MESSAGE(GgufBuilder().number("key", 1).number("key", 2), "appears twice");
  EXPECT_GGUF_MESSAGE(GgufBuilder().number("", 1), "key is empty");
  GgufBuilder file = small();
  file.records[2].name = "first";
  EXPECT_GGUF_MESSAGE(file, "first: tensor name appears twice");
  file.records[2].name = std::string(64, 'x');
  EXPECT_GGUF_MESSAGE(file, "name is too long");
  file.records[2].name = std::string(63, 'x');
  EXPECT_EQ(gguf_message(file), "");
}

TEST(Gguf, MemoryIsProportionalToTheFile) {
  GgufBuilder file;  // 200,000 strings that stay where they are
  const std::vector<std::string> words(200'000, "word");
  file.texts("tokenizer.ggml.tokens", words);
  const ByteVector bytes = file.bytes();
  const auto source = memory_source("test", bytes);
  const int64_t before = testing::bytes_allocated();
  ASSERT_OK(read_gguf(*source));
  EXPECT_LT(testing::bytes_allocated() - before, 64 << 10);

  GgufBuilder many;  // records and pairs as small as they get
  for (int i = 0; i < 3000; ++i) many.tensor(std::to_string(i), DType::i8, {0}, {}).number(std::to_string(i), true);
  const ByteVector dense = many.bytes();
  const auto dense_source = memory_source("test", dense);
  const int64_t start = testing::bytes_allocated();
  ASSERT_OK(read_gguf(*dense_source));
  EXPECT_LT(testing::bytes_allocated() - start, static_cast<int64_t>(20 * dense.size()));
}

TEST(Gguf, MessagesDoNotRepeatALongKey) {
  const std::string key(100'000, 'k');
  EXPECT_LT(gguf_message(GgufBuilder().number(key, 1).number(key, 2)).size(), 300u);
}

TEST(Gguf, FilesOfTheGoldensAreRead) {
  FACET_SHARED_OR_SKIP(folder, "golden/gguf");
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    const Result<Checkpoint> checkpoint = Checkpoint::open(entry.path());
    ASSERT_OK(checkpoint);
    EXPECT_TRUE(checkpoint->remarks().empty());
    EXPECT_GT(checkpoint->tensors().size(), 10u);
    EXPECT_TRUE(checkpoint->metadata().string("general.architecture")->has_value());
    ++files;
  }
  EXPECT_GE(files, 6);
}

}  // namespace
}  // namespace facet::formats
