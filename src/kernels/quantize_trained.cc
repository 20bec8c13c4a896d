// Q4_0 for weights that were trained on its grid.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/quantize.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

namespace facet::kernels {
namespace {

// BF16 rounds a value by up to 1/256 of it, and so is the extreme value, which the step comes from.
constexpr float kGridError = 1.0f / 128;

struct Trial {
  float step = 0, error = 0;
  bool on_grid = false;
};

int code_of(float x, float inverse) {
  const float l = x * inverse;
  return static_cast<int>((std::min(std::max(l, -8.0f), 7.0f) + 12582912.0f) - 12582912.0f);
}

// A step as stored: half precision.
float stored(float step) { return half_to_float(float_to_half(step)); }

// The step that fits the codes best which this one gives.
float refined(const float* x, float step) {
  float product = 0, square = 0;
  for (int i = 0; i < 32; ++i) {
    const float code = static_cast<float>(code_of(x[i], 1 / step));
    product += x[i] * code;
    square += code * code;
  }
  return square > 0 ? stored(product / square) : step;
}

Trial try_step(const float* x, float step) {
  Trial trial{.step = step, .error = 0, .on_grid = true};
  const float inverse = 1 / step;
  for (int i = 0; i < 32; ++i) {
    const float difference = x[i] - step * static_cast<float>(code_of(x[i], inverse));
    trial.error += difference * difference;
    trial.on_grid &= std::abs(difference) <= kGridError * std::abs(x[i]);
  }
  return trial;
}

// The extreme value stands on some code: the one with the least error, of equals the outermost.
Trial best_step(const float* x) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  if (!(std::abs(extreme) > 0)) return {.step = 0, .error = 0, .on_grid = true};
  Trial best;
  for (int distance = 8; distance >= 1; --distance) {
    for (const int code : {-distance, distance}) {
      if (code == 8) continue;
      const float first = stored(extreme / static_cast<float>(code));
      if (first == 0 || !std::isfinite(first)) continue;
      for (const float step : {first, refined(x, first)}) {
        if (step == 0 || !std::isfinite(step)) continue;
        const Trial trial = try_step(x, step);
        if (best.step == 0 || trial.error < best.error) best = trial;
      }
    }
  }
  return best;
}

}  // namespace

int64_t quantize_q4_0_trained(std::byte* out, const float* x, int64_t cols) {
  int64_t on_grid = 0;
  for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
    const Trial best = best_step(x);
    on_grid += best.on_grid;
    BlockQ4_0 block{};
    block.d = float_to_half(best.step);
    const float inverse = best.step != 0 ? 1 / best.step : 0;
    for (int j = 0; j < 16; ++j)
      block.qs[j] = static_cast<uint8_t>((code_of(x[j], inverse) + 8) | (code_of(x[16 + j], inverse) + 8) << 4);
    std::memcpy(out + b * static_cast<int64_t>(sizeof(block)), &block, sizeof(block));
  }
  return on_grid;
}

}  // namespace facet::kernels
