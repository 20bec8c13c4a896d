#include "ops/importance.h"

#include <algorithm>

#include "ops/access.h"

namespace facet::ops {

void add_squares(const Context& ctx, std::span<double> sums, const LinearInput& input) {
  constexpr int64_t kColumns = 512;  // of a block of work
  const int64_t cols = input.values.cols(), count = input.count();
  FACET_CHECK(static_cast<int64_t>(sums.size()) == cols);
  parallel(ctx, (cols + kColumns - 1) / kColumns, [&](int64_t block, int) {
    const int64_t first = block * kColumns, end = std::min(cols, first + kColumns);
    for (int64_t i = 0; i < count; ++i) {
      const float* x = row(input.values, input.index.empty() ? i : input.index[static_cast<size_t>(i)]);
      for (int64_t k = first; k < end; ++k) {
        const double value = static_cast<double>(x[k]);
        sums[static_cast<size_t>(k)] += value * value;
      }
    }
  });
}

}  // namespace facet::ops
