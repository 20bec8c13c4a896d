// Blocks of the key/value cache as bytes: zero, copy, save, restore, poison.
#include "ops/kv_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/thread_pool.h"
#include "ops/access.h"
#include "ops/attention.h"
#include "ops/kv_access.h"
#include "support/expect.h"

namespace facet::ops {
namespace {

const std::vector<KvLayerShape> kLayers = {
    {.pool = KvPool::sliding, .kv_heads = 2, .head_dim = 8, .k = DType::bf16, .v = DType::f16},
    {.pool = KvPool::full, .kv_heads = 1, .head_dim = 40, .k = DType::f32, .v = DType::bf16},
    {.pool = KvPool::sliding, .kv_heads = 3, .head_dim = 32, .k = DType::f16, .v = DType::f32},
};

class KvBlocksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<KvBlocks> made = KvBlocks::create(kernels::best_table(), kLayers, 5, 3);
    ASSERT_OK(made);
    blocks_ = std::move(made).value();
  }

  // Stores `rows` positions from `first` on; every number is value + its place.
  void fill(int layer, const std::vector<BlockId>& table, int64_t first, int64_t rows, float value) {
    const KvLayerShape& shape = kLayers[static_cast<size_t>(layer)];
    auto k = Matrix<float>::allocate(rows, shape.kv_heads * shape.head_dim).value();
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = 0; i < k.cols(); ++i) row(k.view(), t)[i] = value + static_cast<float>((t * 7 + i) % 32);
    write_kv(ctx_, {.blocks = &blocks_, .layer = layer, .table = table, .first_position = first}, k.view(), k.view());
  }

  std::vector<float> key(int layer, BlockId block, int64_t head, int position) {
    std::vector<float> k(static_cast<size_t>(KvAccess::head_dim(blocks_, layer)));
    KvAccess::k_type(blocks_, layer)
        .load_k(k.data(), KvAccess::k(blocks_, layer, block, head), position, KvAccess::head_dim(blocks_, layer));
    return k;
  }
  std::vector<float> value(int layer, BlockId block, int64_t head, int position) {
    std::vector<float> v(static_cast<size_t>(KvAccess::head_dim(blocks_, layer)));
    KvAccess::v_type(blocks_, layer)
        .load_v(v.data(), KvAccess::v(blocks_, layer, block, head), position, KvAccess::head_dim(blocks_, layer));
    return v;
  }
  std::vector<std::byte> saved(KvPool pool, BlockId block) {
    std::vector<std::byte> bytes(static_cast<size_t>(blocks_.block_bytes(pool)));
    blocks_.save(pool, block, bytes);
    return bytes;
  }
  bool is_zero(KvPool pool, BlockId block) {
    const std::vector<std::byte> bytes = saved(pool, block);
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  }

  ThreadPool pool_{2};
  Context ctx_{.kernels = &kernels::best_table(), .pool = &pool_};
  KvBlocks blocks_;
};

TEST_F(KvBlocksTest, SizesFollowFromShapes) {
  EXPECT_EQ(blocks_.capacity(KvPool::sliding), 5);
  EXPECT_EQ(blocks_.capacity(KvPool::full), 3);
  EXPECT_EQ(blocks_.n_layers(), 3);
  // heads * 64 positions * D padded to 32 * bytes of a number
  EXPECT_EQ(blocks_.block_bytes(KvPool::sliding), 2 * 64 * 32 * (2 + 2) + 3 * 64 * 32 * (2 + 4));
  EXPECT_EQ(blocks_.block_bytes(KvPool::full), 64 * 64 * (4 + 2));
}

TEST_F(KvBlocksTest, StoredPositionsComeHomeAsFloats) {
  const std::vector<BlockId> table = {2, 0};
  fill(1, table, 0, 70, 3);
  const KvView view{.blocks = &blocks_, .layer = 1, .table = table, .end = 70};
  std::vector<float> k(40), v(40);
  for (const int position : {0, 63, 64, 69}) {
    read_kv(k, v, view, 0, position);
    EXPECT_EQ(k, key(1, table[static_cast<size_t>(position / 64)], 0, position % 64));
    EXPECT_EQ(v, value(1, table[static_cast<size_t>(position / 64)], 0, position % 64));
    EXPECT_EQ(k[2], 3 + static_cast<float>((position * 7 + 2) % 32));
  }
}

TEST_F(KvBlocksTest, RefuseATypeThatCannotBeStored) {
  const std::vector<KvLayerShape> layers = {
      {.pool = KvPool::full, .kv_heads = 1, .head_dim = 8, .k = DType::q8_0, .v = DType::f16}};
  const Result<KvBlocks> made = KvBlocks::create(kernels::best_table(), layers, 1, 1);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::unsupported);
}

TEST_F(KvBlocksTest, StartAsZeros) {
  for (BlockId block = 0; block < 5; ++block) EXPECT_TRUE(is_zero(KvPool::sliding, block));
}

TEST_F(KvBlocksTest, WrittenPositionsStandInTheBlocksOfTheTable) {
  fill(0, {3, 1}, 60, 8, 1);  // positions 60…63 in block 3, 64…67 in block 1
  for (int64_t t = 0; t < 8; ++t) {
    for (int64_t head = 0; head < 2; ++head) {
      const BlockId block = t < 4 ? 3 : 1;
      const std::vector<float> k = key(0, block, head, static_cast<int>((60 + t) % 64));
      EXPECT_EQ(k, value(0, block, head, static_cast<int>((60 + t) % 64)));
      for (int64_t d = 0; d < 8; ++d)
        EXPECT_EQ(k[static_cast<size_t>(d)], 1 + static_cast<float>((t * 7 + head * 8 + d) % 32));
    }
  }
  for (BlockId block : {0, 2, 4}) EXPECT_TRUE(is_zero(KvPool::sliding, block));
}

TEST_F(KvBlocksTest, ZeroClearsEveryLayerOfItsPoolAndNothingElse) {
  fill(0, {2}, 0, 64, 1);
  fill(2, {2}, 0, 64, 2);
  fill(0, {1}, 0, 1, 3);
  fill(1, {2}, 0, 64, 4);
  blocks_.zero(KvPool::sliding, 2);
  EXPECT_TRUE(is_zero(KvPool::sliding, 2));
  EXPECT_FALSE(is_zero(KvPool::sliding, 1));
  EXPECT_FALSE(is_zero(KvPool::full, 2));
}

TEST_F(KvBlocksTest, ZeroValuesKeepsKeysAndWhatStandsInFront) {
  for (const int first : {0, 1, 6, 63}) {
    fill(0, {2}, 0, 64, 1);
    fill(2, {2}, 0, 64, 1);
    fill(1, {2}, 0, 64, 1);
    fill(0, {1}, 0, 64, 1);
    blocks_.zero_values(KvPool::sliding, 2, first);
    for (const int layer : {0, 2}) {
      for (int64_t head = 0; head < kLayers[static_cast<size_t>(layer)].kv_heads; ++head) {
        for (int position = 0; position < 64; ++position) {
          const std::vector<float> k = key(layer, 2, head, position), v = value(layer, 2, head, position);
          EXPECT_GT(k[0], 0);
          EXPECT_EQ(v, position < first ? k : std::vector<float>(k.size())) << first << ' ' << position;
        }
      }
    }
    EXPECT_GT(value(0, 1, 0, 63)[0], 0);
    EXPECT_GT(value(1, 2, 0, 63)[0], 0);
  }
}

TEST_F(KvBlocksTest, CopyAndRestoreCarryAllBytes) {
  fill(0, {2}, 0, 64, 1);
  fill(2, {2}, 5, 40, 2);
  const std::vector<std::byte> bytes = saved(KvPool::sliding, 2);
  blocks_.copy(KvPool::sliding, 4, 2);
  blocks_.restore(KvPool::sliding, 0, bytes);
  EXPECT_EQ(saved(KvPool::sliding, 4), bytes);
  EXPECT_EQ(saved(KvPool::sliding, 0), bytes);
  EXPECT_TRUE(is_zero(KvPool::sliding, 3));
}

TEST_F(KvBlocksTest, PoisonLeavesNothingReadable) {
  blocks_.poison(KvPool::sliding, 1);
  for (int layer : {0, 2}) {
    for (int position = 0; position < 64; ++position) {
      for (float x : key(layer, 1, 1, position)) EXPECT_TRUE(std::isnan(x));
      for (float x : value(layer, 1, 1, position)) EXPECT_EQ(x, layer == 0 ? 65504.0f : 0x1.FEp127f);
    }
  }
  EXPECT_TRUE(is_zero(KvPool::sliding, 0));
  EXPECT_TRUE(is_zero(KvPool::sliding, 2));
  EXPECT_TRUE(is_zero(KvPool::full, 1));
}

TEST_F(KvBlocksTest, PoisonedTailKeepsWhatStandsInFront) {
  fill(1, {0}, 0, 64, 1);
  const std::vector<float> before = key(1, 0, 0, 9);
  blocks_.poison_tail(KvPool::full, 0, 10);
  EXPECT_EQ(key(1, 0, 0, 9), before);
  for (float x : key(1, 0, 0, 10)) EXPECT_TRUE(std::isnan(x));
  for (float x : value(1, 0, 0, 63)) EXPECT_EQ(x, 0x1.FEp127f);
}

}  // namespace
}  // namespace facet::ops
