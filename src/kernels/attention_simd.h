// Attention over one block of 64 keys for a vector of 16 floats (see lanes_simd.h). Both products are one loop: sums in
// 32 lanes, or 16 of them at a time (keys for scores, values of d for the weighted sum), two steps of the sum a stored
// pair, one query's weight spread over all lanes. Each lane adds in ascending order, so that a query's result does not
// depend on its tile.
//
// V has, besides: pairs_f32, pairs_f16, pairs_bf16 (16 stored pairs to their even and odd halves), inside (lanes whose
// key lies in [begin, end), `otherwise` in the rest), kQueryTile (queries that share one reading of a block: 4 or 8),
// kTileVectors (how many of the two vectors of lanes a tile of more than two queries takes), and kMultipliesPairs:
// whether add_pairs (sum + two products of bf16 in each lane) is one instruction.
#pragma once

#include "kernels/lanes_simd.h"

namespace facet::kernels::simd {

template <class V>
struct PairsF32 {
  static constexpr int kBytes = 4;
  FACET_INLINE static void load(const std::byte* from, typename V::Floats& even, typename V::Floats& odd) {
    V::pairs_f32(from, even, odd);
  }
};
template <class V>
struct PairsF16 {
  static constexpr int kBytes = 2;
  FACET_INLINE static void load(const std::byte* from, typename V::Floats& even, typename V::Floats& odd) {
    V::pairs_f16(from, even, odd);
  }
};
template <class V>
struct PairsBf16 {
  static constexpr int kBytes = 2;
  FACET_INLINE static void load(const std::byte* from, typename V::Floats& even, typename V::Floats& odd) {
    V::pairs_bf16(from, even, odd);
  }
};

// How far ahead of the cells in use the next are asked for: blocks of a long context come from memory.
inline constexpr int kCellsAhead = 4096;

// Bytes of one vector of lanes: a stored pair each.
template <class Pairs>
inline constexpr int64_t kVectorBytes = kLanes * 2 * int64_t{Pairs::kBytes};

// Q queries' sums in W vectors of lanes.
template <class V, int Q, int W>
struct Sums {
  typename V::Floats lane[Q][W];
};

// sums[q] += Σ over i < n of weights[q * stride + i] * cell[i], in ascending order. cells: [n / 2][32 lanes][2], from
// the first lane of the sums on.
template <class V, class Pairs, int Q, int W>
FACET_INLINE void add_products(Sums<V, Q, W>& sums, const float* weights, int64_t stride, int64_t n,
                               const std::byte* cells) {
  using Floats = typename V::Floats;
  constexpr int64_t kBytes = kVectorBytes<Pairs>;
  for (int64_t i = 0; i < n; i += 2, cells += 2 * kBytes) {
    Floats even[W], odd[W];
    FACET_UNROLL for (int line = 0; line < W * kBytes; line += 64) __builtin_prefetch(cells + kCellsAhead + line);
    FACET_UNROLL for (int w = 0; w < W; ++w) Pairs::load(cells + w * kBytes, even[w], odd[w]);
    FACET_UNROLL for (int q = 0; q < Q; ++q) {
      const Floats weight = V::set1(weights[q * stride + i]);
      FACET_UNROLL for (int w = 0; w < W; ++w) sums.lane[q][w] = V::fma(weight, even[w], sums.lane[q][w]);
    }
    if (i + 1 == n) break;  // an odd n: the other half is padding
    FACET_UNROLL for (int q = 0; q < Q; ++q) {
      const Floats weight = V::set1(weights[q * stride + i + 1]);
      FACET_UNROLL for (int w = 0; w < W; ++w) sums.lane[q][w] = V::fma(weight, odd[w], sums.lane[q][w]);
    }
  }
}
// The same with bf16 weights, two at a time.
template <class V, class Pairs, int Q, int W>
FACET_INLINE void add_products(Sums<V, Q, W>& sums, const uint16_t* weights, int64_t stride, int64_t n,
                               const std::byte* cells) {
  constexpr int64_t kBytes = kVectorBytes<Pairs>;
  for (int64_t i = 0; i < n; i += 2, cells += 2 * kBytes) {
    FACET_UNROLL for (int w = 0; w < W; ++w) { __builtin_prefetch(cells + kCellsAhead + w * kBytes); }
    FACET_UNROLL for (int q = 0; q < Q; ++q) {
      FACET_UNROLL for (int w = 0; w < W; ++w) {
        sums.lane[q][w] = V::add_pairs(sums.lane[q][w], cells + w * kBytes, weights + q * stride + i);
      }
    }
  }
}

template <class V, class Pairs>
struct KvKernels {
  using Floats = typename V::Floats;
  // Of d, that all queries take before the next: its keys are those that were asked for during the one before, and
  // memory has the time of all queries to send them.
  static constexpr int64_t kChunk = kCellsAhead / (32 * Pairs::kBytes);

  // Calls tile.run<Q, first, W>(i) for Q queries from i on and all lanes: W vectors from `first` on. Two queries and
  // fewer have registers for both.
  template <int Q, class Tile>
  FACET_INLINE static void run_tile(const Tile& tile, int64_t i) {
    if constexpr (Q > 2 && V::kTileVectors == 1) {
      tile.template run<Q, 0, 1>(i);
      tile.template run<Q, 1, 1>(i);
    } else {
      tile.template run<Q, 0, 2>(i);
    }
  }
  // The same for all of n queries.
  template <class Tile>
  FACET_INLINE static void for_tiles(int64_t n, const Tile& tile) {
    constexpr int T = V::kQueryTile;
    static_assert(T == 4 || T == 8);
    int64_t i = 0;
    for (; i + T <= n; i += T) run_tile<T>(tile, i);
    if constexpr (T > 4)
      for (; i + 4 <= n; i += 4) run_tile<4>(tile, i);
    for (; i + 2 <= n; i += 2) run_tile<2>(tile, i);
    for (; i < n; ++i) run_tile<1>(tile, i);
  }

  // Scores of 32 keys. Weight: float or bf16, here and below.
  template <class Weight>
  struct HalfScores {
    float* scores;
    const Weight* q;
    int64_t q_stride;
    const std::byte* keys;
    int64_t n;          // of d
    bool begins, ends;  // otherwise sums go on in `scores`
    float scale;

    template <int Q, int first, int W>
    void run(int64_t i) const {
      Sums<V, Q, W> sums;
      float* to = scores + i * kKvBlockKeys + first * kLanes;
      FACET_UNROLL for (int query = 0; query < Q; ++query) {
        FACET_UNROLL for (int w = 0; w < W; ++w) {
          sums.lane[query][w] = begins ? V::zero() : V::load(to + query * kKvBlockKeys + w * kLanes);
        }
      }
      add_products<V, Pairs, Q, W>(sums, q + i * q_stride, q_stride, n, keys + first * kVectorBytes<Pairs>);
      FACET_UNROLL for (int query = 0; query < Q; ++query) {
        FACET_UNROLL for (int w = 0; w < W; ++w) {
          const Floats sum = sums.lane[query][w];
          V::store(to + query * kKvBlockKeys + w * kLanes, ends ? V::mul(sum, V::set1(scale)) : sum);
        }
      }
    }
  };

  template <class Weight>
  static void scores(float* scores, const Weight* q, int64_t q_stride, int64_t n, const std::byte* k_block,
                     int64_t head_dim, float scale) {
    const int64_t half_bytes = 32 * padded_head(head_dim) * Pairs::kBytes;
    for (int half = 0; half < 2; ++half, k_block += half_bytes) {
      for (int64_t d = 0; d < head_dim; d += kChunk) {
        const int64_t left = head_dim - d;
        for_tiles(n, HalfScores<Weight>{scores + half * 32, q + d, q_stride, k_block + d * 32 * Pairs::kBytes,
                                        left < kChunk ? left : kChunk, d == 0, left <= kChunk, scale});
      }
    }
  }

  // 32 values of d, or `width` at the end of a head.
  template <class Weight>
  struct Strip {
    float* acc;
    int64_t acc_stride;
    const Weight* p;
    const std::byte* values;
    int64_t width;

    template <int Q, int first, int W>
    void run(int64_t i) const {
      if (width <= first * kLanes) return;
      Sums<V, Q, W> sums;
      float* to = acc + i * acc_stride;
      FACET_UNROLL for (int query = 0; query < Q; ++query) {
        FACET_UNROLL for (int w = 0; w < W; ++w) {
          const int64_t lane = (first + w) * kLanes;
          sums.lane[query][w] = width > lane ? load<V>(to + query * acc_stride + lane, width - lane, 0) : V::zero();
        }
      }
      add_products<V, Pairs, Q, W>(sums, p + i * kKvBlockKeys, kKvBlockKeys, kKvBlockKeys,
                                   values + first * kVectorBytes<Pairs>);
      FACET_UNROLL for (int query = 0; query < Q; ++query) {
        FACET_UNROLL for (int w = 0; w < W; ++w) {
          const int64_t lane = (first + w) * kLanes;
          if (width > lane) store<V>(to + query * acc_stride + lane, width - lane, sums.lane[query][w]);
        }
      }
    }
  };

  template <class Weight>
  static void accumulate(float* acc, int64_t acc_stride, const Weight* p, int64_t n, const std::byte* v_block,
                         int64_t head_dim) {
    constexpr int64_t kStripBytes = 32 * kKvBlockKeys * Pairs::kBytes;
    for (int64_t d = 0; d < head_dim; d += 32, v_block += kStripBytes)
      for_tiles(n, Strip<Weight>{acc + d, acc_stride, p, v_block, head_dim - d < 32 ? head_dim - d : 32});
  }
};

template <class V>
struct SoftmaxKernels {
  using Floats = typename V::Floats;
  static constexpr float kNothing = -std::numeric_limits<float>::infinity();
  static constexpr int kParts = kKvBlockKeys / kLanes;

  // exp of one difference of scores.
  static float exp_one(float x) {
    float lanes[kLanes];
    V::store(lanes, exp<V>(V::set1(x)));
    return lanes[0];
  }

  static void scale(float* acc, float s, int64_t n) {
    if (s == 1) return;  // the largest score stayed the largest, as it mostly does
    for (int64_t d = 0; d < n; d += kLanes) store<V>(acc + d, n - d, V::mul(load<V>(acc + d, n - d, 0), V::set1(s)));
  }

  static void step_one(float* scores, SoftmaxState& state, float* acc, int begin, int end, int64_t head_dim) {
    Floats part[kParts];
    Floats max = V::set1(state.max);
    FACET_UNROLL for (int i = 0; i < kParts; ++i) {
      part[i] = V::inside(V::load(scores + i * kLanes), V::set1(kNothing), begin - i * kLanes, end - i * kLanes);
      max = V::max(part[i], max);
    }
    const float m = max_lane<V>(max);
    Floats sum = V::zero();
    FACET_UNROLL for (int i = 0; i < kParts; ++i) {
      const Floats e = exp<V>(V::sub(part[i], V::set1(m)));
      const Floats p = V::inside(e, V::zero(), begin - i * kLanes, end - i * kLanes);
      V::store(scores + i * kLanes, p);
      sum = V::add(sum, p);
    }
    const float shrink = exp_one(state.max - m);
    state.sum = state.sum * shrink + sum_lanes<V>(sum);
    state.max = m;
    scale(acc, shrink, head_dim);
  }

  static void step(float* scores_to_p, SoftmaxState* state, float* acc, int64_t acc_stride, const int* begin,
                   const int* end, int64_t n, int64_t head_dim) {
    for (int64_t i = 0; i < n; ++i) {
      float* scores = scores_to_p + i * kKvBlockKeys;
      if (begin[i] < end[i])
        step_one(scores, state[i], acc + i * acc_stride, begin[i], end[i], head_dim);
      else
        std::memset(scores, 0, kKvBlockKeys * sizeof(float));
    }
  }

  static void fold(SoftmaxState* a, float* acc_a, const SoftmaxState* b, const float* acc_b, int64_t head_dim) {
    if (b->sum == 0) return;  // a group of which nothing is visible
    const float m = a->max > b->max ? a->max : b->max;
    const float of_a = exp_one(a->max - m), of_b = exp_one(b->max - m);
    a->max = m;
    a->sum = a->sum * of_a + b->sum * of_b;
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const Floats sum = V::mul(load<V>(acc_a + d, head_dim - d, 0), V::set1(of_a));
      store<V>(acc_a + d, head_dim - d, V::fma(load<V>(acc_b + d, head_dim - d, 0), V::set1(of_b), sum));
    }
  }
};

template <class V, class C>
void use_int8(KvType& type);  // int8_attention_simd.h

template <class Kernels>
void use(KvType& type) {
  type.scores = Kernels::template scores<float>;
  type.accumulate = Kernels::template accumulate<float>;
}

// The scalar tier's storage with this tier's products; C: see int8_attention_simd.h.
template <class V, class C>
std::array<KvType, 4> kv_table() {
  std::array<KvType, 4> types;
  for (size_t i = 0; i < types.size(); ++i) {
    types[i] = scalar::kv_types()[i];
    switch (types[i].type) {
      case DType::f32: use<KvKernels<V, PairsF32<V>>>(types[i]); break;
      case DType::f16: use<KvKernels<V, PairsF16<V>>>(types[i]); break;
      case DType::i8: use_int8<V, C>(types[i]); break;
      default:
        use<KvKernels<V, PairsBf16<V>>>(types[i]);
        if constexpr (V::kMultipliesPairs) {
          types[i].scores_bf16 = KvKernels<V, PairsBf16<V>>::template scores<uint16_t>;
          types[i].accumulate_bf16 = KvKernels<V, PairsBf16<V>>::template accumulate<uint16_t>;
        }
        break;
    }
  }
  return types;
}

}  // namespace facet::kernels::simd
