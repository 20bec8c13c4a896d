// Row-wise work, cut into blocks of rows by shape. Private to ops/.
#pragma once

#include <algorithm>

#include "ops/context.h"

namespace facet::ops {

// Calls work(row) for rows 0 … n - 1 of `cols` elements each; about a page of elements a block.
template <class Work>
void for_rows(const Context& ctx, int64_t n, int64_t cols, const Work& work) {
  constexpr int64_t kElementsPerBlock = 4096;
  const int64_t rows = std::max<int64_t>(1, kElementsPerBlock / std::max<int64_t>(1, cols));
  parallel(ctx, (n + rows - 1) / rows, [&](int64_t block, int) {
    for (int64_t i = block * rows; i < std::min(n, (block + 1) * rows); ++i) work(i);
  });
}

// Calls work(row, first column, count) for pieces of long rows: what is done to each element alone may be cut anywhere.
template <class Work>
void for_pieces(const Context& ctx, int64_t n, int64_t cols, const Work& work) {
  constexpr int64_t kPiece = 8192;
  const int64_t pieces = std::max<int64_t>(1, (cols + kPiece - 1) / kPiece);
  for_rows(ctx, n * pieces, std::min(cols, kPiece), [&](int64_t i) {
    const int64_t first = i % pieces * kPiece;
    work(i / pieces, first, std::min(kPiece, cols - first));
  });
}

}  // namespace facet::ops
