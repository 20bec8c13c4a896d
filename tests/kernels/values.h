// What the tests of several kernels share: numbers, head widths, comparison of bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "support/special_floats.h"

namespace facet::kernels {

using testing::kInfinity;
using testing::kNaN;

inline constexpr double kUnit = 0x1p-24;  // half an ulp of 1: one rounding
inline constexpr int64_t kHeadDims[] = {1, 7, 8, 16, 31, 32, 48, 72, 256, 512};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

}  // namespace facet::kernels
