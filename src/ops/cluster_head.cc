#include "ops/cluster_head.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "ops/access.h"

namespace facet::ops {

struct ClusterAccess {
  static std::span<int32_t> chosen(ClusterScratch& s) {
    return {data(s.chosen_.view()), static_cast<size_t>(s.chosen_.cols())};
  }
  static float* row(ClusterScratch& s, int thread) { return ops::row(s.row_.view(), thread); }
};

namespace {

// The numbers of the largest scores, in falling order.
void choose(std::span<int32_t> chosen, const float* scores, int64_t n) {
  size_t count = 0;
  for (int32_t c = 0; c < n; ++c) {
    if (count == chosen.size() && !(scores[c] > scores[chosen.back()])) continue;
    size_t at = count < chosen.size() ? count++ : count - 1;
    for (; at > 0 && scores[c] > scores[chosen[at - 1]]; --at) chosen[at] = chosen[at - 1];
    chosen[at] = c;
  }
}

}  // namespace

Result<ClusterScratch> ClusterScratch::allocate(int n_threads, int64_t used, int64_t width) {
  ClusterScratch scratch;
  FACET_TRY(scratch.chosen_, Matrix<int32_t>::allocate(1, used));
  FACET_TRY(scratch.row_, Matrix<float>::allocate(n_threads, width));
  return scratch;
}

Result<void> cluster_head(Context& ctx, Mat<float> logits, Mat<const float> y, Mat<const float> scores,
                          std::span<const Token> ordering, const RowSource& table, ClusterScratch& scratch) {
  const std::span<int32_t> chosen = ClusterAccess::chosen(scratch);
  const int64_t size = static_cast<int64_t>(ordering.size()) / scores.cols(), width = y.cols();
  FACET_CHECK(scores.cols() >= static_cast<int64_t>(chosen.size()) && table.cols() == width &&
              logits.cols() == static_cast<int64_t>(ordering.size()));
  constexpr Token kNone = std::numeric_limits<Token>::max();
  std::atomic<Token> failed = kNone;
  for (int64_t i = 0; i < y.rows(); ++i) {
    choose(chosen, row(scores, i), scores.cols());
    float* out = row(logits, i);
    std::fill_n(out, logits.cols(), std::numeric_limits<float>::infinity());
    parallel(ctx, static_cast<int64_t>(chosen.size()), [&](int64_t unit, int thread) {
      float* values = ClusterAccess::row(scratch, thread);
      for (const Token token :
           ordering.subspan(static_cast<size_t>(chosen[static_cast<size_t>(unit)] * size), static_cast<size_t>(size))) {
        const Result<const std::byte*> bytes = table.row(token);
        if (!bytes.ok()) {
          failed = token;
          return;
        }
        kernels::dequantize(table.type(), values, *bytes, width);
        out[token] = ctx.kernels->dot(values, row(y, i), width);
      }
    });
    if (failed != kNone) FACET_TRY_VOID(table.row(failed.load()));  // its Error, once more
    const float others = *std::min_element(out, out + logits.cols()) - 1;
    for (int64_t v = 0; v < logits.cols(); ++v)
      if (out[v] == std::numeric_limits<float>::infinity()) out[v] = others;
  }
  return {};
}

}  // namespace facet::ops
