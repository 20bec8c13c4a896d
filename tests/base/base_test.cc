// Results, strings, JSON, UTF-8, files, threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <fstream>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "base/background.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "base/utf8.h"
#include "support/count_allocations.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet {
namespace {

TEST(Error, MessageSaysWhereWhatExpectedAndFound) {
  const Error error{
      .code = ErrorCode::corrupt, .what = "wrong shape", .where = "a.gguf: x", .expected = "[2, 3]", .found = "[2, 4]"};
  EXPECT_EQ(error.message(), "a.gguf: x: wrong shape: expected [2, 3], found [2, 4]");
}

Result<int> half(int n) {
  if (n % 2 != 0) return Error{.what = "odd"};
  return n / 2;
}
Result<int> quarter(int n) {
  FACET_TRY(const int once, half(n));
  FACET_TRY(const int twice, half(once));
  return twice;
}

TEST(Result, TryReturnsTheErrorUpwards) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).error().what, "odd");
}

TEST(Strings, CatJoinsTextAndNumbers) {
  EXPECT_EQ(cat("a", 1, ' ', 2.5, true, list(std::vector{1, 2})), "a1 2.5true[1, 2]");
}

TEST(Json, RoundTripsEveryKind) {
  const std::string text = R"({"a":[1,-2,2.5,true,null,"x\u00e9"],"b":{}})";
  const Result<Json> json = Json::parse(text, "test");
  ASSERT_OK(json);
  EXPECT_EQ(json->dump(), "{\"a\":[1,-2,2.5,true,null,\"x\xC3\xA9\"],\"b\":{}}");
}

TEST(Json, NamesLineAndColumnOfBrokenText) {
  const Result<Json> json = Json::parse("{\n  \"a\": ]", "f.json");
  ASSERT_FALSE(json.ok());
  EXPECT_THAT(json.error().message(), ::testing::HasSubstr("f.json: not valid JSON at line 2"));
}

TEST(Json, RefusesDuplicateNamesAndDeepNesting) {
  EXPECT_EQ(Json::parse(R"({"a":1,"a":2})", "t").error().code, ErrorCode::corrupt);
  EXPECT_EQ(Json::parse(std::string(100, '['), "t").error().code, ErrorCode::exhausted);
}

TEST(Json, ManySmallValuesAreNotWorthTheirMemory) {
  EXPECT_OK(Json::parse("[1,[2],3]", "t", {.values = 5}));
  const Result<Json> json = Json::parse("[1,[2],3]", "t", {.values = 4});
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.error().message(), "t: JSON text holds too many values: expected at most 4, found more");

  std::string text = "[0";
  for (int i = 0; i < 4'000'000; ++i) text += ",0";  // 8 MB; as values 160
  const int64_t before = testing::bytes_allocated();
  EXPECT_EQ(Json::parse(text + "]", "t").error().code, ErrorCode::exhausted);
  EXPECT_LT(testing::bytes_allocated() - before, 128 << 20);
}

TEST(Json, MessagesDoNotRepeatALongText) {
  const std::string text(100'000, 'a');
  EXPECT_LT(Json::parse("\"" + text, "t").error().message().size(), 500u);
  EXPECT_LT(Json::parse("{\"" + text + "\":1,\"" + text + "\":2}", "t").error().message().size(), 500u);
}

TEST(Utf8, KnowsLengthsAndInvalidBytes) {
  EXPECT_EQ(utf8_length("a"), 1u);
  EXPECT_EQ(utf8_length("\xE2\x96\x81x"), 3u);
  EXPECT_EQ(utf8_length("\xF0\x9F\x98\x80"), 4u);
  for (const char* bad : {"\x80", "\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x28"})
    EXPECT_EQ(utf8_length(bad), 0u) << bad;
}

TEST(Utf8, IncompleteTailIsWhatMoreBytesCouldComplete) {
  EXPECT_EQ(utf8_incomplete_tail("ab"), 0u);
  EXPECT_EQ(utf8_incomplete_tail("a\xF0\x9F\x98"), 3u);
  EXPECT_EQ(utf8_incomplete_tail("a\xE2\x96"), 2u);
  EXPECT_EQ(utf8_incomplete_tail("a\xED\xA0"), 0u);  // a surrogate can never become valid
  EXPECT_EQ(utf8_incomplete_tail("a\x80"), 0u);
}

TEST(Utf8, RepairReplacesEachMaximalInvalidPart) {
  EXPECT_EQ(utf8_repair("a\xF0\x9F\x98z\x80\x80"), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Utf8, PrintableTextMovesNoCursor) {
  EXPECT_EQ(printable("a\tb\n\xC3\xA9 \xE4\xB8\x96"), "a\tb\n\xC3\xA9 \xE4\xB8\x96");
  EXPECT_EQ(printable("\x1B[2Jx\r\x7F"), "\xEF\xBF\xBD[2Jx\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(printable("\xC2\x9B"
                      "2J\xC2\xA0"),
            "\xEF\xBF\xBD"
            "2J\xC2\xA0");  // CSI as one character; a space
  EXPECT_EQ(printable("a\xFFz"), "a\xEF\xBF\xBDz");
}

TEST(Utf8, ExcerptsCutNoCharacter) {
  EXPECT_EQ(excerpt("short"), "short");
  EXPECT_EQ(excerpt(std::string(80, 'x')), std::string(80, 'x'));
  EXPECT_EQ(excerpt(std::string(79, 'x') + "\xC3\xA9!"), std::string(79, 'x') + "\u2026");
}

TEST(File, AtomicWriteReplacesAndMapsBack) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "x";
  ASSERT_OK(write_file_atomic(path, as_bytes("one")));
  ASSERT_OK(write_file_atomic(path, as_bytes("two!")));
  const Result<MappedFile> file = MappedFile::open(path);
  ASSERT_OK(file);
  EXPECT_EQ(as_text(file->bytes()), "two!");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(File, AtomicWriteRespectsUmaskAndTheOldPermissions) {
  namespace fs = std::filesystem;
  const testing::TemporaryFolder folder;
  const mode_t before = ::umask(077);
  const Result<void> fresh = write_file_atomic(folder.path() / "private", as_bytes("x"));
  std::ofstream(folder.path() / "shared") << "old";
  fs::permissions(folder.path() / "shared", fs::perms(0664));
  const Result<void> replaced = write_file_atomic(folder.path() / "shared", as_bytes("new"));
  ::umask(before);
  ASSERT_OK(fresh);
  ASSERT_OK(replaced);
  EXPECT_EQ(fs::status(folder.path() / "private").permissions(), fs::perms(0600));
  EXPECT_EQ(fs::status(folder.path() / "shared").permissions(), fs::perms(0664));
}

TEST(File, AtomicWriteNamesTheFolderThatIsNotThere) {
  const Result<void> written = write_file_atomic("/no/such/folder/x", as_bytes("x"));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::not_found);
  EXPECT_THAT(written.error().message(), ::testing::HasSubstr("/no/such/folder/x"));
}

class NewFiles : public ::testing::TestWithParam<NewFile::Until> {
 protected:
  int64_t files() const { return std::distance(std::filesystem::directory_iterator(folder_.path()), {}); }
  Result<NewFile> create(uint64_t size = 0) { return NewFile::create(path_, size, GetParam()); }

  testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "x";
};

TEST_P(NewFiles, AppearWholeOrNotAtAll) {
  std::ofstream(path_) << "old";
  std::string expected;
  {
    Result<NewFile> file = create(3 << 20);
    ASSERT_OK(file);
    for (int i = 0; i < 3000; ++i) {
      const std::string more(static_cast<size_t>(i % 700), static_cast<char>('a' + i % 26));
      ASSERT_OK(file->write(as_bytes(more)));
      expected += more;
    }
    const std::string large(2 << 20, 'z');
    ASSERT_OK(file->write(as_bytes(large)));
    expected += large;
    EXPECT_EQ(file->written(), expected.size());
    EXPECT_EQ(testing::contents(path_), "old");
    ASSERT_OK(file->commit());
  }
  EXPECT_EQ(testing::contents(path_), expected);
  EXPECT_EQ(files(), 1);
  {
    NewFile moved = *create();
    ASSERT_OK(moved.write(as_bytes("lost")));
    const NewFile last = std::move(moved);
  }
  EXPECT_EQ(testing::contents(path_), expected);
  EXPECT_EQ(files(), 1);
}

TEST_P(NewFiles, AProcessThatDiesLeavesNothingThatTheNextOneMinds) {
  for (int round = 0; round < 3; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      NewFile file = *create();
      (void)file.write(as_bytes(std::string(3 << 20, 'x')));
      if (round == 2) (void)file.flush();
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  Result<NewFile> file = create();
  ASSERT_OK(file);
  ASSERT_OK(file->write(as_bytes("y")));
  ASSERT_OK(file->commit());
  EXPECT_EQ(testing::contents(path_), "y");
  EXPECT_EQ(files(), 1);
}

TEST_P(NewFiles, RoomThatWasTakenStaysTakenWhileTheFileIsWritten) {
  const auto taken = [&] {
    struct stat status = {};
    ::stat((folder_.path() / ".x.part").c_str(), &status);
    return status.st_blocks;
  };
  if (GetParam() == NewFile::Until::nameless) return;  // has no name to look under
  Result<NewFile> file = create(8 << 20);
  ASSERT_OK(file);
  const auto before = taken();
  ASSERT_OK(file->write(as_bytes("x")));
  ASSERT_OK(file->flush());
  EXPECT_GE(taken(), before);
  ASSERT_OK(file->commit());
  EXPECT_EQ(std::filesystem::file_size(path_), 1u);
}

TEST_P(NewFiles, AFullDiskIsKnownBeforehand) {
  const Result<NewFile> file = create(uint64_t{1} << 60);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::exhausted);
  EXPECT_THAT(file.error().message(), ::testing::HasSubstr("no room"));
  EXPECT_EQ(files(), 0);
}

TEST_P(NewFiles, ReplaceWhatALinkPointsTo) {
  std::filesystem::create_directory(folder_.path() / "y");
  std::ofstream(folder_.path() / "y" / "real") << "old";
  std::filesystem::create_symlink("y/real", path_);
  Result<NewFile> file = create();
  ASSERT_OK(file);
  ASSERT_OK(file->write(as_bytes("new")));
  ASSERT_OK(file->commit());
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(testing::contents(folder_.path() / "y" / "real"), "new");
  EXPECT_EQ(NewFile::create(folder_.path() / "y", 0, GetParam()).error().code, ErrorCode::io);
}

TEST(NewFile, TwoWritersOfAHiddenFileDoNotMix) {
  const testing::TemporaryFolder folder;
  const Result<NewFile> first = NewFile::create(folder.path() / "x", 0, NewFile::Until::hidden);
  ASSERT_OK(first);
  const Result<NewFile> second = NewFile::create(folder.path() / "x", 0, NewFile::Until::hidden);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
}

TEST(NewFile, WritersThatEndTogetherAllSucceed) {
  const testing::TemporaryFolder folder;
  constexpr int kWriters = 3, kRounds = 60;
  std::vector<std::string> problems(kWriters);
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i)
    writers.emplace_back([&, i] {
      for (int round = 0; round < kRounds && problems[static_cast<size_t>(i)].empty(); ++round)
        if (const Result<void> written = write_file_atomic(folder.path() / "x", as_bytes("whole")); !written.ok())
          problems[static_cast<size_t>(i)] = cat("round ", round, ": ", written.error().message());
    });
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(problems, std::vector<std::string>(kWriters));
  EXPECT_EQ(*read_file(folder.path() / "x", 100), "whole");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

INSTANTIATE_TEST_SUITE_P(Both, NewFiles, ::testing::Values(NewFile::Until::nameless, NewFile::Until::hidden));

TEST(File, PagesAreTouchedOrInside) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto pages = [&](size_t first, size_t size, Pages which) {
    const Bytes part(std::bit_cast<const std::byte*>(16 * page + first), size);
    const Bytes whole = pages_of(part, which);
    return whole.empty() ? std::pair(size_t{0}, size_t{0})
                         : std::pair(std::bit_cast<uintptr_t>(whole.data()) / page - 16, whole.size() / page);
  };
  using Range = std::pair<size_t, size_t>;                 // first page and how many
  EXPECT_EQ(pages(10, 100, Pages::touched), Range(0, 1));  // a row of a table is smaller than a page
  EXPECT_EQ(pages(10, 100, Pages::inside), Range(0, 0));
  EXPECT_EQ(pages(page - 1, 2, Pages::touched), Range(0, 2));
  EXPECT_EQ(pages(page - 1, page + 1, Pages::inside), Range(1, 1));
  EXPECT_EQ(pages(0, 3 * page, Pages::touched), Range(0, 3));
  EXPECT_EQ(pages(0, 3 * page, Pages::inside), Range(0, 3));
  EXPECT_EQ(pages(5, 0, Pages::touched), Range(0, 0));
}

TEST(File, MissingFilesAndFoldersAreErrors) {
  EXPECT_EQ(MappedFile::open("/no/such/file").error().code, ErrorCode::not_found);
  EXPECT_EQ(MappedFile::open("/").error().code, ErrorCode::io);
  EXPECT_EQ(read_file("/no/such/file", 10).error().code, ErrorCode::not_found);
}

TEST(ThreadPool, RunsEveryBlockOnceOnAnyNumberOfThreads) {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    for (int64_t n : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
      pool.parallel(n, [&](int64_t block, int thread) {
        EXPECT_LT(thread, threads);
        hits[static_cast<size_t>(block)].fetch_add(1);
      });
      for (const auto& hit : hits) EXPECT_EQ(hit.load(), 1);
    }
  }
}

TEST(ThreadPool, ManyShortRegionsInARow) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum = 0;
  for (int i = 0; i < 20000; ++i) pool.parallel(3, [&](int64_t block, int) { sum += block; });
  EXPECT_EQ(sum.load(), 60000);
}

// More workers than processors: most come to a region late, or to one that is over.
TEST(ThreadPool, LateWorkersRunNothingOfARegionThatIsOver) {
  ThreadPool pool(12);
  std::atomic<int> current{0};
  std::atomic<int64_t> strays{0};
  for (int region = 1; region <= 3000; ++region) {
    current = region;
    const int64_t n_blocks = 2 + region % 7;
    std::array<std::atomic<int>, 8> runs{};
    pool.parallel(n_blocks, [&](int64_t block, int) {
      if (current != region || block >= n_blocks) ++strays;
      ++runs[static_cast<size_t>(block)];
    });
    for (int64_t block = 0; block < n_blocks; ++block) ASSERT_EQ(runs[static_cast<size_t>(block)], 1) << region;
  }
  EXPECT_EQ(strays, 0);
}

TEST(ThreadPool, AnExceptionOfAnyThreadReachesTheCallerOnceAllHaveStopped) {
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (int failing = 0; failing < threads; ++failing) {
      std::atomic<int> begun = 0, ended = 0;
      const auto work = [&](int64_t, int thread) {
        for (++begun; begun < threads;) std::this_thread::yield();  // so that every thread has one block
        if (thread == failing) throw std::bad_alloc();
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        ++ended;
      };
      EXPECT_THROW(pool.parallel(threads, work), std::bad_alloc);
      EXPECT_EQ(ended.load(), threads - 1);
    }
    std::atomic<int64_t> sum = 0;  // the pool is as good as new
    pool.parallel(100, [&](int64_t block, int) { sum += block; });
    EXPECT_EQ(sum.load(), 4950);
  }
}

TEST(ThreadPool, NobodyBeginsABlockAfterAnException) {
  ThreadPool pool(2);
  std::atomic<int> begun = 0;
  const auto work = [&](int64_t block, int) {
    ++begun;
    if (block == 0) throw std::bad_alloc();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  EXPECT_THROW(pool.parallel(100'000, work), std::bad_alloc);
  EXPECT_LT(begun.load(), 50'000);
}

TEST(ThreadPool, HasFewerThreadsWhereTheSystemRefusesThem) {
  pthread_attr_t ordinary, absurd;
  ASSERT_EQ(::pthread_getattr_default_np(&ordinary), 0);
  ASSERT_EQ(::pthread_getattr_default_np(&absurd), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&absurd, size_t{1} << 48), 0);  // more than can be addressed
  ASSERT_EQ(::pthread_setattr_default_np(&absurd), 0);
  set_log_level(LogLevel::off);
  ThreadPool pool(3);
  set_log_level(LogLevel::warning);
  ASSERT_EQ(::pthread_setattr_default_np(&ordinary), 0);
  EXPECT_EQ(pool.n_threads(), 1);
  int64_t sum = 0;
  pool.parallel(100, [&](int64_t block, int) { sum += block; });
  EXPECT_EQ(sum, 4950);
}

TEST(Processors, AContainersQuotaCounts) {
  EXPECT_EQ(processors_of_quota("200000 100000\n", 64), 2);
  EXPECT_EQ(processors_of_quota("250000 100000\n", 64), 3);
  EXPECT_EQ(processors_of_quota("50000 100000\n", 64), 1);
  EXPECT_EQ(processors_of_quota("800000 100000\n", 4), 4);
  for (const char* none : {"max 100000\n", "", "200000", "200000 ", "0 100000", "-1 100000", "200000 0", "200000 x"})
    EXPECT_EQ(processors_of_quota(none, 64), 64) << none;
  EXPECT_GE(usable_processors(), 1);
}

TEST(Background, WorksUntilItIsAskedToStop) {
  std::atomic<int> state = 0;
  {
    const Background work([&](FunctionRef<bool()> goes_on) {
      state = 1;
      while (goes_on()) std::this_thread::yield();
      state = 2;
    });
    while (state == 0) std::this_thread::yield();
  }
  EXPECT_EQ(state, 2);
  const Background none;
}

uint64_t hash_of(std::initializer_list<std::string_view> pieces) {
  Hash64 hash;
  for (const std::string_view piece : pieces) hash.add(piece);
  return hash.value();
}

TEST(Hash64, EveryByteAndEveryBorderCounts) {
  const std::string text(100, 'x');
  for (size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = 'y';
    EXPECT_NE(hash_of({other}), hash_of({text})) << i;
    EXPECT_NE(hash_of({text.substr(0, i), text.substr(i)}), hash_of({text})) << i;
  }
  EXPECT_NE(hash_of({std::string(3, '\0')}), hash_of({std::string(4, '\0')}));
  EXPECT_NE(hash_of({}), hash_of({""}));
}

// Packs on disk are named by it.
TEST(Hash64, IsTheSameEverywhere) {
  Hash64 hash;
  hash.add("facet");
  hash.add(int64_t{-1});
  EXPECT_EQ(hash.text(), "d7e16793795c1095");
}

TEST(FileStamp, TellsOfEveryChange) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "f";
  std::ofstream(path) << "abc";
  const Result<FileStamp> before = FileStamp::of(path);
  ASSERT_OK(before);
  EXPECT_EQ(before->size, 3);
  EXPECT_FALSE(before->settled);
  EXPECT_TRUE(MappedFile::open(path)->stamp().same_file(*before));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // more than a step of the disk's clock
  const auto modified = std::filesystem::last_write_time(path);
  std::ofstream(path) << "abd";
  std::filesystem::last_write_time(path, modified);
  const Result<FileStamp> after = FileStamp::of(path);
  ASSERT_OK(after);
  EXPECT_EQ(after->size, before->size);
  EXPECT_EQ(after->modified, before->modified);
  EXPECT_FALSE(after->same_file(*before));
  EXPECT_EQ(FileStamp::of(folder.path() / "none").error().code, ErrorCode::not_found);
}

TEST(Random, SequenceIsFixed) {
  Random random(42);
  for (const uint32_t expected : {0xC2F57BD6u, 0x6B07C4A9u, 0x72B7B29Bu, 0x44215383u})
    EXPECT_EQ(random.next(), expected);
  EXPECT_NE(Random(42).next(), Random(43).next());
}

TEST(Random, NumbersStayBelowTheirBound) {
  Random random(1);
  std::array<int, 7> hits{};
  for (int i = 0; i < 7000; ++i) ++hits.at(random.below(7));
  for (const int n : hits) EXPECT_NEAR(n, 1000, 200);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(random.uniform(), 1.0);
}

}  // namespace
}  // namespace facet
