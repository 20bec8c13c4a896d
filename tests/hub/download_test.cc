// What a download is made of: hash, partial file, addresses, retries. Whole downloads: pull_test.py.
#include <csignal>

#include <sys/resource.h>

#include "base/file.h"
#include "hub/digest.h"
#include "hub/http.h"
#include "hub/partial_file.h"
#include "hub/retry.h"
#include "hub/values.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

const auto kGoOn = [] { return true; };
const auto kReadOn = [](int64_t) { return true; };

using facet::testing::contents;

TEST(Digest, NamesBlobsAsGitAndLfsDo) {
  Digest large(kBlob, 3);
  large.update(as_bytes("a"));
  large.update(as_bytes("bc"));
  EXPECT_EQ(large.finish(), kBlob);
  Digest small(kFirst, 12);
  small.update(as_bytes("hello world\n"));
  EXPECT_EQ(small.finish(), "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");  // git hash-object
  EXPECT_EQ(Digest(kFirst, 0).finish(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

class PartialTest : public ::testing::Test {
 protected:
  facet::testing::TemporaryFolder folder_;
  const fs::path path_ = folder_.path() / "x.incomplete", target_ = folder_.path() / "x";
};

TEST_F(PartialTest, GrowsAndIsMovedWhenTheHashAgrees) {
  {
    Result<PartialFile> file = PartialFile::open(path_, kBlob, 3, kReadOn);
    ASSERT_OK(file);
    ASSERT_OK(file->append(as_bytes("ab")));
    EXPECT_FALSE(file->whole());
  }
  Result<PartialFile> file = PartialFile::open(path_, kBlob, 3, kReadOn);
  ASSERT_OK(file);
  EXPECT_EQ(file->length(), 2);
  ASSERT_OK(file->append(as_bytes("c")));
  ASSERT_OK(file->finish(target_));
  EXPECT_EQ(contents(target_), "abc");
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(PartialTest, IsRemovedWhenTheHashDiffers) {
  write(path_, "abd");
  Result<PartialFile> file = PartialFile::open(path_, kBlob, 3, kReadOn);
  ASSERT_OK(file);
  const Result<void> finished = file->finish(target_);
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.error().code, ErrorCode::corrupt);
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_FALSE(fs::exists(target_));
}

TEST_F(PartialTest, CancelsWhileItReadsWhatIsThere) {
  write(path_, "ab");
  EXPECT_EQ(PartialFile::open(path_, kBlob, 3, [](int64_t) { return false; }).error().code, ErrorCode::cancelled);
}

TEST_F(PartialTest, FollowsNoLink) {
  write(folder_.path() / "precious", "mine");
  fs::create_symlink(folder_.path() / "precious", path_);
  EXPECT_EQ(PartialFile::open(path_, kBlob, 3, kReadOn).error().code, ErrorCode::io);
  EXPECT_EQ(contents(folder_.path() / "precious"), "mine");
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_EQ(PartialFile::open(path_, kBlob, 3, kReadOn).error().code, ErrorCode::io);
}

TEST_F(PartialTest, KeepsWhatFitsWhenItCannotGrow) {
  Result<PartialFile> file = PartialFile::open(path_, std::string(64, '0'), 100'000, kReadOn);
  ASSERT_OK(file);
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{40'000, before.rlim_max};
  const auto old = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Result<void> appended = file->append(as_bytes(std::string(50'000, 'x')));
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old);
  ASSERT_FALSE(appended.ok());
  EXPECT_EQ(appended.error().code, ErrorCode::io);
  EXPECT_EQ(file->length(), 40'000);
  EXPECT_EQ(fs::file_size(path_), 40'000u);
}

TEST(Http, Origins) {
  EXPECT_EQ(origin_of("https://Hub.co/a?b"), "https://hub.co:443");
  EXPECT_EQ(origin_of("http://user:word@hub.co:8080/a"), "http://hub.co:8080");
  EXPECT_EQ(origin_of("nonsense"), "");
  EXPECT_EQ(escape_path("a b/ä+%?.gguf"), "a%20b/%C3%A4%2B%25%3F.gguf");
}

TEST(Retry, CountsTriesAndBeginsAnewAfterProgress) {
  const auto failure = [](bool passing, bool advanced) {
    return Failure{.error = {.code = ErrorCode::unavailable, .what = "x"}, .passing = passing, .advanced = advanced};
  };
  Retry retry({.attempts = 3, .delay_seconds = 0});
  EXPECT_OK(retry.wait(failure(true, false), kGoOn));
  EXPECT_OK(retry.wait(failure(true, false), kGoOn));
  EXPECT_OK(retry.wait(failure(true, true), kGoOn));
  EXPECT_OK(retry.wait(failure(true, false), kGoOn));
  EXPECT_EQ(retry.wait(failure(true, false), kGoOn).error().code, ErrorCode::unavailable);
  EXPECT_FALSE(Retry({.attempts = 3, .delay_seconds = 0}).wait(failure(false, false), kGoOn).ok());
  EXPECT_EQ(Retry({.attempts = 3, .delay_seconds = 60}).wait(failure(true, false), kStop).error().code,
            ErrorCode::cancelled);
}

TEST(Retry, LicencePagesAreNamedWithoutThePasswordOfAMirror) {
  HttpAnswer answer;
  answer.last.status = 403;
  const Failure failure = refused(
      answer, {.where = "owner/repo", .file = {}, .endpoint = "https://user:secret@mirror/path", .with_token = true});
  EXPECT_FALSE(failure.passing);
  EXPECT_NE(failure.error.expected.find("https://mirror/path/owner/repo"), std::string::npos);
  EXPECT_EQ(failure.error.message().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace facet::hub
