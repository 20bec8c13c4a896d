#include "hub/cache.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "hub/inventory.h"
#include "hub/values.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRepo = "owner/repo";
using facet::testing::contents;

class CacheTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(cache_.prepare(kRepo)); }
  void put(const std::string& commit, const RepoFile& file) {
    write(cache_.blob(kRepo, file.id), std::string(static_cast<size_t>(file.size), 'x'));
    ASSERT_OK(cache_.link(kRepo, commit, file));
  }

  facet::testing::TemporaryFolder folder_;
  Cache cache_{folder_.path() / "hub", true};
};

TEST_F(CacheTest, ReferencesAreWrittenAndRead) {
  EXPECT_EQ(cache_.commit_of(kRepo, "main"), std::nullopt);
  ASSERT_OK(cache_.write_ref(kRepo, "main", kFirst));
  ASSERT_OK(cache_.write_ref(kRepo, "main", kSecond));
  ASSERT_OK(cache_.write_ref(kRepo, "feature/x", kFirst));
  EXPECT_EQ(cache_.commit_of(kRepo, "main"), kSecond);
  EXPECT_EQ(cache_.commit_of(kRepo, "feature/x"), kFirst);
  write(cache_.repo_folder(kRepo) / "refs/newline", kFirst + "\n");
  EXPECT_EQ(cache_.commit_of(kRepo, "newline"), kFirst);
  write(cache_.repo_folder(kRepo) / "refs/broken", "12");
  EXPECT_EQ(cache_.commit_of(kRepo, "broken"), std::nullopt);
}

TEST_F(CacheTest, AShortCommitStandsForTheOnlySnapshotThatBeginsSo) {
  put(kFirst, {"a", 3, kBlob});
  EXPECT_EQ(cache_.commit_of(kRepo, "1111111"), kFirst);
  EXPECT_EQ(cache_.commit_of(kRepo, kFirst), kFirst);
  EXPECT_EQ(cache_.commit_of(kRepo, "111111"), std::nullopt);
  put(std::string(39, '1') + "2", {"a", 3, kBlob});
  EXPECT_EQ(cache_.commit_of(kRepo, "1111111"), std::nullopt);
}

TEST_F(CacheTest, LinksAreRelativeAndReplaceWhatIsThere) {
  const RepoFile file{"a/b/c.gguf", 3, kBlob};
  write(cache_.snapshot_folder(kRepo, kFirst) / file.path, "old");
  put(kFirst, file);
  const fs::path link = cache_.snapshot_folder(kRepo, kFirst) / file.path;
  EXPECT_EQ(fs::read_symlink(link), "../../../../blobs/" + kBlob);
  EXPECT_EQ(contents(link), "xxx");
  EXPECT_TRUE(cache_.in_snapshot(kRepo, kFirst, file));
  EXPECT_TRUE(cache_.has_blob(kRepo, file));
  EXPECT_FALSE(cache_.in_snapshot(kRepo, kFirst, {"a/b/c.gguf", 4, kBlob}));
  EXPECT_FALSE(cache_.has_blob(kRepo, {"a/b/c.gguf", 4, kBlob}));
  EXPECT_EQ(cache_.files(kRepo, kFirst), std::vector<RepoFile>{file});
  fs::remove(cache_.blob(kRepo, kBlob));
  EXPECT_TRUE(cache_.files(kRepo, kFirst).empty());
}

TEST_F(CacheTest, WithoutLinksTheFileItselfMoves) {
  const Cache plain(cache_.root(), false);
  const RepoFile file{"c.gguf", 3, kBlob};
  write(plain.blob(kRepo, kBlob), "abc");
  ASSERT_OK(plain.link(kRepo, kFirst, file));
  EXPECT_FALSE(fs::is_symlink(plain.snapshot_folder(kRepo, kFirst) / "c.gguf"));
  EXPECT_FALSE(plain.has_blob(kRepo, file));
  EXPECT_TRUE(plain.in_snapshot(kRepo, kFirst, file));
  EXPECT_EQ(plain.files(kRepo, kFirst), (std::vector<RepoFile>{{"c.gguf", 3, ""}}));
}

TEST_F(CacheTest, FoldersOfOthersAreNoRepositories) {
  for (const char* name : {"datasets--a--b", "models--gpt2", "models--a--b--c", "models--.--x", "version.txt"})
    fs::create_directories(cache_.root() / name);
  EXPECT_EQ(cache_.repos(), std::vector<std::string>{kRepo});
  fs::create_directories(cache_.repo_folder(kRepo) / "snapshots/not-a-commit");
  EXPECT_TRUE(cache_.commits(kRepo).empty());
}

TEST_F(CacheTest, ABlobIsLockedByOneAtATime) {
  Result<BlobLock> first = cache_.lock(kRepo, kBlob, kStop);
  ASSERT_OK(first);
  EXPECT_EQ(cache_.lock(kRepo, kBlob, kStop).error().code, ErrorCode::cancelled);
  ASSERT_OK(cache_.lock(kRepo, kSecond, kStop));
  int asked = 0;
  const Result<BlobLock> second = cache_.lock(kRepo, kBlob, [&] {
    if (++asked == 2) *first = BlobLock();
    return asked < 50;
  });
  ASSERT_OK(second);
  EXPECT_EQ(asked, 2);
}

TEST_F(CacheTest, ALockWhoseFileWasRemovedIsNotBelieved) {
  Result<BlobLock> first = cache_.lock(kRepo, kBlob, kStop);
  ASSERT_OK(first);
  int asked = 0;
  const Result<BlobLock> second = cache_.lock(kRepo, kBlob, [&] {
    fs::remove(cache_.lock_folder(kRepo) / (kBlob + ".lock"));
    *first = BlobLock();
    return ++asked < 50;
  });
  ASSERT_OK(second);
  EXPECT_EQ(cache_.lock(kRepo, kBlob, kStop).error().code, ErrorCode::cancelled);
}

TEST_F(CacheTest, OrphanedBlobsGoWithTheNextRemoval) {
  put(kFirst, {"m-Q8_0.gguf", 3, kBlob});
  put(kFirst, {"m-Q4_0.gguf", 4, std::string(64, '4')});
  write(cache_.blob(kRepo, std::string(64, '5')), "orphan");
  write(cache_.partial(kRepo, std::string(64, '6')), "part");
  write(cache_.repo_folder(kRepo) / "blobs/foreign", "not ours");
  const Result<Removal> removal = plan_removal(cache_, ModelRef::parse("owner/repo:Q4_0").value(), "");
  ASSERT_OK(removal);
  EXPECT_EQ(removal->bytes, 4);
  ASSERT_OK(remove(cache_, *removal));
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(cache_.repo_folder(kRepo) / "blobs"))
    left.push_back(entry.path().filename());
  std::ranges::sort(left);
  EXPECT_EQ(left, (std::vector<std::string>{kBlob, "foreign"}));
}

TEST_F(CacheTest, AModelOfAnOlderSnapshotIsListedWithItsCommit) {
  put(kFirst, {"m-Q8_0.gguf", 3, kBlob});
  put(kSecond, {"m-Q8_0.gguf", 3, kBlob});
  put(kFirst, {"m-Q4_0.gguf", 4, std::string(64, '4')});
  ASSERT_OK(cache_.write_ref(kRepo, "main", kSecond));
  std::vector<std::string> ids;
  for (const CachedModel& model : inventory(cache_)) ids.push_back(model.id);
  EXPECT_EQ(ids, (std::vector<std::string>{"owner/repo:Q8_0", "owner/repo@111111111111:Q4_0"}));
}

}  // namespace
}  // namespace facet::hub
