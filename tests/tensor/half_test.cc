// 16-bit floats, over all of their values.
#include "tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace facet {
namespace {

TEST(Half, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t half = static_cast<uint16_t>(i);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      EXPECT_EQ(float_to_half(value), half);
    }
  }
}

TEST(Half, RoundsToTheNearestTiesToEven) {
  for (uint32_t i = 0; i < 0x7C00; ++i) {  // between each finite value and the next
    const double low = half_to_float(static_cast<uint16_t>(i));
    const double high = i == 0x7BFF ? 65536.0 : half_to_float(static_cast<uint16_t>(i + 1));
    const float middle = static_cast<float>((low + high) / 2);
    EXPECT_EQ(float_to_half(middle), i % 2 == 0 ? i : i + 1);
    EXPECT_EQ(float_to_half(std::nextafter(middle, 0.0f)), i);
    EXPECT_EQ(float_to_half(-std::nextafter(middle, 1e9f)), 0x8000u + i + 1);
  }
}

TEST(Half, KnownValues) {
  EXPECT_EQ(half_to_float(0x3C00), 1.0f);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(half_to_float(0xFBFF), -65504.0f);
  EXPECT_EQ(float_to_half(1e9f), 0x7C00);
  EXPECT_EQ(float_to_half(1e-9f), 0);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), 0x7C00);
}

TEST(Bf16, EveryValueSurvivesAndTiesGoToEven) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const float value = bf16_to_float(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(value))));
      continue;
    }
    EXPECT_EQ(float_to_bf16(value), bits);
    if ((i & 0x7F80) == 0x7F80) continue;
    const float middle = std::bit_cast<float>((i << 16) | 0x8000u);
    EXPECT_EQ(float_to_bf16(middle), i % 2 == 0 ? i : i + 1);
  }
}

}  // namespace
}  // namespace facet
