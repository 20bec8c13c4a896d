// Checkpoints: split GGUF files, shards and Hugging Face folders, whole and broken.
#include "formats/checkpoint.h"

#include <array>

#include <gmock/gmock.h>

#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

namespace fs = std::filesystem;
using testing::GgufBuilder;
using testing::SafetensorsBuilder;
using testing::TemporaryFolder;
using testing::write_bytes;

std::string checkpoint_message(const fs::path& path) {
  const Result<Checkpoint> checkpoint = Checkpoint::open(path);
  return checkpoint.ok() ? "" : checkpoint.error().message();
}

#define EXPECT_CHECKPOINT_MESSAGE(path, part) EXPECT_THAT(checkpoint_message(path), ::testing::HasSubstr(part))

void write_text(const fs::path& path, std::string_view text) { write_bytes(path, as_bytes(text)); }

// Part `number` (from 0) of `count`, with one tensor named after it.
GgufBuilder part(int number, int count, std::string tensor) {
  GgufBuilder file;
  if (number == 0) file.text("general.architecture", "gemma4");
  file.number("split.no", static_cast<uint16_t>(number)).number("split.count", static_cast<uint16_t>(count));
  file.number("split.tensors.count", int32_t{count});
  const std::array<float, 1> value{static_cast<float>(number)};
  file.tensor(std::move(tensor), DType::f32, {1}, testing::floats_as_bytes(value));
  return file;
}

class SplitGguf : public ::testing::Test {
 protected:
  SplitGguf() {
    for (int i = 0; i < 3; ++i) write_bytes(path(i), part(i, 3, cat("tensor", i)).bytes());
  }
  fs::path path(int number) const { return folder_.path() / cat("model-0000", number + 1, "-of-00003.gguf"); }
  void expect_bad(std::string_view part_of_message) const { EXPECT_CHECKPOINT_MESSAGE(path(0), part_of_message); }

  TemporaryFolder folder_;
};

TEST_F(SplitGguf, OpensAllPartsFromTheFirst) {
  const Result<Checkpoint> checkpoint = Checkpoint::open(path(0));
  ASSERT_OK(checkpoint);
  ASSERT_EQ(checkpoint->tensors().size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const TensorInfo* tensor = checkpoint->find(cat("tensor", i));
    ASSERT_NE(tensor, nullptr);
    const std::array<float, 1> value{static_cast<float>(i)};
    const Bytes bytes = checkpoint->bytes(*tensor);
    EXPECT_EQ(testing::ByteVector(bytes.begin(), bytes.end()), testing::floats_as_bytes(value));
  }
  EXPECT_EQ(*checkpoint->metadata().string("general.architecture"), "gemma4");
  EXPECT_EQ(checkpoint->file_bytes(),
            static_cast<int64_t>(fs::file_size(path(0)) + fs::file_size(path(1)) + fs::file_size(path(2))));
}

TEST_F(SplitGguf, AFolderOfPartsOpens) { EXPECT_EQ(checkpoint_message(folder_.path()), ""); }

TEST(Checkpoint, OnlyNumberedNamesAreLaterPartsOfAFolder) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "best-of-gemma.gguf", part(0, 1, "tensor0").bytes());
  EXPECT_EQ(checkpoint_message(folder.path()), "");
  write_bytes(folder.path() / "x-00002-of-00003.gguf", part(1, 3, "tensor1").bytes());
  EXPECT_EQ(checkpoint_message(folder.path()), "");
  write_bytes(folder.path() / "x-0002-of-00003.gguf", part(0, 1, "tensor0").bytes());
  EXPECT_CHECKPOINT_MESSAGE(folder.path(), "several GGUF files");
}

TEST_F(SplitGguf, ALaterPartNamesTheFirst) { EXPECT_CHECKPOINT_MESSAGE(path(1), "model-00001-of-00003.gguf"); }

TEST_F(SplitGguf, AMissingPartIsNamed) {
  fs::remove(path(2));
  expect_bad("model-00003-of-00003.gguf");
}

TEST_F(SplitGguf, ABrokenPartIsAnError) {
  fs::resize_file(path(2), 60);
  expect_bad("model-00003-of-00003.gguf");
}

TEST_F(SplitGguf, APartWithAnotherNumberIsAnError) {
  write_bytes(path(2), part(1, 3, "tensor2").bytes());
  expect_bad("another part");
  write_bytes(path(2), GgufBuilder().bytes());
  expect_bad("another part");
}

TEST_F(SplitGguf, DuplicateNamesAcrossPartsAreErrors) {
  write_bytes(path(2), part(2, 3, "tensor0").bytes());
  expect_bad("same name");
}

TEST_F(SplitGguf, AWrongSumOfTensorsIsAnError) {
  GgufBuilder more = part(2, 3, "tensor2");
  more.tensor("more", DType::f32, {0}, {});
  write_bytes(path(2), more.bytes());
  expect_bad("another number of tensors");
}

TEST_F(SplitGguf, ANameThatContradictsTheMetadataIsAnError) {
  fs::rename(path(0), folder_.path() / "renamed.gguf");
  EXPECT_CHECKPOINT_MESSAGE(folder_.path() / "renamed.gguf", "another name");
}

TEST(Checkpoint, AbsurdSplitNumbersAreErrors) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model-00001-of-00003.gguf";
  for (const int64_t number : {INT64_MAX, INT64_MIN, int64_t{-1}, int64_t{7}}) {
    GgufBuilder file;
    file.number("split.no", number).number("split.count", int64_t{3});
    write_bytes(path, file.bytes());
    EXPECT_NE(checkpoint_message(path), "") << number;
  }
  for (const int64_t count : {INT64_MAX, int64_t{100'000}}) {
    GgufBuilder file;
    file.number("split.no", 0).number("split.count", count);
    write_bytes(path, file.bytes());
    EXPECT_NE(checkpoint_message(path), "") << count;
  }
}

// --- Hugging Face folders ---

class HuggingFaceFolder : public ::testing::Test {
 protected:
  HuggingFaceFolder() { write_text(path("config.json"), R"({"model_type": "gemma4"})"); }

  fs::path path(const std::string& name) const { return folder_.path() / name; }
  void write_shard(const std::string& name, std::vector<std::string> tensors) const {
    SafetensorsBuilder file;
    const std::array<float, 2> values{1, 2};
    for (const std::string& tensor : tensors) file.floats(tensor, {2}, values);
    write_bytes(path(name), file.bytes());
  }
  void write_index(std::string_view map) const {
    write_text(path("model.safetensors.index.json"), cat(R"({"weight_map": {)", map, "}}"));
  }

  TemporaryFolder folder_;
};

TEST_F(HuggingFaceFolder, OpensASingleFileWithItsConfiguration) {
  write_shard("model.safetensors", {"a", "b"});
  write_text(path("generation_config.json"), R"({"top_k": 64})");
  write_text(path("tokenizer.json"), "{}");
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder_.path());
  ASSERT_OK(checkpoint);
  EXPECT_EQ(checkpoint->container(), Container::safetensors);
  EXPECT_EQ(*checkpoint->config().find("model_type")->string(), "gemma4");
  EXPECT_EQ(*checkpoint->generation_config().find("top_k")->integer(), 64);
  EXPECT_EQ(checkpoint->tokenizer_file(), path("tokenizer.json"));
  EXPECT_FALSE(checkpoint->template_file().has_value());
  EXPECT_NE(checkpoint->find("b"), nullptr);
  EXPECT_EQ(checkpoint->find("c"), nullptr);
}

TEST_F(HuggingFaceFolder, OpensShards) {
  write_shard("one.safetensors", {"a", "b"});
  write_shard("two.safetensors", {"c"});
  write_index(R"("a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors")");
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder_.path());
  ASSERT_OK(checkpoint);
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->bytes(*checkpoint->find("c")).size(), 8u);
  EXPECT_TRUE(checkpoint->remarks().empty());
}

TEST_F(HuggingFaceFolder, UnmappedTensorsAreLeftOutAndRemarked) {
  write_shard("one.safetensors", {"a", "b"});
  write_index(R"("a": "one.safetensors")");
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder_.path());
  ASSERT_OK(checkpoint);
  EXPECT_EQ(checkpoint->find("b"), nullptr);
  EXPECT_EQ(checkpoint->remarks().size(), 1u);
}

TEST_F(HuggingFaceFolder, ATensorMustBeInTheShardThatTheIndexNames) {
  write_shard("one.safetensors", {"a"});
  write_shard("two.safetensors", {"b"});
  write_index(R"("a": "one.safetensors", "c": "one.safetensors")");
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "c in one.safetensors");
  write_index(R"("a": "two.safetensors", "b": "one.safetensors")");
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "a in two.safetensors");
}

TEST_F(HuggingFaceFolder, TheSameTensorInTwoShardsCountsWhereTheIndexSays) {
  write_shard("one.safetensors", {"a", "b"});
  write_shard("two.safetensors", {"b"});
  write_index(R"("a": "one.safetensors", "b": "two.safetensors")");
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder_.path());
  ASSERT_OK(checkpoint);
  EXPECT_EQ(checkpoint->find("b")->source, 1);
}

TEST_F(HuggingFaceFolder, MissingPiecesAreNamed) {
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "folder holds no model");
  write_index(R"("a": "gone.safetensors")");
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "gone.safetensors");
  write_shard("model.safetensors", {"a"});
  EXPECT_EQ(checkpoint_message(folder_.path()), "");  // goes before the index
  fs::remove(path("config.json"));
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "no config.json");
}

TEST_F(HuggingFaceFolder, BrokenJsonIsNamed) {
  write_shard("model.safetensors", {"a"});
  write_text(path("config.json"), "{");
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "config.json");
}

TEST_F(HuggingFaceFolder, IndicesOfManyFilesAreReadInLinearTime) {
  std::string map;
  for (int i = 0; i < 60'000; ++i) map += cat(i > 0 ? ", " : "", '"', i, R"(": "file)", i, R"(.safetensors")");
  write_index(map);
  EXPECT_CHECKPOINT_MESSAGE(folder_.path(), "file0.safetensors");
}

TEST(Checkpoint, PathsThatAreNothingAreNotFound) {
  const TemporaryFolder folder;
  for (const char* name : {"none.gguf", "none.safetensors", "none"}) {
    const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path() / name);
    ASSERT_FALSE(checkpoint.ok());
    EXPECT_EQ(checkpoint.error().code, ErrorCode::not_found) << name;
    EXPECT_NE(checkpoint.error().message().find(name), std::string::npos);
  }
}

TEST(Checkpoint, AFolderWithSeveralModelsAsksForOne) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "a.gguf", GgufBuilder().bytes());
  EXPECT_EQ(checkpoint_message(folder.path()), "");
  write_bytes(folder.path() / "b.gguf", GgufBuilder().bytes());
  EXPECT_CHECKPOINT_MESSAGE(folder.path(), "several");
}

TEST(Checkpoint, FoldersOfTheGoldensOpen) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(text)) {
    const Result<Checkpoint> checkpoint = Checkpoint::open(entry.path());
    ASSERT_OK(checkpoint);
    EXPECT_TRUE(checkpoint->remarks().empty()) << entry.path();
    EXPECT_FALSE(checkpoint->config().is_null());
    ++folders;
  }
  EXPECT_GE(folders, 13);
}

}  // namespace
}  // namespace facet::formats
