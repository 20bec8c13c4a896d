// Pack files: what is written comes back, and no head that is not whole and right is taken for one.
#include "formats/pack_file.h"

#include <bit>
#include <cstring>
#include <functional>

#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

using testing::ByteVector;

// Two matrices of bytes that only they have.
struct Example {
  ByteVector first = pattern(5000, 1), second = pattern(100, 2);
  std::vector<PackedMatrix> matrices = {
      {.name = "a", .weight = weight(DType::q4_0, first)},
      {.name = "b rows 3 + 4", .weight = weight(DType::bf16, second)},
  };
  PackHead head = PackHead::of("facet\nfile 1 2 3\n", "/models/m.gguf", matrices);

  static ByteVector pattern(size_t n, size_t step) {
    ByteVector bytes(n);
    for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(1 + i * step);
    return bytes;
  }
  static Weight weight(DType type, const ByteVector& bytes) {
    return {.type = type, .layout = Layout::panels, .rows = 20, .cols = 32, .groups = 3, .data = bytes};
  }
};

class PackFileTest : public ::testing::Test {
 protected:
  ByteVector written() {
    EXPECT_OK(write_pack(path_, example_.head, example_.matrices, nullptr));
    return as_vector(*read_file(path_, 1 << 20));
  }
  static ByteVector as_vector(const std::string& text) { return testing::as_vector(text); }
  Result<std::shared_ptr<const PackFile>> open(Bytes bytes) {
    testing::write_bytes(path_, bytes);
    return PackFile::open(path_);
  }

  testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "m.pack";
  Example example_;
};

TEST_F(PackFileTest, WhatIsWrittenComesBack) {
  written();
  const Result<std::shared_ptr<const PackFile>> pack = PackFile::open(path_);
  ASSERT_OK(pack);
  EXPECT_EQ((*pack)->head().identity, example_.head.identity);
  EXPECT_EQ((*pack)->head().source, "/models/m.gguf");
  (*pack)->populate([] { return true; });
  for (const PackedMatrix& matrix : example_.matrices) {
    const std::optional<Weight> found = (*pack)->find(matrix.name);
    ASSERT_TRUE(found.has_value()) << matrix.name;
    EXPECT_EQ(found->type, matrix.weight.type);
    EXPECT_EQ(found->layout, Layout::panels);
    EXPECT_EQ(found->rows, 20);
    EXPECT_EQ(found->cols, 32);
    EXPECT_EQ(found->groups, 3);
    EXPECT_EQ(as_text(found->data), as_text(matrix.weight.data));
    EXPECT_EQ(std::bit_cast<uintptr_t>(found->data.data()) % kPackAlignment, 0u);
  }
  EXPECT_FALSE((*pack)->find("b").has_value());
}

TEST_F(PackFileTest, APackWithoutMatricesIsOne) {
  ASSERT_OK(write_pack(path_, PackHead::of("", "", {}), {}, nullptr));
  EXPECT_OK(PackFile::open(path_));
}

TEST_F(PackFileTest, EveryChangedByteOfTheHeadShows) {
  const ByteVector whole = written();
  const auto head = static_cast<size_t>(example_.head.entries.front().offset);
  for (size_t i = 0; i < head; ++i) {
    ByteVector damaged = whole;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(PackHead::parse(damaged, static_cast<int64_t>(damaged.size()), "p").ok()) << i;
  }
  EXPECT_OK(PackHead::parse(whole, static_cast<int64_t>(whole.size()), "p"));
}

TEST_F(PackFileTest, NoOtherLengthWillDo) {
  const ByteVector whole = written();
  for (size_t n = 0; n < whole.size(); n += n < 400 ? 1 : 97)
    EXPECT_FALSE(PackHead::parse(Bytes(whole).first(n), static_cast<int64_t>(n), "p").ok()) << n;
  ByteVector longer = whole;
  longer.resize(longer.size() + 1);
  EXPECT_EQ(open(longer).error().code, ErrorCode::corrupt);
  longer.resize(longer.size() - 2);
  EXPECT_EQ(open(longer).error().code, ErrorCode::corrupt);
  EXPECT_OK(open(whole));
}

// Fields with a right hash: what another writer might get wrong.
TEST_F(PackFileTest, EveryFieldIsChecked) {
  const ByteVector whole = written();
  const auto all = static_cast<size_t>(example_.head.entries.front().offset);
  const size_t entry = 48 + example_.head.identity.size() + example_.head.source.size();
  const size_t second = entry + 48 + 1;
  struct Case {
    const char* what;
    size_t at;
    int64_t value;
    size_t bytes;
    ErrorCode code = ErrorCode::corrupt;
  };
  const Case cases[] = {
      {"magic", 0, 'F', 1},
      {"version", 8, kPackVersion + 1, 4, ErrorCode::unsupported},
      {"one matrix too many", 12, 3, 4},
      {"many too many", 12, int64_t{1} << 31, 4},
      {"bytes of the file", 16, 1 << 20, 8},
      {"negative bytes of the file", 16, -1, 8},
      {"head beyond the file", 24, 1 << 20, 8},
      {"head shorter than its fields", 24, 40, 8},
      {"negative head", 24, -8, 8},
      {"identity beyond the head", 32, 1 << 20, 4},
      {"path beyond the head", 36, 0x7FFFFFFF, 4},
      {"hash", 40, 0, 8},
      {"name beyond the head", entry, 1 << 20, 4},
      {"no such type", entry + 4, 200, 4},
      {"no rows", entry + 8, 0, 8},
      {"negative columns", entry + 16, -32, 8},
      {"no groups", entry + 24, 0, 8},
      {"offset inside the head", entry + 32, 0, 8},
      {"offset that is no page", entry + 32, 4096 + 64, 8},
      {"offset beyond the file", entry + 32, int64_t{1} << 40, 8},
      {"negative offset", entry + 32, -4096, 8},
      {"more bytes than the file", entry + 40, int64_t{1} << 62, 8},
      {"no bytes", entry + 40, 0, 8},
      {"into the next matrix", entry + 40, 4096 * 2 + 1, 8},
      {"the first one's place", second + 32, example_.head.entries.front().offset, 8},
  };
  for (const Case& one : cases) {
    ByteVector wrong = whole;
    std::memcpy(wrong.data() + one.at, &one.value, one.bytes);
    if (one.at != 40) {
      const uint64_t hash = pack_hash(Bytes(wrong).first(all));
      std::memcpy(wrong.data() + 40, &hash, sizeof hash);
    }
    const Result<std::shared_ptr<const PackFile>> opened = open(wrong);
    ASSERT_FALSE(opened.ok()) << one.what;
    EXPECT_EQ(opened.error().code, one.code) << one.what << ": " << opened.error().message();
  }
}

TEST_F(PackFileTest, TwoMatricesOfOneNameAreRefused) {
  example_.matrices[1].name = "a";
  example_.head = PackHead::of("", "", example_.matrices);
  written();
  EXPECT_EQ(PackFile::open(path_).error().code, ErrorCode::corrupt);
}

TEST_F(PackFileTest, OtherThingsAreNoPacks) {
  EXPECT_EQ(PackFile::open(path_).error().code, ErrorCode::not_found);
  EXPECT_EQ(PackFile::open(folder_.path()).error().code, ErrorCode::io);
  EXPECT_EQ(open({}).error().code, ErrorCode::corrupt);
}

class Stop : public Progress {
 public:
  bool update(std::string_view, int64_t done, int64_t total) override {
    EXPECT_LE(done, total);
    return ++calls < 2;
  }
  int calls = 0;
};

TEST_F(PackFileTest, WritingCanBeStopped) {
  Stop stop;
  const Result<void> result = write_pack(path_, example_.head, example_.matrices, &stop);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace facet::formats
