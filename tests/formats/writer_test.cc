// What is written reads back: both containers, whole and in parts.
#include "formats/checkpoint_writer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

// Sizes that need padding and sizes that do not, scalars, nothing, and blocks.
std::vector<NewTensor> tensors(bool blocks) {
  std::vector<NewTensor> out = {{"a", DType::f32, {3, 5}},   {"b", DType::bf16, {7}},    {"c", DType::f16, {2, 2, 2}},
                                {"empty", DType::f32, {0}},  {"scalar", DType::i64, {}}, {"d", DType::f32, {8}},
                                {"last", DType::i32, {1, 9}}};
  if (blocks) {
    out.push_back({"q", DType::q4_0, {3, 64}});
    out.push_back({"k", DType::q6_k, {2, 256}});
  }
  return out;
}

std::vector<std::byte> contents(const NewTensor& tensor, int seed) {
  std::vector<std::byte> out(static_cast<size_t>(tensor.bytes()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(seed * 31 + static_cast<int>(i) * 7);
  return out;
}

// Writes all tensors in pieces of `piece` bytes.
Result<void> fill(CheckpointWriter& writer, const std::vector<NewTensor>& list, size_t piece) {
  std::vector<std::byte> all;
  int seed = 0;
  for (const NewTensor& tensor : list)
    for (const std::byte byte : contents(tensor, seed++)) all.push_back(byte);
  for (size_t at = 0; at < all.size(); at += piece)
    FACET_TRY_VOID(writer.write(Bytes(all).subspan(at, std::min(piece, all.size() - at))));
  return writer.finish();
}

void expect_same(const Checkpoint& checkpoint, const std::vector<NewTensor>& list) {
  EXPECT_EQ(checkpoint.tensors().size(), list.size());
  int seed = 0;
  for (const NewTensor& tensor : list) {
    const std::vector<std::byte> expected = contents(tensor, seed++);
    const TensorInfo* found = checkpoint.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->type, tensor.type) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(checkpoint.bytes(*found), expected)) << tensor.name;
  }
}

GgufPairs every_type() {
  GgufPairs pairs;
  pairs.set("general.architecture", "test");
  pairs.set("u32", uint32_t{7});
  pairs.set("i32", int32_t{-7});
  pairs.set("u16", uint16_t{9});
  pairs.set("f32", 0.5f);
  pairs.set("flag", true);
  pairs.set("texts", std::vector<std::string_view>{"one", "", "three"});
  pairs.set("numbers", std::span<const int32_t>(std::vector<int32_t>{1, -2, 3}));
  pairs.set("floats", std::span<const float>(std::vector<float>{1.5f, -2.5f}));
  pairs.set("flags", std::vector<bool>{true, false, true});
  return pairs;
}

void expect_every_type(const GgufMetadata& metadata) {
  EXPECT_EQ(*metadata.integer("u32").value(), 7);
  EXPECT_EQ(*metadata.integer("i32").value(), -7);
  EXPECT_EQ(metadata.find("u16")->type, GgufType::u16);
  EXPECT_EQ(*metadata.number("f32").value(), 0.5);
  EXPECT_EQ(*metadata.boolean("flag").value(), true);
  EXPECT_EQ(metadata.find("texts")->strings(), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(metadata.find("numbers")->integers(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(metadata.find("floats")->floats(), (std::vector<float>{1.5f, -2.5f}));
  EXPECT_EQ(metadata.find("flags")->integers(), (std::vector<int64_t>{1, 0, 1}));
}

TEST(GgufWriter, WhatIsWrittenReadsBackWhateverTheCut) {
  for (const size_t piece : {1, 7, 4096}) {
    const TemporaryFolder folder;
    const fs::path path = folder.path() / "m.gguf";
    auto writer = new_gguf(path, every_type(), tensors(true));
    ASSERT_OK(writer);
    ASSERT_OK(fill(**writer, tensors(true), piece));
    const Result<Checkpoint> checkpoint = Checkpoint::open(path);
    ASSERT_OK(checkpoint);
    EXPECT_TRUE(checkpoint->remarks().empty());
    expect_same(*checkpoint, tensors(true));
    expect_every_type(checkpoint->metadata());
  }
}

TEST(GgufWriter, CopiesPairsOfAnyTypeAndObeysTheAlignment) {
  const TemporaryFolder folder;
  GgufPairs pairs = every_type();
  pairs.set("general.alignment", uint32_t{256});
  auto first = new_gguf(folder.path() / "a.gguf", pairs, tensors(true));
  ASSERT_OK(first);
  ASSERT_OK(fill(**first, tensors(true), 100));
  const Checkpoint checkpoint = *Checkpoint::open(folder.path() / "a.gguf");
  for (const TensorInfo& tensor : checkpoint.tensors()) EXPECT_EQ(tensor.offset % 256, 0);
  GgufPairs copied;
  copied.copy(checkpoint.metadata());
  auto second = new_gguf(folder.path() / "b.gguf", copied, tensors(true));
  ASSERT_OK(second);
  ASSERT_OK(fill(**second, tensors(true), 100));
  EXPECT_EQ(*read_file(folder.path() / "a.gguf", 1 << 20), *read_file(folder.path() / "b.gguf", 1 << 20));
}

TEST(GgufWriter, PairsAreReplacedAndErased) {
  GgufPairs pairs = every_type();
  const size_t before = pairs.size();
  pairs.set("u32", "text now");
  EXPECT_EQ(pairs.size(), before);
  pairs.erase("u32");
  EXPECT_EQ(pairs.size(), before - 1);
  pairs.set("general.alignment", uint32_t{24});
  EXPECT_EQ(pairs.alignment().error().code, ErrorCode::invalid_argument);
}

TEST(GgufWriter, PartsAreFilesThatReadTogether) {
  const TemporaryFolder folder;
  for (const SplitOptions& split : {SplitOptions{.max_tensors = 2}, SplitOptions{.max_bytes = 100}}) {
    auto writer = new_gguf(folder.path() / "m.gguf", every_type(), tensors(true), split);
    ASSERT_OK(writer);
    const std::vector<fs::path> paths = (*writer)->paths();
    ASSERT_GT(paths.size(), 2u);
    EXPECT_EQ(paths.front().filename(), cat("m-00001-of-0000", paths.size(), ".gguf"));
    EXPECT_TRUE(fs::is_empty(folder.path())) << "nothing appears before all is written";
    ASSERT_OK(fill(**writer, tensors(true), 13));
    const Result<Checkpoint> checkpoint = Checkpoint::open(paths.front());
    ASSERT_OK(checkpoint);
    expect_same(*checkpoint, tensors(true));
    expect_every_type(checkpoint->metadata());
    for (const fs::path& path : paths) fs::remove(path);
  }
}

TEST(GgufWriter, RefusesWhatAFileCannotHold) {
  const TemporaryFolder folder;
  const auto code = [&](const char* file, NewTensor tensor) {
    const auto writer = new_gguf(folder.path() / file, {}, {{"ok", DType::f32, {1}}, std::move(tensor)});
    return writer.ok() ? std::string("fine") : name(writer.error().code);
  };
  EXPECT_EQ(code("m.gguf", {"x", DType::f32, {1}}), "fine");
  EXPECT_EQ(code("m.bin", {"x", DType::f32, {1}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"ok", DType::f32, {1}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {std::string(64, 'n'), DType::f32, {1}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"", DType::f32, {1}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"x", DType::f32, {1, 1, 1, 1, 1}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"x", DType::u64, {1}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"x", DType::q4_0, {2, 33}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"x", DType::f32, {int64_t{1} << 40, int64_t{1} << 40}}), "invalid argument");
  EXPECT_EQ(code("m.gguf", {"x", DType::f32, {int64_t{1} << 50}}), "exhausted");
}

TEST(Writer, MissingAndSuperfluousBytesAreErrors) {
  const TemporaryFolder folder;
  const std::vector<NewTensor> list = {{"x", DType::f32, {2}}, {"y", DType::f32, {1}}};
  auto writer = new_safetensors(folder.path(), list);
  ASSERT_OK(writer);
  const std::vector<std::byte> bytes(13);
  ASSERT_OK((*writer)->write(Bytes(bytes).first(9)));
  const Result<void> early = (*writer)->finish();
  ASSERT_FALSE(early.ok());
  EXPECT_NE(early.error().message().find("bytes of y are missing"), std::string::npos) << early.error().message();
  EXPECT_FALSE((*writer)->write(bytes).ok());
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SafetensorsWriter, WhatIsWrittenReadsBack) {
  const TemporaryFolder folder;
  for (const size_t piece : {1, 1000}) {
    auto writer = new_safetensors(folder.path() / "new" / "model", tensors(false));
    ASSERT_OK(writer);
    ASSERT_OK(fill(**writer, tensors(false), piece));
    const fs::path path = folder.path() / "new" / "model" / "model.safetensors";
    const Result<Checkpoint> checkpoint = Checkpoint::open(path);
    ASSERT_OK(checkpoint);
    expect_same(*checkpoint, tensors(false));
    EXPECT_EQ(checkpoint->tensors().front().offset % 8, 0);
  }
  EXPECT_EQ(new_safetensors(folder.path(), tensors(true)).error().code, ErrorCode::invalid_argument);
  std::ofstream(folder.path() / "file") << "x";
  EXPECT_EQ(new_safetensors(folder.path() / "file" / "x", tensors(false)).error().code, ErrorCode::io);
}

TEST(SafetensorsWriter, ShardsHaveAnIndexThatAppearsLast) {
  const TemporaryFolder folder;
  auto writer = new_safetensors(folder.path(), tensors(false), {.max_bytes = 40});
  ASSERT_OK(writer);
  EXPECT_EQ((*writer)->paths().front().filename(), "model.safetensors.index.json");
  ASSERT_OK(fill(**writer, tensors(false), 11));
  ASSERT_OK(write_file_atomic(folder.path() / "config.json", as_bytes("{}")));
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  ASSERT_OK(checkpoint);
  expect_same(*checkpoint, tensors(false));
  EXPECT_TRUE(checkpoint->remarks().empty());
}

TEST(Writer, PartsKeepToTheLimitHeadersIncluded) {
  const TemporaryFolder folder;
  std::vector<NewTensor> list;
  for (int i = 0; i < 40; ++i) list.push_back({cat("tensor.", i), DType::f32, {100}});
  GgufPairs pairs;
  pairs.set("general.name", std::string(3000, 'n'));
  auto gguf = new_gguf(folder.path() / "m.gguf", pairs, list, {.max_bytes = 5000});
  ASSERT_OK(gguf);
  ASSERT_OK(fill(**gguf, list, 777));
  auto safetensors = new_safetensors(folder.path(), list, {.max_bytes = 5000});
  ASSERT_OK(safetensors);
  ASSERT_OK(fill(**safetensors, list, 777));
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    if (entry.path().extension() == ".json") continue;
    ++files;
    EXPECT_LE(fs::file_size(entry.path()), 5000u) << entry.path();
  }
  EXPECT_LT(files, 16);
}

TEST(Writer, OfASetThatCannotBeNamedNothingStays) {
  const TemporaryFolder folder;
  auto writer = new_gguf(folder.path() / "m.gguf", every_type(), tensors(true), {.max_tensors = 2});
  ASSERT_OK(writer);
  const std::vector<fs::path> paths = (*writer)->paths();
  std::ofstream(paths[0]) << "of an older set, which would open with later parts of the new one";
  fs::create_directory(paths[1]);
  const Result<void> finished = fill(**writer, tensors(true), 100);
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.error().code, ErrorCode::io);
  for (const fs::path& path : paths) EXPECT_TRUE(!fs::exists(path) || fs::is_directory(path)) << path;
}

TEST(Writer, AKilledProcessLeavesNoFile) {
  const TemporaryFolder folder;
  for (int round = 0; round < 4; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto writer = new_gguf(folder.path() / "m.gguf", {}, {{"x", DType::f32, {1 << 20}}}, {});
      (void)(*writer)->write(std::vector<std::byte>(static_cast<size_t>(round) << 20));
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_FALSE(fs::exists(folder.path() / "m.gguf"));
  }
}

}  // namespace
}  // namespace facet::formats
