// The products of int8 caches for a vector V of 16 floats (see lanes_simd.h): codes of 16 bits, of queries or of
// weights, meet codes of 8 bits in exact sums, four to a step, in 32 lanes (keys for scores, values of d for the
// weighted sum).
//
// C, the tier's integers, has: Sums (16), start (all lanes alike), total (to floats); Cells (16 stored quads), keys
// (codes plus 128) and values; add_keys and add_values (sums + products with a coded quad); store_query and
// store_weights (16 whole numbers, or what is rounded to them, as four coded quads of 8 bytes); kQueryTile (queries
// that share one reading of a block). 32-bit sums may wrap around on the way; what is left in the end does not.
#pragma once

#include "kernels/attention_simd.h"

namespace facet::kernels::simd {

template <class V, class C>
struct Int8Kernels {
  using Floats = typename V::Floats;
  using Sums = typename C::Sums;
  static constexpr int kQuadBytes = 8;    // of a coded quad
  static constexpr int kCellBytes = 128;  // of 32 stored quads
  static constexpr int kParts = kKvBlockKeys / kLanes;
  static constexpr int kWeightBytes = 2 * kKvBlockKeys;  // of a query's coded weights
  static constexpr int64_t kWeightRows = 32;             // queries whose weights are coded together

  static void code_query(std::byte* coded, const float* q, int64_t head_dim) {
    Floats largest = V::zero();
    for (int64_t d = 0; d < head_dim; d += kLanes)
      largest = V::max_bits(largest, V::magnitude(load<V>(q + d, head_dim - d, 0)));
    const float most = static_cast<float>(query_code_max(head_dim)), scale = finite_lane<V>(largest) / most;
    std::memcpy(coded, &scale, sizeof(scale));
    Floats sum = V::zero();
    for (int64_t d = 0; d < padded_head(head_dim); d += kLanes) {
      Floats code = V::zero();
      if (scale > 0 && d < head_dim) {
        const Floats exact = V::div(load<V>(q + d, head_dim - d, 0), V::set1(scale));
        code = V::round(V::min(V::set1(most), V::max(V::set1(-most), exact)));
      }
      sum = V::add(sum, code);
      C::store_query(coded + 8 + 2 * d, code);
    }
    const int32_t start = -128 * static_cast<int32_t>(sum_lanes<V>(sum));  // takes the 128 of every key's code back
    std::memcpy(coded + 4, &start, sizeof(start));
  }

  // Q queries' sums over n quads and 32 lanes. Quads of a query stand one after the other, queries `stride` bytes
  // apart.
  template <int Q, bool keys>
  FACET_INLINE static void add_products(Sums (&sums)[Q][2], const std::byte* coded, int64_t stride, int64_t n,
                                        const std::byte* cells) {
    for (int64_t i = 0; i < n; ++i, cells += kCellBytes, coded += kQuadBytes) {
      __builtin_prefetch(cells + kCellsAhead);
      __builtin_prefetch(cells + kCellsAhead + 64);
      FACET_UNROLL for (int part = 0; part < 2; ++part) {
        if constexpr (keys) {
          const typename C::Cells quads = C::keys(cells + 64 * part);
          FACET_UNROLL for (int q = 0; q < Q; ++q) C::add_keys(sums[q][part], quads, coded + q * stride);
        } else {
          const typename C::Cells quads = C::values(cells + 64 * part);
          FACET_UNROLL for (int q = 0; q < Q; ++q) C::add_values(sums[q][part], quads, coded + q * stride);
        }
      }
    }
  }

  template <int Q>
  static void half_scores(float* scores, const std::byte* coded, int64_t stride, const std::byte* keys,
                          const float* scales, int64_t head_dim, float scale) {
    Sums sums[Q][2];
    FACET_UNROLL for (int q = 0; q < Q; ++q) {
      int32_t start;
      std::memcpy(&start, coded + q * stride + 4, sizeof(start));
      sums[q][0] = sums[q][1] = C::start(start);
    }
    add_products<Q, true>(sums, coded + 8, stride, padded_head(head_dim) / 4, keys);
    FACET_UNROLL for (int q = 0; q < Q; ++q) {
      float of_query;
      std::memcpy(&of_query, coded + q * stride, sizeof(of_query));
      const Floats unit = V::set1(of_query * scale);
      FACET_UNROLL for (int part = 0; part < 2; ++part)
          V::store(scores + q * kKvBlockKeys + part * kLanes,
                   V::mul(C::total(sums[q][part]), V::mul(V::load(scales + part * kLanes), unit)));
    }
  }

  static void scores_coded(float* scores, const std::byte* coded, int64_t stride, int64_t n, const std::byte* k_block,
                           int64_t head_dim, float scale) {
    constexpr int T = C::kQueryTile;
    float scales[kKvBlockKeys];
    std::memcpy(scales, k_block + scales_offset(head_dim), sizeof(scales));
    for (int half = 0; half < 2; ++half) {
      const std::byte* keys = k_block + half * 32 * padded_head(head_dim);
      const auto tile = [&]<int Q>(int64_t i) {
        half_scores<Q>(scores + i * kKvBlockKeys + half * 32, coded + i * stride, stride, keys, scales + half * 32,
                       head_dim, scale);
      };
      int64_t i = 0;
      for (; i + T <= n; i += T) tile.template operator()<T>(i);
      if constexpr (T > 2)
        for (; i + T / 2 <= n; i += T / 2) tile.template operator()<T / 2>(i);
      for (; i < n; ++i) tile.template operator()<1>(i);
    }
  }

  // The weights of one query's values as codes; returns what a code stands for.
  static float code_weights(std::byte* coded, const float* p, const float* scales) {
    Floats weight[kParts], largest = V::zero();
    FACET_UNROLL for (int i = 0; i < kParts; ++i) {
      weight[i] = V::mul(V::load(p + i * kLanes), V::load(scales + i * kLanes));
      largest = V::max_bits(largest, V::magnitude(weight[i]));
    }
    const float unit = finite_lane<V>(largest) / kWeightCodeMax;
    if (!(unit > 0)) {
      std::memset(coded, 0, kWeightBytes);
      return unit;
    }
    FACET_UNROLL for (int i = 0; i < kParts; ++i)
        C::store_weights(coded + i * 2 * kLanes, V::min(V::set1(kWeightCodeMax), V::div(weight[i], V::set1(unit))));
    return unit;
  }

  // 32 values of d (or `width`, at the end of a head) of Q queries.
  template <int Q>
  static void strip(float* acc, int64_t acc_stride, const std::byte* coded, const float* units, const std::byte* values,
                    int64_t width) {
    Sums sums[Q][2];
    FACET_UNROLL for (int q = 0; q < Q; ++q) sums[q][0] = sums[q][1] = C::start(0);
    add_products<Q, false>(sums, coded, kWeightBytes, kKvBlockKeys / 4, values);
    FACET_UNROLL for (int q = 0; q < Q; ++q) {
      FACET_UNROLL for (int part = 0; part < 2; ++part) {
        const int64_t left = width - part * kLanes;
        if (left <= 0) continue;
        float* to = acc + q * acc_stride + part * kLanes;
        store<V>(to, left, V::fma(C::total(sums[q][part]), V::set1(units[q]), load<V>(to, left, 0)));
      }
    }
  }

  static void accumulate(float* acc, int64_t acc_stride, const float* p, int64_t n, const std::byte* v_block,
                         int64_t head_dim) {
    for (; n > kWeightRows; n -= kWeightRows, acc += kWeightRows * acc_stride, p += kWeightRows * kKvBlockKeys)
      accumulate_some(acc, acc_stride, p, kWeightRows, v_block, head_dim);
    accumulate_some(acc, acc_stride, p, n, v_block, head_dim);
  }

  static void accumulate_some(float* acc, int64_t acc_stride, const float* p, int64_t n, const std::byte* v_block,
                              int64_t head_dim) {
    constexpr int T = C::kQueryTile;
    constexpr int64_t kStripBytes = 32 * kKvBlockKeys;
    float scales[kKvBlockKeys], units[kWeightRows];
    std::memcpy(scales, v_block + scales_offset(head_dim), sizeof(scales));
    alignas(64) std::byte coded[kWeightRows * kWeightBytes];
    for (int64_t i = 0; i < n; ++i) units[i] = code_weights(coded + i * kWeightBytes, p + i * kKvBlockKeys, scales);
    for (int64_t d = 0; d < head_dim; d += 32, v_block += kStripBytes) {
      const int64_t width = head_dim - d < 32 ? head_dim - d : 32;
      const auto tile = [&]<int Q>(int64_t i) {
        strip<Q>(acc + i * acc_stride + d, acc_stride, coded + i * kWeightBytes, units + i, v_block, width);
      };
      int64_t i = 0;
      for (; i + T <= n; i += T) tile.template operator()<T>(i);
      if constexpr (T > 2)
        for (; i + T / 2 <= n; i += T / 2) tile.template operator()<T / 2>(i);
      for (; i < n; ++i) tile.template operator()<1>(i);
    }
  }
};

// Storage stays the scalar tier's.
template <class V, class C>
void use_int8(KvType& type) {
  using Kernels = Int8Kernels<V, C>;
  type.code_query = Kernels::code_query;
  type.scores_coded = Kernels::scores_coded;
  type.accumulate = Kernels::accumulate;
}

}  // namespace facet::kernels::simd
