// The folder of packs: what is kept is found again, the oldest make room, and nothing that goes wrong harms a pack.
#include "formats/pack_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::formats {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPackBytes = 4096 + 10000;  // of the packs here: head, matrix

class PackCacheTest : public ::testing::Test {
 protected:
  PackCache cache(int64_t packs_max = 100, int64_t disk_free_min = 0) const {
    return {folder_.path() / "packed", packs_max * kPackBytes, disk_free_min};
  }
  Result<void> keep(const PackCache& cache, const std::string& identity, Progress* progress = nullptr) const {
    return cache.keep(identity, "/models/" + identity, matrices_, progress);
  }
  // Sets the time of last use, some seconds after 1970.
  void set_used(const PackCache& cache, const std::string& identity, int64_t seconds) const {
    const timespec times[2] = {{.tv_sec = seconds, .tv_nsec = 0}, {.tv_sec = seconds, .tv_nsec = 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, cache.path_of(identity).c_str(), times, 0), 0);
  }
  static std::vector<std::string> sources(const std::vector<PackCache::Kept>& kept) {
    std::vector<std::string> names;
    for (const PackCache::Kept& pack : kept) names.push_back(pack.source);
    return names;
  }

  testing::TemporaryFolder folder_;
  testing::ByteVector bytes_ = testing::ByteVector(10000, std::byte{7});
  std::vector<PackedMatrix> matrices_ = {
      {.name = "w", .weight = {.type = DType::q8_0, .rows = 1, .cols = 32, .data = bytes_}}};
};

TEST_F(PackCacheTest, WhatIsKeptIsFound) {
  const PackCache packs = cache();
  EXPECT_EQ(packs.open("one").error().code, ErrorCode::not_found);
  EXPECT_TRUE(packs.list()->empty());
  ASSERT_OK(keep(packs, "one"));
  ASSERT_OK(keep(packs, "two"));
  const Result<std::shared_ptr<const PackFile>> pack = packs.open("one");
  ASSERT_OK(pack);
  EXPECT_EQ((*pack)->head().source, "/models/one");
  EXPECT_EQ((*pack)->find("w")->data.size(), bytes_.size());
  EXPECT_EQ(packs.open("three").error().code, ErrorCode::not_found);
}

TEST_F(PackCacheTest, TheNameAloneIsNotTrusted) {
  const PackCache packs = cache();
  ASSERT_OK(keep(packs, "one"));
  fs::copy_file(packs.path_of("one"), packs.path_of("two"));
  const Result<std::shared_ptr<const PackFile>> wrong = packs.open("two");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::corrupt);
  ASSERT_OK(keep(packs, "two"));  // takes its place
  EXPECT_OK(packs.open("two"));
}

TEST_F(PackCacheTest, ThoseUsedLongestAgoMakeRoom) {
  const PackCache packs = cache(3);
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_OK(keep(packs, name));
    set_used(packs, name, 1000 + name[0]);
  }
  EXPECT_EQ(sources(*packs.list()), (std::vector<std::string>{"/models/c", "/models/b", "/models/a"}));
  ASSERT_OK(packs.open("a"));  // now the newest
  EXPECT_EQ(sources(*packs.list()).front(), "/models/a");
  ASSERT_OK(keep(packs, "d"));
  EXPECT_EQ(packs.open("b").error().code, ErrorCode::not_found);
  for (const char* name : {"a", "c", "d"}) EXPECT_OK(packs.open(name));
  ASSERT_OK(keep(packs, "c"));  // replaces itself, so nothing else has to go
  EXPECT_EQ(packs.list()->size(), 3u);
}

TEST_F(PackCacheTest, NothingLargerThanTheCacheIsKept) {
  ASSERT_OK(keep(cache(1), "a"));
  const Result<void> refused = keep(cache(0), "b");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_OK(cache(1).open("a"));
}

TEST_F(PackCacheTest, AFullDiskIsSaidAndNothingIsRemoved) {
  ASSERT_OK(keep(cache(), "a"));
  const Result<void> refused = keep(cache(100, int64_t{1} << 60), "b");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_NE(refused.error().message().find("no room"), std::string::npos) << refused.error().message();
  EXPECT_OK(cache().open("a"));
}

TEST_F(PackCacheTest, AFolderThatCannotBeMadeIsAnError) {
  testing::write_bytes(folder_.path() / "file", {});
  const PackCache packs(folder_.path() / "file" / "packed", int64_t{1} << 30, 0);
  EXPECT_EQ(packs.open("a").error().code, ErrorCode::not_found);
  EXPECT_EQ(keep(packs, "a").error().code, ErrorCode::io);
  EXPECT_TRUE(packs.list()->empty());
  EXPECT_TRUE(packs.clear()->empty());
}

TEST_F(PackCacheTest, AFolderThatCannotBeReadIsAnErrorAndNotEmpty) {
  const PackCache packs = cache();
  ASSERT_OK(keep(packs, "a"));
  const fs::path away = folder_.path() / "away";
  fs::rename(packs.folder(), away);
  fs::create_directory_symlink(packs.folder(), packs.folder());  // leads nowhere, for the superuser, too
  const Result<std::vector<PackCache::Kept>> listed = packs.list();
  const Result<std::vector<PackCache::Kept>> cleared = packs.clear();
  fs::remove(packs.folder());
  fs::rename(away, packs.folder());
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code, ErrorCode::io);
  EXPECT_FALSE(cleared.ok());
  EXPECT_OK(packs.open("a"));
}

TEST_F(PackCacheTest, LeftoversOfKilledProcessesGo) {
  const PackCache packs = cache();
  ASSERT_OK(keep(packs, "a"));
  const fs::path left = packs.folder() / ".0123456789abcdef.pack.part",
                 used = packs.folder() / ".fedcba9876543210.pack.part";
  testing::write_bytes(left, {});
  testing::write_bytes(used, {});
  const int writer = ::open(used.c_str(), O_WRONLY);
  ASSERT_EQ(::flock(writer, LOCK_EX | LOCK_NB), 0);  // as a NewFile does
  ASSERT_OK(keep(packs, "b"));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(used));
  ::close(writer);
  ASSERT_OK(packs.clear());
  EXPECT_TRUE(fs::is_empty(packs.folder()));
}

TEST_F(PackCacheTest, ClearingRemovesPacksAndNothingElse) {
  const PackCache packs = cache();
  ASSERT_OK(keep(packs, "a"));
  ASSERT_OK(keep(packs, "b"));
  testing::write_bytes(packs.folder() / "0123456789abcdef.pack", bytes_);  // damaged
  const char* const others[] = {"other.txt", "textures.pack", "0123456789ABCDEF.pack", ".film.pack.part"};
  for (const char* name : others) testing::write_bytes(packs.folder() / name, bytes_);
  const Result<std::shared_ptr<const PackFile>> mapped = packs.open("a");
  ASSERT_OK(mapped);
  const std::vector<PackCache::Kept> listed = *packs.list();
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(std::ranges::count(sources(listed), std::string()), 1);  // the damaged one
  const Result<std::vector<PackCache::Kept>> cleared = packs.clear();
  ASSERT_OK(cleared);
  EXPECT_EQ(cleared->size(), 3u);
  EXPECT_TRUE(packs.list()->empty());
  for (const char* name : others) EXPECT_TRUE(fs::exists(packs.folder() / name)) << name;
  EXPECT_EQ(fs::status(packs.folder()).permissions(), fs::perms::owner_all);
  EXPECT_EQ((*mapped)->find("w")->data[9999], std::byte{7});  // still there for whoever mapped it
}

}  // namespace
}  // namespace facet::formats
