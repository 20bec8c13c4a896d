// The identity of packed weights: a model that may have changed is never taken for the one that was packed.
#include "formats/pack_identity.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

namespace fs = std::filesystem;

constexpr size_t kTensorBytes = 1 << 20;

class PackIdentityTest : public ::testing::Test {
 protected:
  PackIdentityTest() {
    testing::GgufBuilder file;
    file.tensor("w", DType::f32, {512, 512}, testing::ByteVector(kTensorBytes));
    testing::write_bytes(path_, file.bytes());
  }
  static std::string identity(const fs::path& path, const TypeMap* types = nullptr) {
    const Result<Checkpoint> checkpoint = Checkpoint::open(path);
    if (!checkpoint.ok()) return checkpoint.error().message();
    const Result<std::optional<std::string>> found = pack_identity(*checkpoint, types);
    return found.ok() && *found ? **found : "none";
  }
  // The hash of samples: the last word of the line "file …".
  static std::string samples(const std::string& identity) {
    std::istringstream in(identity.substr(identity.find("file ")));
    std::string word, size, modified, changed, hash;
    in >> word >> size >> modified >> changed >> hash;
    return hash;
  }
  // Changes one byte, leaving size and time of modification as they were.
  void change_byte(int64_t at) const {
    struct stat before;
    ASSERT_EQ(::stat(path_.c_str(), &before), 0);
    std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary).seekp(at).put('x');
    const timespec times[2] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
    struct stat after;
    ASSERT_EQ(::stat(path_.c_str(), &after), 0);
    ASSERT_EQ(after.st_size, before.st_size);
    ASSERT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  }

  testing::TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "m.gguf";
};

TEST_F(PackIdentityTest, IsTheSameByEveryPath) {
  fs::create_symlink(path_, folder_.path() / "link.gguf");
  EXPECT_EQ(identity(path_), identity(folder_.path() / "link.gguf"));
  EXPECT_NE(identity(path_).find("panels 1\n"), std::string::npos) << identity(path_);
}

TEST_F(PackIdentityTest, AByteBetweenTheSamplesShowsInTheTimeOfTheChange) {
  const std::string before = identity(path_);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // more than a step of the disk's clock
  change_byte(kTensorBytes / 2 + 10'000);
  const std::string after = identity(path_);
  EXPECT_NE(after, before);
  EXPECT_EQ(samples(after), samples(before));  // it is not the content that gives it away
}

TEST_F(PackIdentityTest, SamplesShowAChangeWhereTimesDoNot) {
  const std::string before = identity(path_);
  const auto last = static_cast<int64_t>(fs::file_size(path_)) - 1;
  change_byte(last);
  EXPECT_NE(samples(identity(path_)), samples(before));
}

TEST_F(PackIdentityTest, WhatTensorsBecomeCounts) {
  const TypeMap q8{{"w", DType::q8_0}}, q4{{"w", DType::q4_0}}, none;
  EXPECT_EQ(identity(path_, &none), identity(path_));
  EXPECT_NE(identity(path_, &q8), identity(path_));
  EXPECT_NE(identity(path_, &q8), identity(path_, &q4));
}

TEST_F(PackIdentityTest, AFileThatHasJustChangedIsNotSettled) {
  EXPECT_FALSE(is_settled(*Checkpoint::open(path_)));
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  const Result<Checkpoint> checkpoint = Checkpoint::open(path_);
  ASSERT_OK(checkpoint);
  EXPECT_TRUE(is_settled(*checkpoint));
  change_byte(kTensorBytes / 2);
  EXPECT_FALSE(is_settled(*checkpoint));
}

TEST_F(PackIdentityTest, AFileThatIsGoneOrReplacedIsNotSettled) {
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  const Result<Checkpoint> checkpoint = Checkpoint::open(path_);
  ASSERT_OK(checkpoint);
  ASSERT_TRUE(is_settled(*checkpoint));
  fs::rename(path_, folder_.path() / "away.gguf");
  EXPECT_FALSE(is_settled(*checkpoint));
  fs::copy_file(folder_.path() / "away.gguf", path_);
  EXPECT_FALSE(is_settled(*checkpoint));
}

}  // namespace
}  // namespace facet::formats
