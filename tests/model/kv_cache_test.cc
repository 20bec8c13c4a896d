// The tables of the cache, one behaviour a test. Random programs are kv_cache_program_test.cc.
#include "model/kv_cache.h"

#include <limits>

#include "marked_cache.h"
#include "support/byte_stream.h"
#include "support/kernel_tables.h"

namespace facet::model {
namespace {

using testing::MemoryReader;
using testing::MemorySink;
using Spans = std::vector<std::pair<int32_t, int32_t>>;

TEST(KvCache, TakesExactlyTheBytesItSaysItNeeds) {
  for (const kernels::Table& kernels : testing::kernel_tables()) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::i8}) {
      Config config = marked_config(65);
      config.layers[1].head_dim = config.layers[3].head_dim = 33;  // padded to 64
      const KvOptions options = marked_options(1000, 128, 2, type);
      Result<KvCache> cache = KvCache::create(kernels, config, options);
      ASSERT_OK(cache);
      const SeqId id = *cache->create_sequence();
      ASSERT_OK(cache->reserve(id, 1));
      const ops::KvBlocks& blocks = *cache->writer(0, id).blocks;
      EXPECT_EQ(KvCache::bytes_needed(config, options),
                blocks.capacity(KvPool::sliding) * blocks.block_bytes(KvPool::sliding) +
                    blocks.capacity(KvPool::full) * blocks.block_bytes(KvPool::full));
      // Full: 1000 positions are 16 blocks. Sliding: 64 + 128 keys touch at most 4.
      EXPECT_EQ(blocks.capacity(KvPool::full), 2 * 16);
      EXPECT_EQ(blocks.capacity(KvPool::sliding), 2 * 4);
      const int scales = type == DType::i8 ? 64 * 2 * 4 : 0;
      EXPECT_EQ(blocks.block_bytes(KvPool::sliding), 64 * 32 * 2 * info(type).bytes + scales);
    }
  }
}

TEST(KvCache, RefusesOptionsOutOfRange) {
  const kernels::Table& kernels = kernels::usable_tables()[0];
  const auto code = [&](const KvOptions& options) {
    const Result<KvCache> cache = KvCache::create(kernels, marked_config(4), options);
    return cache.ok() ? std::string("fine") : name(cache.error().code);
  };
  EXPECT_EQ(code(marked_options(100, 8, 1)), "fine");
  EXPECT_EQ(code(marked_options(0, 8, 1)), name(ErrorCode::invalid_argument));
  EXPECT_EQ(code(marked_options(int64_t{1} << 40, 8, 1)), name(ErrorCode::invalid_argument));
  EXPECT_EQ(code(marked_options(100, 0, 1)), name(ErrorCode::invalid_argument));
  EXPECT_EQ(code(marked_options(100, 8, 0)), name(ErrorCode::invalid_argument));
  KvOptions negative = marked_options(100, 8, 1);
  negative.fork_rewind = -2;
  EXPECT_EQ(code(negative), name(ErrorCode::invalid_argument));
  EXPECT_EQ(code(marked_options(int64_t{1} << 30, 8, 4096)), name(ErrorCode::exhausted));
  EXPECT_EQ(code(marked_options(100, 8, 1, DType::q8_0)), name(ErrorCode::unsupported));
}

// A prompt, a fork at its end, and an answer as long as the context, token by token; whoever runs out of room commits,
// the fork all but its last `rewind` positions. Whether the fork survives and can be resumed that far in front of its
// end (no farther than the sequence had committed itself before it).
bool fork_survives_a_long_answer(int64_t prompt, int64_t rewind, bool room_for_fork) {
  KvOptions options = marked_options(1000, 100, 1);
  if (room_for_fork) options.fork_rewind = rewind;
  MarkedCache marked(200, options);
  KvCache& cache = marked.cache();
  const SeqId id = marked.make();
  int64_t committed = 0;
  for (int64_t rows = 0; cache.length(id) < prompt; rows = std::min<int64_t>(100, prompt - cache.length(id))) {
    if (marked.append(id, static_cast<int>(rows))) continue;
    cache.commit(id, committed = cache.length(id));
    EXPECT_OK(marked.append(id, static_cast<int>(rows)));
  }
  const Result<SeqId> fork = cache.fork(id, prompt);
  if (!fork) return false;
  const int64_t resume_at = std::max(committed, prompt - rewind);
  while (cache.length(id) < options.context) {
    if (marked.append(id, 1)) continue;
    cache.commit(id, cache.length(id));
    if (marked.append(id, 1)) continue;
    cache.commit(*fork, resume_at);
    if (!marked.append(id, 1)) return false;
  }
  return cache.resumable(*fork, resume_at) && cache.resumable(*fork, prompt);
}

TEST(KvCache, HasRoomForTheForkAtAPromptsEnd) {
  for (const int64_t prompt : {300, 319, 320, 321, 383, 384, 385, 700, 899}) {
    EXPECT_TRUE(fork_survives_a_long_answer(prompt, 64, true)) << prompt;
    EXPECT_FALSE(fork_survives_a_long_answer(prompt, 64, false)) << prompt;
  }
}

TEST(KvCache, StoresAndShowsInDonorAndSharingLayers) {
  MarkedCache marked(4, marked_options(200, 200, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 150));
  EXPECT_EQ(marked.cache().length(id), 150);
  for (int layer = 0; layer < 4; ++layer)
    for (int p = 0; p < 150; ++p) EXPECT_TRUE(marked.shows(id, layer, p, p)) << layer << ' ' << p;
  EXPECT_FALSE(marked.shows(id, 0, 3, 4));
  EXPECT_EQ(marked.cache().view(2, id, 150).layer, marked.cache().view(0, id, 150).layer);
}

TEST(KvCache, ForkSharesBlocksAndTheWriterCopiesPartialOnes) {
  MarkedCache marked(512, marked_options(512, 64, 2));
  const SeqId a = marked.make();
  ASSERT_OK(marked.append(a, 100));
  const Result<SeqId> b = marked.cache().fork(a, 90);
  ASSERT_OK(b);
  EXPECT_EQ(marked.used(KvPool::full), 2);  // nothing copied yet
  EXPECT_EQ(marked.cache().length(*b), 90);
  ASSERT_OK(marked.append(*b, 5, 200));
  EXPECT_EQ(marked.used(KvPool::full), 3);
  EXPECT_EQ(marked.table(a, KvPool::full)[0], marked.table(*b, KvPool::full)[0]);
  EXPECT_NE(marked.table(a, KvPool::full)[1], marked.table(*b, KvPool::full)[1]);
  ASSERT_OK(marked.append(a, 1, 240));
  EXPECT_EQ(marked.used(KvPool::full), 3);  // its own by now
  for (int p = 64; p < 100; ++p) EXPECT_TRUE(marked.shows(a, 1, p, p));
  EXPECT_TRUE(marked.shows(a, 1, 100, 240));
  for (int p = 0; p < 90; ++p) EXPECT_TRUE(marked.shows(*b, 0, p, p));
  for (int p = 90; p < 95; ++p) EXPECT_TRUE(marked.shows(*b, 0, p, 200 + p - 90));
}

TEST(KvCache, TheOriginalCopiesWhenItWritesFirst) {
  MarkedCache marked(512, marked_options(512, 64, 2));
  const SeqId a = marked.make();
  ASSERT_OK(marked.append(a, 70));
  const SeqId b = *marked.cache().fork(a, 66);
  ASSERT_OK(marked.append(a, 3, 200));
  EXPECT_TRUE(marked.shows(b, 1, 65, 65));
  ASSERT_OK(marked.append(b, 3, 100));
  EXPECT_TRUE(marked.shows(a, 1, 69, 69));
  EXPECT_TRUE(marked.shows(a, 1, 70, 200));
  EXPECT_TRUE(marked.shows(b, 1, 66, 100));
  marked.cache().release(a);
  marked.cache().release(b);
  EXPECT_EQ(marked.used(KvPool::sliding), 0);
  EXPECT_EQ(marked.used(KvPool::full), 0);
}

TEST(KvCache, BlocksAreZeroedWhenTaken) {
  MarkedCache marked(4, marked_options(64, 64, 1));
  const SeqId a = marked.make();
  ASSERT_OK(marked.append(a, 64, 3));
  marked.cache().release(a);
  marked.cache().poison_unused();
  const SeqId b = marked.make();
  ASSERT_OK(marked.cache().reserve(b, 1));
  std::vector<std::byte> bytes(64 * 32 * 2 * 4, std::byte{1});
  const KvWriter writer = marked.cache().writer(0, b);
  writer.blocks->save(KvPool::sliding, writer.table[0], bytes);
  EXPECT_EQ(bytes, std::vector<std::byte>(bytes.size()));
}

// Rows that were given up may hold NaN (a pass that failed), and masked keys are multiplied by zero.
TEST(KvCache, NoValueOfARowThatWasGivenUpStaysBehindANewOne) {
  for (const DType type : {DType::f32, DType::f16, DType::i8}) {
    MarkedCache marked(512, marked_options(512, 100, 2, type));
    const auto expect_clean = [&](SeqId id, int64_t first, int64_t end) {
      for (int layer = 0; layer < 4; ++layer)
        for (int64_t p = first; p < end; ++p) EXPECT_TRUE(marked.valueless(id, layer, p)) << layer << ' ' << p;
    };
    const SeqId a = marked.make();
    ASSERT_OK(marked.append(a, 10, 1));
    marked.cache().truncate(a, 3);
    ASSERT_OK(marked.append(a, 1, 100));
    expect_clean(a, 4, 64);
    for (int p = 0; p < 3; ++p) EXPECT_TRUE(marked.shows(a, 1, p, p + 1));
    EXPECT_TRUE(marked.shows(a, 0, 3, 100));

    ASSERT_OK(marked.append(a, 56, 1));  // 60 positions
    ASSERT_OK(marked.write(a, std::vector<int>(20, 50)));
    ASSERT_OK(marked.append(a, 10, 1));  // of the 20, the last ten stood in this second block
    expect_clean(a, 70, 128);

    const SeqId b = *marked.cache().fork(a, 65);
    ASSERT_OK(marked.append(b, 1, 1));  // in a copy of its own
    expect_clean(b, 66, 128);
    marked.cache().release(b);
    const SeqId c = *marked.cache().fork(a, 66);
    marked.cache().release(a);
    ASSERT_OK(marked.append(c, 1, 1));  // in a block that is all its own by now
    expect_clean(c, 67, 128);
    EXPECT_TRUE(marked.shows(c, 1, 65, 6));
  }
}

TEST(KvCache, OnlyCommitFreesFronts) {
  MarkedCache marked(65, marked_options(1000, 300, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 300));
  EXPECT_EQ(marked.used(KvPool::sliding), 5);
  for (int64_t p = 0; p <= 300; ++p) EXPECT_TRUE(marked.cache().resumable(id, p));
  marked.cache().commit(id, 191);  // needs key 127: blocks 0 goes, 1 stays
  EXPECT_EQ(marked.used(KvPool::sliding), 4);
  marked.cache().commit(id, 192);  // needs key 128
  EXPECT_EQ(marked.used(KvPool::sliding), 3);
  EXPECT_EQ(marked.used(KvPool::full), 5);
  EXPECT_EQ(marked.table(id, KvPool::sliding)[1], -1);
  EXPECT_TRUE(marked.cache().resumable(id, 192));
  EXPECT_FALSE(marked.cache().resumable(id, 191));
  EXPECT_FALSE(marked.cache().resumable(id, 1));
  EXPECT_TRUE(marked.cache().resumable(id, 0));
  EXPECT_FALSE(marked.cache().resumable(id, 301));
  EXPECT_FALSE(marked.cache().resumable(id, -1));
}

TEST(KvCache, ACommittedSequenceNeverNeedsMoreThanPlanned) {
  for (const int window : {1, 4, 63, 64, 65, 512}) {
    for (const int chunk : {1, 7, 64, 100}) {
      MarkedCache marked(window, marked_options(2000, chunk, 1));
      const SeqId id = marked.make();
      for (int length = 0; length + chunk <= 2000; length += chunk) {
        const bool room = marked.append(id, chunk).ok();
        ASSERT_TRUE(room) << window << ' ' << chunk << ' ' << length;
        marked.cache().commit(id, length + chunk);
      }
    }
  }
}

TEST(KvCache, TruncateGoesBackAndFreesWhatIsBehind) {
  MarkedCache marked(512, marked_options(512, 200, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 200));
  EXPECT_EQ(marked.cache().truncate(id, 130), 130);
  EXPECT_EQ(marked.used(KvPool::full), 3);
  EXPECT_EQ(marked.cache().truncate(id, 128), 128);
  EXPECT_EQ(marked.used(KvPool::full), 2);
  EXPECT_EQ(marked.cache().truncate(id, 500), 128);
  ASSERT_OK(marked.append(id, 10, 100));
  EXPECT_TRUE(marked.shows(id, 0, 127, 127));
  EXPECT_TRUE(marked.shows(id, 0, 128, 100));
  EXPECT_EQ(marked.cache().truncate(id, -5), 0);
  EXPECT_EQ(marked.used(KvPool::full), 0);
}

TEST(KvCache, TruncateBeyondTheWindowStartsOver) {
  MarkedCache marked(4, marked_options(300, 300, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 300));
  marked.cache().commit(id, 200);
  EXPECT_EQ(marked.cache().truncate(id, 199), 199);  // key 196 is in a block that is still there
  EXPECT_EQ(marked.cache().truncate(id, 194), 0);    // key 191 is not
  EXPECT_EQ(marked.cache().length(id), 0);
  EXPECT_EQ(marked.used(KvPool::sliding), 0);
  ASSERT_OK(marked.append(id, 10));
}

TEST(KvCache, SpansAreNoResumePoints) {
  MarkedCache marked(512, marked_options(512, 100, 2));
  const SeqId id = marked.make();
  const std::vector<int> marks(50, 1);
  ASSERT_OK(marked.append(id, marks, Spans{{10, 20}, {20, 30}, {40, 45}, {43, 48}}));
  for (const int64_t p : {11, 19, 21, 29, 41, 44, 46, 47}) EXPECT_FALSE(marked.cache().resumable(id, p)) << p;
  for (const int64_t p : {0, 10, 20, 30, 40, 48, 50}) EXPECT_TRUE(marked.cache().resumable(id, p)) << p;
  EXPECT_FALSE(marked.cache().fork(id, 15).ok());
  const SeqId other = *marked.cache().fork(id, 48);
  EXPECT_EQ(marked.cache().truncate(id, 47), 40);
  EXPECT_EQ(marked.cache().truncate(id, 29), 20);
  EXPECT_EQ(marked.cache().truncate(other, 44), 40);  // a fork knows its spans
  ASSERT_OK(marked.append(id, 30));                   // text in place of the second image
  EXPECT_TRUE(marked.cache().resumable(id, 25));
  EXPECT_FALSE(marked.cache().resumable(id, 15));
}

TEST(KvCache, SpansOfAFailedPassAreForgotten) {
  MarkedCache marked(512, marked_options(512, 100, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.cache().reserve(id, 50, Spans{{10, 20}}));
  ASSERT_OK(marked.append(id, 50));
  EXPECT_TRUE(marked.cache().resumable(id, 15));
  const Result<void> outside = marked.cache().reserve(id, 10, Spans{{55, 61}});
  ASSERT_FALSE(outside.ok());
  EXPECT_EQ(outside.error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(marked.cache().reserve(id, 10, Spans{{49, 55}}).ok());
  EXPECT_FALSE(marked.cache().reserve(id, 10, Spans{{52, 52}}).ok());
}

TEST(KvCache, CommitInsideASpanKeepsWhatItsStartNeeds) {
  MarkedCache marked(4, marked_options(400, 400, 1));
  const SeqId id = marked.make();
  const std::vector<int> marks(300, 1);
  ASSERT_OK(marked.append(id, marks, Spans{{100, 299}}));
  marked.cache().commit(id, 250);
  EXPECT_EQ(marked.cache().truncate(id, 280), 100);
}

TEST(KvCache, ReserveIsAllOrNothing) {
  MarkedCache marked(512, marked_options(256, 256, 1));
  const SeqId a = marked.make(), b = marked.make();
  ASSERT_OK(marked.append(a, 150));
  const auto table = marked.table(a, KvPool::full);
  ASSERT_OK(marked.cache().reserve(b, 64));
  const Result<void> full = marked.cache().reserve(b, 65);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::exhausted);
  EXPECT_EQ(marked.cache().length(b), 0);
  EXPECT_EQ(marked.used(KvPool::full), 4);
  EXPECT_EQ(marked.table(a, KvPool::full), table);
  const Result<void> context = marked.cache().reserve(a, 107);
  ASSERT_FALSE(context.ok());
  EXPECT_EQ(context.error().code, ErrorCode::exhausted);
  EXPECT_NE(context.error().message().find("at most 256"), std::string::npos);
  EXPECT_FALSE(marked.cache().reserve(a, -1).ok());
  EXPECT_FALSE(marked.cache().reserve(a, std::numeric_limits<int64_t>::max()).ok());
  ASSERT_OK(marked.append(a, 42));
}

TEST(KvCache, ALaterSmallerReserveGivesBlocksBack) {
  MarkedCache marked(512, marked_options(512, 256, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.cache().reserve(id, 250));
  EXPECT_EQ(marked.used(KvPool::full), 4);
  ASSERT_OK(marked.cache().reserve(id, 1));
  EXPECT_EQ(marked.used(KvPool::full), 1);
}

TEST(KvCache, UnknownSequencesAreErrors) {
  MarkedCache marked(4, marked_options(64, 64, 1));
  EXPECT_EQ(marked.cache().reserve(0, 1).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(marked.cache().fork(-1, 0).error().code, ErrorCode::invalid_argument);
  const SeqId id = marked.make();
  marked.cache().release(id);
  EXPECT_EQ(marked.cache().fork(id, 0).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(marked.make(), id);
}

TEST(KvCache, SequencesHaveALimit) {
  MarkedCache marked(4, marked_options(1, 1, 1));
  for (int i = 0; i < 4096; ++i) ASSERT_OK(marked.cache().create_sequence());
  const Result<SeqId> more = marked.cache().create_sequence();
  ASSERT_FALSE(more.ok());
  EXPECT_EQ(more.error().code, ErrorCode::exhausted);
}

TEST(KvCache, PoisonCoversAllButTheLivePositions) {
  MarkedCache marked(512, marked_options(512, 100, 1));
  const SeqId a = marked.make();
  ASSERT_OK(marked.append(a, 100));
  const SeqId b = *marked.cache().fork(a, 70);
  marked.cache().poison_unused();
  for (int layer = 0; layer < 4; ++layer) {
    for (int p = 0; p < 100; ++p) EXPECT_TRUE(marked.shows(a, layer, p, p));
    for (int p = 100; p < 128; ++p) EXPECT_TRUE(marked.poisoned(a, layer, p));
  }
  EXPECT_TRUE(marked.shows(b, 0, 99, 99));  // the block is shared: the longer sequence counts
  marked.cache().release(a);
  marked.cache().poison_unused();
  EXPECT_TRUE(marked.shows(b, 0, 69, 69));
  EXPECT_TRUE(marked.poisoned(b, 0, 70));
}

// --- saving ---

std::vector<std::byte> saved(MarkedCache& marked, SeqId id) {
  MemorySink sink;
  EXPECT_OK(marked.cache().save(id, sink));
  return sink.bytes;
}

Result<SeqId> restored(MarkedCache& marked, Bytes bytes) {
  MemoryReader reader(bytes);
  return marked.cache().restore(reader);
}

TEST(KvCacheSave, ARestoredSequenceContinues) {
  MarkedCache marked(65, marked_options(600, 300, 2));
  const SeqId a = marked.make();
  const std::vector<int> marks(300, 9);
  ASSERT_OK(marked.append(a, marks, Spans{{20, 60}}));
  const auto bytes = saved(marked, a);
  MarkedCache other(65, marked_options(400, 100, 1));  // only shapes must agree
  const Result<SeqId> b = restored(other, bytes);
  ASSERT_OK(b);
  EXPECT_EQ(other.cache().length(*b), 300);
  EXPECT_EQ(other.used(KvPool::full), 5);
  EXPECT_EQ(other.used(KvPool::sliding), 2);  // from key 236 on
  for (int p = 0; p < 300; ++p) EXPECT_TRUE(other.shows(*b, 1, p, 9));
  for (int p = 236; p < 300; ++p) EXPECT_TRUE(other.shows(*b, 0, p, 9));
  EXPECT_TRUE(other.cache().resumable(*b, 299));
  EXPECT_FALSE(other.cache().resumable(*b, 255));
  ASSERT_OK(other.append(*b, 100, 1));
  EXPECT_EQ(other.cache().truncate(*b, 0), 0);
}

TEST(KvCacheSave, AnEmptySequenceIsSavedToo) {
  MarkedCache marked(4, marked_options(100, 100, 1));
  const auto bytes = saved(marked, marked.make());
  const Result<SeqId> id = restored(marked, bytes);
  ASSERT_OK(id);
  EXPECT_EQ(marked.cache().length(*id), 0);
}

TEST(KvCacheSave, AnotherShapeTypeTierOrWindowIsRefusedByName) {
  MarkedCache marked(65, marked_options(600, 300, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 10));
  const auto bytes = saved(marked, id);
  const auto message = [&](MarkedCache& other) {
    const Result<SeqId> result = restored(other, bytes);
    if (result.ok()) return std::string();
    EXPECT_EQ(result.error().code, ErrorCode::unsupported);
    return result.error().message();
  };
  MarkedCache window(64, marked_options(600, 300, 1));
  EXPECT_NE(message(window).find("window"), std::string::npos);
  MarkedCache type(65, marked_options(600, 300, 1, DType::bf16));
  EXPECT_NE(message(type).find("type of keys"), std::string::npos);
  for (const kernels::Table& kernels : kernels::usable_tables()) {
    MarkedCache tier(65, marked_options(600, 300, 1), kernels);
    EXPECT_EQ(message(tier).find("tier") != std::string::npos, kernels.isa != kernels::Isa::scalar);
  }
}

TEST(KvCacheSave, EveryTruncationAndEveryFlippedBitIsAnErrorThatLeaksNothing) {
  MarkedCache marked(4, marked_options(64, 64, 3, DType::f16));
  const SeqId id = marked.make();
  const std::vector<int> marks(3, 5);
  ASSERT_OK(marked.append(id, marks, Spans{{1, 3}}));
  const std::vector<std::byte> good = saved(marked, id);
  const int64_t used = marked.used(KvPool::full);
  for (size_t n = 0; n < good.size(); n += n < 400 ? 1 : 97) {
    ASSERT_FALSE(restored(marked, std::span(good).first(n)).ok()) << n;
    ASSERT_EQ(marked.used(KvPool::full), used);
  }
  for (size_t bit = 0; bit < good.size() * 8; bit += bit < 3200 ? 1 : 101) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(restored(marked, bad).ok()) << bit;
    ASSERT_EQ(marked.used(KvPool::full), used);
    ASSERT_EQ(marked.used(KvPool::sliding), used);
  }
  ASSERT_OK(restored(marked, good));
}

TEST(KvCacheSave, WhatDoesNotFitIsExhausted) {
  MarkedCache marked(4, marked_options(600, 600, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 500));
  const auto bytes = saved(marked, id);
  MarkedCache small(4, marked_options(499, 100, 1));
  EXPECT_EQ(restored(small, bytes).error().code, ErrorCode::exhausted);
  EXPECT_EQ(restored(marked, bytes).error().code, ErrorCode::exhausted);  // the original still holds the blocks
  marked.cache().release(id);
  EXPECT_OK(restored(marked, bytes));
}

TEST(KvCacheSave, AFailingSinkFailsTheSave) {
  MarkedCache marked(4, marked_options(64, 64, 1));
  const SeqId id = marked.make();
  ASSERT_OK(marked.append(id, 10));
  const size_t whole = saved(marked, id).size();
  for (size_t limit = 0; limit < whole; limit += 11) {
    MemorySink sink;
    sink.limit = limit;
    EXPECT_FALSE(marked.cache().save(id, sink).ok()) << limit;
  }
}

}  // namespace
}  // namespace facet::model
