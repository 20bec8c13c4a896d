// What the tests of several kernels share: numbers, head widths, comparison of bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace facet::kernels {

inline constexpr double kUnit = 0x1p-24;  // half an ulp of 1: one rounding
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr int64_t kHeadDims[] = {1, 7, 8, 16, 31, 32, 48, 72, 256, 512};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

}  // namespace facet::kernels
