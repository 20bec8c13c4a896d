// Values of quantised blocks: against the reference's bits, and a few small blocks written out by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/strings.h"
#include "formats/checkpoint.h"
#include "kernels/table.h"
#include "support/expect.h"
#include "support/paths.h"
#include "tensor/quant_blocks.h"

namespace facet::kernels {
namespace {

constexpr uint16_t kOne = 0x3C00, kHalf = 0x3800, kMinusTwo = 0xC000;  // binary16

template <class Block>
std::vector<float> values_of(DType type, const Block& block) {
  std::vector<float> values(static_cast<size_t>(info(type).block));
  dequantize(type, values.data(), reinterpret_cast<const std::byte*>(&block), info(type).block);
  return values;
}

TEST(Dequantize, EqualsTheReferenceBitForBit) {
  FACET_SHARED_OR_SKIP(path, "golden/quant/dequantise.safetensors");
  const auto golden = formats::Checkpoint::open(path);
  ASSERT_OK(golden);
  int compared = 0;
  for (const formats::TensorInfo& expected : golden.value().tensors()) {
    const size_t dot = expected.name.find('.');
    const auto type = dtype_named(expected.name.substr(0, dot));
    if (expected.name.substr(dot) != ".dequant" || !type || !can_dequantize(*type)) continue;
    const formats::TensorInfo* bytes = golden.value().find(cat(name(*type), ".bytes"));
    ASSERT_NE(bytes, nullptr) << expected.name;
    const auto n = static_cast<size_t>(expected.elements());
    std::vector<float> want(n), got(n);
    std::memcpy(want.data(), golden.value().bytes(expected).data(), n * sizeof(float));
    dequantize(*type, got.data(), golden.value().bytes(*bytes).data(), expected.elements());
    for (size_t i = 0; i < n; ++i) {  // up to the sign of zero, as the golden's README says
      if (want[i] == 0 && got[i] == 0) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << expected.name << ' ' << i;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 27);
}

TEST(Dequantize, Q4_0HoldsTheFirstHalfInLowNibbles) {
  BlockQ4_0 block{.d = kHalf, .qs = {}};
  block.qs[0] = 0xF0, block.qs[15] = 0x3B;
  const auto value = values_of(DType::q4_0, block);
  EXPECT_EQ(value[0], -4.0f);
  EXPECT_EQ(value[16], 3.5f);
  EXPECT_EQ(value[15], 1.5f);
  EXPECT_EQ(value[31], -2.5f);
}

TEST(Dequantize, Q4_1AddsItsMinimum) {
  BlockQ4_1 block{.d = kHalf, .m = kMinusTwo, .qs = {}};
  block.qs[3] = 0xF1;
  const auto value = values_of(DType::q4_1, block);
  EXPECT_EQ(value[3], -1.5f);
  EXPECT_EQ(value[19], 5.5f);
  EXPECT_EQ(value[0], -2.0f);
}

TEST(Dequantize, Q5TakesItsFifthBitFromTheSeparateWord) {
  BlockQ5_0 signed_block{.d = kOne, .qh = {}, .qs = {}};
  signed_block.qs[2] = 0x51;
  signed_block.qh[0] = 1 << 2, signed_block.qh[2] = 1 << 2;  // elements 2 and 18
  const auto value = values_of(DType::q5_0, signed_block);
  EXPECT_EQ(value[2], 1.0f);
  EXPECT_EQ(value[18], 5.0f);
  EXPECT_EQ(value[3], -16.0f);

  BlockQ5_1 block{.d = kOne, .m = kHalf, .qh = {0, 0, 0, 0x80}, .qs = {}};  // element 31
  EXPECT_EQ(values_of(DType::q5_1, block)[31], 16.5f);
  EXPECT_EQ(values_of(DType::q5_1, block)[0], 0.5f);
}

TEST(Dequantize, Q8_0IsSigned) {
  BlockQ8_0 block{.d = kMinusTwo, .qs = {}};
  block.qs[0] = -128, block.qs[31] = 127;
  const auto value = values_of(DType::q8_0, block);
  EXPECT_EQ(value[0], 256.0f);
  EXPECT_EQ(value[31], -254.0f);
}

TEST(Dequantize, Q2KScalesAndMinimaAreNibbles) {
  BlockQ2K block{.scales = {}, .qs = {}, .d = kOne, .dmin = kHalf};
  block.scales[0] = 0x21;      // scale 1, minimum 2: columns 0…15
  block.scales[11] = 0x05;     // scale 5, minimum 0: columns 176…191
  block.qs[0] = 3;             // column 0
  block.qs[32 + 17] = 2 << 2;  // second half, group 1, column 128 + 32 + 17
  const auto value = values_of(DType::q2_k, block);
  EXPECT_EQ(value[0], 2.0f);
  EXPECT_EQ(value[1], -1.0f);
  EXPECT_EQ(value[177], 10.0f);
}

TEST(Dequantize, Q3KBiasIsTakenOffWhereTheHighBitIsClear) {
  BlockQ3K block{.hmask = {}, .qs = {}, .scales = {}, .d = kOne};
  block.scales[0] = 5, block.scales[8] = 2;  // sub-block 0: 5 | 2 << 4 = 37, less 32 is 5
  block.qs[0] = 3;
  block.hmask[0] = 1;
  const auto value = values_of(DType::q3_k, block);
  EXPECT_EQ(value[0], 15.0f);
  EXPECT_EQ(value[1], -20.0f);
}

TEST(Dequantize, Q4KAndQ5KShareTheirScales) {
  BlockQ4K block{.d = kOne, .dmin = kHalf, .scales = {}, .qs = {}};
  block.scales[1] = 7, block.scales[5] = 2;  // sub-block 1: scale 7, minimum 2
  block.qs[4] = 0x90;                        // column 36
  EXPECT_EQ(values_of(DType::q4_k, block)[36], 62.0f);
  EXPECT_EQ(values_of(DType::q4_k, block)[37], -1.0f);

  BlockQ5K five{.d = kOne, .dmin = kHalf, .scales = {}, .qh = {}, .qs = {}};
  std::copy_n(block.scales, 12, five.scales);
  five.qs[4] = 0x90, five.qh[4] = 1 << 1;
  EXPECT_EQ(values_of(DType::q5_k, five)[36], 174.0f);
}

TEST(Dequantize, Q6KJoinsLowAndHighBits) {
  BlockQ6K block{.ql = {}, .qh = {}, .scales = {}, .d = kOne};
  block.scales[0] = -3, block.scales[12] = 2;
  block.ql[5] = 0x0A, block.qh[5] = 3;  // column 5: 0x3A = 58
  block.ql[64 + 1] = 0xC0;              // second half, group 2, column 128 + 64 + 1
  const auto value = values_of(DType::q6_k, block);
  EXPECT_EQ(value[5], -78.0f);
  EXPECT_EQ(value[0], 96.0f);
  EXPECT_EQ(value[193], -40.0f);
}

}  // namespace
}  // namespace facet::kernels
