// What the quantisers of all block types are made of: two super-blocks, or 16 blocks, of a row are searched at a time
// (quantize_fit_simd.h), weighted as the type asks for.
#pragma once

#include "kernels/quantize_fit_simd.h"

namespace facet::kernels::simd {

template <class Tier>
struct QuantizerPieces {
  using Fits = Fit<Tier>;
  using F = typename Fits::F;
  static constexpr int kLanes = Tier::kLanes;
  static constexpr int kGroup = 512;  // values searched at a time

  template <class Block>
  FACET_INLINE static void put(std::byte* out, int64_t number, const Block& block) {
    std::memcpy(out + number * static_cast<int64_t>(sizeof(Block)), &block, sizeof(block));
  }

  // nearest((x + offset) / step) within low … high, less low, as bytes.
  template <int n>
  static void recode(uint8_t* code, const float* x, float offset, float step, float low, float high) {
    for (int i = 0; i < n; ++i) {
      float l = (x[i] + offset) / step;
      l = l > low ? l : low;
      l = l < high ? l : high;
      code[i] = static_cast<uint8_t>(static_cast<int>((l + kRoundMagic) - kRoundMagic - low));
    }
  }

  FACET_INLINE static float sum_of_squares(const float* x, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
    return sum;
  }

  // To the nearest integer, halves away from zero, within -most … most.
  FACET_INLINE static int rounded_half_away(float value, float most) {
    float a = value < 0 ? -value : value;
    a = a < most ? a : most;                             // NaN: most
    const float even = (a + kRoundMagic) - kRoundMagic;  // halves went to the even neighbour
    const int whole = static_cast<int>(a - even == 0.5f ? even + 1 : even);
    return value < 0 ? -whole : whole;
  }

  // What the fits of a group of sub-blocks of n values found.
  template <int n>
  struct Group {
    static constexpr int kBlocks = kGroup / n;
    float scale[kBlocks], minimum[kBlocks], weight_sum[kBlocks];
    uint8_t code[kGroup];
  };

  enum class Weights : uint8_t {
    size,        // |x|
    level,       // root mean square of the sub-block + |x|
    square,      // x²
    importance,  // of the column, times sqrt(spread + x²)
    plain,       // of the column
  };
  struct Source {
    const float* x;
    const float* importance;  // of the same columns; null: none
    const float* spread;      // for each sub-block; null: none
    int64_t blocks;           // sub-blocks that are there
  };

  template <int n, Weights weights>
  FACET_INLINE static void load_weights(F (&w)[n], const F (&x)[n], const Source& from, int64_t first) {
    if constexpr (weights == Weights::size)
      for (int i = 0; i < n; ++i) w[i] = Fits::magnitude(x[i]);
    if constexpr (weights == Weights::square)
      for (int i = 0; i < n; ++i) w[i] = x[i] * x[i];
    if constexpr (weights == Weights::level) {
      F sum = {};
      for (int i = 0; i < n; ++i) sum += x[i] * x[i];
      const F level = Fits::square_root(sum / static_cast<float>(n));
      for (int i = 0; i < n; ++i) w[i] = level + Fits::magnitude(x[i]);
    }
    if constexpr (weights == Weights::plain || weights == Weights::importance)
      Fits::template load<n>(w, from.importance, first, from.blocks);
    if constexpr (weights == Weights::importance) {
      F spread = {};
      for (int lane = 0; lane < kLanes; ++lane)
        spread[lane] = from.spread[first + lane < from.blocks ? first + lane : from.blocks - 1];
      for (int i = 0; i < n; ++i) w[i] *= Fits::square_root(spread + x[i] * x[i]);
    }
  }

  // Runs `fit(code, x, w)` for all sub-blocks of a group, kLanes at a time; fit returns {scale, minimum}.
  template <int n, Weights weights, class Work>
  FACET_INLINE static void fit_group(Group<n>& group, const Source& from, const Work& fit) {
    for (int64_t first = 0; first < from.blocks; first += kLanes) {
      F x[n], w[n], code[n];
      Fits::template load<n>(x, from.x, first, from.blocks);
      load_weights<n, weights>(w, x, from, first);
      const typename Fits::Affine found = fit(code, x, w);
      F sum = {};
      for (int i = 0; i < n; ++i) sum += w[i];
      const int64_t lanes = from.blocks - first < kLanes ? from.blocks - first : kLanes;
      for (int lane = 0; lane < lanes; ++lane) {
        group.scale[first + lane] = found.scale[lane];
        group.minimum[first + lane] = found.minimum[lane];
        group.weight_sum[first + lane] = sum[lane];
        for (int i = 0; i < n; ++i)
          group.code[(first + lane) * n + i] = static_cast<uint8_t>(static_cast<int>(code[i][lane]));
      }
    }
  }

  // The super-blocks of a row, two at a time: calls one(number, group, place of its first sub-block, x).
  template <int n, class Search, class One>
  FACET_INLINE static void for_super_blocks(const float* x, const float* importance, int64_t cols, float spread_factor,
                                            const Search& search, const One& one) {
    constexpr int kSubs = 256 / n;
    for (int64_t col = 0; col < cols; col += kGroup) {
      const int64_t supers = cols - col < kGroup ? (cols - col) / 256 : kGroup / 256;
      float spread[Group<n>::kBlocks];
      if (importance != nullptr) {
        for (int64_t s = 0; s < supers; ++s) {
          const float value = spread_factor * sum_of_squares(x + col + 256 * s, 256) / 256;
          for (int i = 0; i < kSubs; ++i) spread[s * kSubs + i] = value;
        }
      }
      Group<n> group;
      search(group, Source{.x = x + col,
                           .importance = importance == nullptr ? nullptr : importance + col,
                           .spread = spread,
                           .blocks = supers * kSubs});
      for (int64_t s = 0; s < supers; ++s) one(col / 256 + s, group, s * kSubs, x + col + 256 * s);
    }
  }

  template <int n>
  FACET_INLINE static void affine_group(Group<n>& group, const Source& from, float most,
                                        const typename Fits::Search& plain, bool by_size) {
    const auto work = [&](const typename Fits::Search& search) {
      return [most, search](F(&code)[n], const F(&x)[n], const F(&w)[n]) {
        return Fits::affine(code, x, w, most, search);
      };
    };
    if (from.importance != nullptr) {
      fit_group<n, Weights::importance>(group, from,
                                        work({.first = -0.9f, .delta = 0.05f, .steps = 36, .absolute = false}));
    } else if (by_size) {
      fit_group<n, Weights::size>(group, from, work(plain));
    } else {
      fit_group<n, Weights::level>(group, from, work(plain));
    }
  }

  template <int n, Weights weights>
  FACET_INLINE static void symmetric_group(Group<n>& group, const Source& from, float most) {
    fit_group<n, weights>(group, from, [most](F(&code)[n], const F(&x)[n], const F(&w)[n]) {
      return typename Fits::Affine{Fits::symmetric(code, x, w, most), F{}};
    });
  }

  // The value of largest magnitude; the first of equals.
  template <int n>
  FACET_INLINE static float extreme(const float* x) {
    float most = 0, value = 0;
    for (int i = 0; i < n; ++i) {
      const float a = x[i] < 0 ? -x[i] : x[i];
      if (a > most) {
        most = a;
        value = x[i];
      }
    }
    return value;
  }

  // Code j below code 16 + j.
  template <class Block>
  FACET_INLINE static void put_nibbles(Block& block, const uint8_t* code) {
    for (int j = 0; j < 16; ++j) block.qs[j] = static_cast<uint8_t>((code[j] & 15) | (code[16 + j] & 15) << 4);
  }
};

}  // namespace facet::kernels::simd
