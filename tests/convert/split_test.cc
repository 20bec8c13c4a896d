// Splitting and merging keep every byte of tensors and every pair.
#include "convert/split.h"

#include <algorithm>
#include <fstream>

#include "base/strings.h"
#include "formats/checkpoint.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::convert {
namespace {

namespace fs = std::filesystem;
using facet::testing::source_path;
using facet::testing::TemporaryFolder;
using formats::Checkpoint;

const char* const kFiles[] = {"nano-q4_0.gguf", "moe-micro-q4_k_m.gguf"};

fs::path golden(const char* file) { return source_path(std::string("tests/golden/data/gguf/") + file); }

void expect_same_tensors(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (size_t i = 0; i < a.tensors().size(); ++i) {
    const formats::TensorInfo &left = a.tensors()[i], &right = b.tensors()[i];
    EXPECT_EQ(left.name, right.name);
    EXPECT_EQ(left.type, right.type) << left.name;
    EXPECT_EQ(left.shape, right.shape) << left.name;
    EXPECT_TRUE(std::ranges::equal(a.bytes(left), b.bytes(right))) << left.name;
  }
}

void expect_same_pairs(const Checkpoint& a, const Checkpoint& b) {
  size_t extra = 0;
  for (const auto& [key, value] : b.metadata().all()) extra += key.starts_with("split.") ? 1 : 0;
  EXPECT_EQ(a.metadata().all().size() + extra, b.metadata().all().size());
  for (const auto& [key, value] : a.metadata().all()) {
    const formats::GgufValue* other = b.metadata().find(key);
    ASSERT_NE(other, nullptr) << key;
    EXPECT_TRUE(other->type == value.type && std::ranges::equal(other->bytes, value.bytes)) << key;
  }
}

TEST(Split, PartsAndTheirMergeAreTheSameModel) {
  for (const char* file : kFiles) {
    for (const formats::SplitOptions& split :
         {formats::SplitOptions{.max_tensors = 20}, formats::SplitOptions{.max_bytes = 100'000}}) {
      const TemporaryFolder folder;
      const auto parts = split_gguf(golden(file), folder.path() / "part", split, Overwrite::no, nullptr);
      ASSERT_OK(parts);
      ASSERT_GE(parts->size(), 2u);
      EXPECT_TRUE(parts->front().filename().string().starts_with("part-00001-of-000")) << parts->front();
      const Result<Checkpoint> original = Checkpoint::open(golden(file)), cut = Checkpoint::open(parts->front());
      ASSERT_OK(cut);
      expect_same_tensors(*original, *cut);
      expect_same_pairs(*original, *cut);
      ASSERT_OK(merge_gguf(parts->front(), folder.path() / "whole.gguf", Overwrite::no, nullptr));
      const Result<Checkpoint> merged = Checkpoint::open(folder.path() / "whole.gguf");
      ASSERT_OK(merged);
      expect_same_tensors(*original, *merged);
      expect_same_pairs(*merged, *original);
      EXPECT_EQ(*sha256_of(folder.path() / "whole.gguf"), *sha256_of(golden(file)));
    }
  }
}

TEST(Split, RefusesWhatMakesNoSense) {
  const TemporaryFolder folder;
  const fs::path file = golden(kFiles[0]), prefix = folder.path() / "p";
  const auto code = [](const auto& result) { return result.ok() ? std::string("fine") : name(result.error().code); };
  EXPECT_EQ(code(split_gguf(file, prefix, {}, Overwrite::no, nullptr)), "invalid argument");
  EXPECT_EQ(code(split_gguf(file, prefix, {.max_tensors = 100'000}, Overwrite::no, nullptr)), "invalid argument");
  EXPECT_EQ(code(merge_gguf(file, folder.path() / "m.gguf", Overwrite::no, nullptr)), "invalid argument");
  EXPECT_EQ(code(split_gguf(source_path("tests/golden/data/text/tiny-e"), prefix, {.max_tensors = 5}, Overwrite::no,
                            nullptr)),
            "unsupported");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Split, ReplacesFilesOnlyWhereAsked) {
  const TemporaryFolder folder;
  const fs::path file = golden(kFiles[0]);
  const auto split = [&](Overwrite overwrite) {
    return split_gguf(file, folder.path() / "p", {.max_tensors = 60}, overwrite, nullptr);
  };
  ASSERT_OK(split(Overwrite::no));
  const auto again = split(Overwrite::no);
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message().find("--force"), std::string::npos);
  ASSERT_OK(split(Overwrite::yes));
}

// Stops after some calls.
class StopAfter : public Progress {
 public:
  explicit StopAfter(int calls) : calls_(calls) {}
  bool update(std::string_view, int64_t, int64_t) override { return --calls_ > 0; }

 private:
  int calls_;
};

TEST(Split, StoppedWorkLeavesNothing) {
  const TemporaryFolder folder;
  for (const int calls : {1, 5, 70}) {
    StopAfter progress(calls);
    const auto parts =
        split_gguf(golden(kFiles[0]), folder.path() / "p", {.max_tensors = 60}, Overwrite::no, &progress);
    ASSERT_FALSE(parts.ok());
    EXPECT_EQ(parts.error().code, ErrorCode::cancelled);
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
}

TEST(Outputs, Sha256IsTheKnownOne) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "abc") << "abc";
  std::ofstream(folder.path() / "empty");
  EXPECT_EQ(*sha256_of(folder.path() / "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(*sha256_of(folder.path() / "empty"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of(folder.path() / "none").error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace facet::convert
