// Code books of the IQ1, IQ2 and IQ3 types: which groups of values occur. Made by tools/make_iq_grids.
#pragma once

#include <cstdint>

namespace facet::kernels {

// Eight values an entry, two bits each, the first lowest.
extern const uint16_t kIq2XxsGrid[256], kIq2XsGrid[512], kIq2SGrid[1024];
inline constexpr int8_t kIq2Values[4] = {8, 25, 43, 0};
extern const uint16_t kIq1Grid[2048];
inline constexpr int8_t kIq1Values[4] = {-1, 0, 1, 0};
// Four values an entry, four bits each.
extern const uint16_t kIq3XxsGrid[256], kIq3SGrid[512];
inline constexpr int8_t kIq3XxsValues[8] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr int8_t kIq3SValues[8] = {1, 3, 5, 7, 9, 11, 13, 15};

// The signs of eight values in seven bits: the eighth makes their number even.
inline uint8_t even_signs(uint32_t seven) {
  const uint32_t bits = seven & 127;
  return static_cast<uint8_t>(bits | (static_cast<uint32_t>(__builtin_popcount(bits)) & 1) << 7);
}

}  // namespace facet::kernels
