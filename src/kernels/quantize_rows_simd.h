// Quantisers of all block types on top of quantize_fit_simd.h. Two super-blocks, or 16 blocks, are searched at a time.
#pragma once

namespace facet::kernels::simd {

template <class Tier>
struct Quantizers {
  using Fits = Fit<Tier>;
  using F = typename Fits::F;
  static constexpr int kLanes = Tier::kLanes;
  static constexpr int kGroup = 512;  // values searched at a time

  // --- pieces ---

  template <class Block>
  FACET_INLINE static void put(std::byte* out, int64_t number, const Block& block) {
    std::memcpy(out + number * static_cast<int64_t>(sizeof(Block)), &block, sizeof(block));
  }

  // nearest((x + offset) / step) within 0 … most, as bytes.
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

  // --- one block after another ---

  static void f16(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t i = 0; i < cols; ++i) put(out, i, float_to_half(x[i]));
  }
  static void bf16(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t i = 0; i < cols; ++i) put(out, i, float_to_bf16(x[i]));
  }
  static void f32(std::byte* out, const float* x, const float*, int64_t cols) {
    std::memcpy(out, x, static_cast<size_t>(cols) * sizeof(float));
  }

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

  // trunc(x * inverse + half) within 0 … most.
  FACET_INLINE static uint8_t shifted(float value, float most) {
    value = value > 0 ? value : 0;  // NaN too
    return static_cast<uint8_t>(value < most ? value : most);
  }

  template <class Block>
  FACET_INLINE static void put_nibbles(Block& block, const uint8_t* code) {
    for (int j = 0; j < 16; ++j) block.qs[j] = static_cast<uint8_t>((code[j] & 15) | (code[16 + j] & 15) << 4);
  }
  template <class Block>
  FACET_INLINE static void put_fifth_bits(Block& block, const uint8_t* code) {
    uint32_t bits = 0;
    for (int j = 0; j < 32; ++j) bits |= static_cast<uint32_t>(code[j] >> 4) << j;
    std::memcpy(block.qh, &bits, sizeof(bits));
  }

  // d * (q - zero): the extreme value stands at code 0.
  template <class Block, int zero>
  static void legacy(std::byte* out, const float* x, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      const float d = extreme<32>(x) / static_cast<float>(-zero), inverse = d != 0 ? 1 / d : 0;
      uint8_t code[32];
      for (int i = 0; i < 32; ++i)
        code[i] = shifted(x[i] * inverse + (static_cast<float>(zero) + 0.5f), static_cast<float>(2 * zero - 1));
      Block block{};
      block.d = float_to_half(d);
      put_nibbles(block, code);
      if constexpr (zero == 16) put_fifth_bits(block, code);
      put(out, b, block);
    }
  }

  // d * q + m.
  template <class Block, int most>
  static void legacy_minimum(std::byte* out, const float* x, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      float low = x[0] < std::numeric_limits<float>::max() ? x[0] : std::numeric_limits<float>::max();
      float high = x[0] > -std::numeric_limits<float>::max() ? x[0] : -std::numeric_limits<float>::max();
      for (int i = 1; i < 32; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
      }
      const float d = (high - low) / static_cast<float>(most), inverse = d != 0 ? 1 / d : 0;
      uint8_t code[32];
      for (int i = 0; i < 32; ++i) code[i] = shifted((x[i] - low) * inverse + 0.5f, static_cast<float>(most));
      Block block{};
      block.d = float_to_half(d);
      block.m = float_to_half(low);
      put_nibbles(block, code);
      if constexpr (most == 31) put_fifth_bits(block, code);
      put(out, b, block);
    }
  }

  // With importance: searched, with the spread of the whole row.
  template <class Block, int zero, int most, class Search>
  FACET_INLINE static void legacy_searched(std::byte* out, const float* x, const float* importance, int64_t cols,
                                           const Search& search) {
    float spread[kGroup / 32];
    for (float& value : spread) value = sum_of_squares(x, cols) / static_cast<float>(cols);
    for (int64_t col = 0; col < cols; col += kGroup) {
      const int64_t blocks = (cols - col < kGroup ? cols - col : kGroup) / 32;
      Group<32> group;
      search(group, Source{.x = x + col, .importance = importance + col, .spread = spread, .blocks = blocks});
      for (int64_t b = 0; b < blocks; ++b) {
        Block block{};
        block.d = float_to_half(group.scale[b]);
        if constexpr (zero == 0) block.m = float_to_half(-group.minimum[b]);
        put_nibbles(block, group.code + 32 * b);
        if constexpr (zero == 16 || most == 31) put_fifth_bits(block, group.code + 32 * b);
        put(out, col / 32 + b, block);
      }
    }
  }
  template <class Block, int zero>
  static void zero_in_the_middle(std::byte* out, const float* x, const float* importance, int64_t cols) {
    if (importance == nullptr) return legacy<Block, zero>(out, x, cols);
    legacy_searched<Block, zero, 0>(out, x, importance, cols, [](Group<32>& group, const Source& from) {
      symmetric_group<32, Weights::importance>(group, from, static_cast<float>(zero));
    });
  }
  template <class Block, int most>
  static void with_minimum(std::byte* out, const float* x, const float* importance, int64_t cols) {
    if (importance == nullptr) return legacy_minimum<Block, most>(out, x, cols);
    legacy_searched<Block, 0, most>(out, x, importance, cols, [](Group<32>& group, const Source& from) {
      affine_group<32>(group, from, static_cast<float>(most), {}, false);
    });
  }

  static void q8_0(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      float most = 0;
      for (int i = 0; i < 32; ++i) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        most = most > a ? most : a;
      }
      const float d = most / 127, inverse = d != 0 ? 1 / d : 0;
      BlockQ8_0 block;
      block.d = float_to_half(d);
      for (int i = 0; i < 32; ++i) block.qs[i] = static_cast<int8_t>(rounded_half_away(x[i] * inverse, 127));
      put(out, b, block);
    }
  }

  // --- K-quants ---

  // Six-bit scales and minima of eight sub-blocks (tensor/quant_blocks.h, scale_and_minimum).
  FACET_INLINE static void put_six_bits(uint8_t (&b)[12], const uint8_t* scale, const uint8_t* minimum) {
    for (int j = 0; j < 4; ++j) {
      b[j] = static_cast<uint8_t>((scale[j] & 63) | (scale[j + 4] >> 4) << 6);
      b[j + 4] = static_cast<uint8_t>((minimum[j] & 63) | (minimum[j + 4] >> 4) << 6);
      b[j + 8] = static_cast<uint8_t>((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
    }
  }

  // Block scale of sub-block scales that are not negative: codes 0 … most of `value`, and the step in half precision.
  template <int n>
  FACET_INLINE static uint16_t block_scale(uint8_t (&code)[n], const float* value, const float* weight, int most,
                                           bool searched) {
    float values[n], weights[n], peak = 0;
    for (int i = 0; i < n; ++i) {
      values[i] = value[i];
      weights[i] = weight[i];
      peak = value[i] > peak ? value[i] : peak;
    }
    if (searched) return float_to_half(positive(code, values, static_cast<float>(most), weights));
    const float inverse = peak > 0 ? static_cast<float>(most) / peak : 0;
    for (int i = 0; i < n; ++i) {
      const uint8_t l = static_cast<uint8_t>(nearest(inverse * values[i]));
      code[i] = l < most ? l : static_cast<uint8_t>(most);
    }
    return float_to_half(peak > 0 ? peak / static_cast<float>(most) : 0);
  }

  // Q4_K and Q5_K: 8 sub-blocks of 32 with a scale and a minimum of six bits each.
  template <class Block, int most>
  static void affine_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    const typename Fits::Search plain =
        most == 15 ? typename Fits::Search{.first = -1.0f, .delta = 0.1f, .steps = 20, .absolute = false}
                   : typename Fits::Search{.first = -0.5f, .delta = 0.1f, .steps = 15, .absolute = false};
    for_super_blocks<32>(
        x, importance, cols, 2,
        [&](Group<32>& group, const Source& from) {
          affine_group<32>(group, from, static_cast<float>(most), plain, false);
        },
        [&](int64_t number, Group<32>& group, int64_t first, const float* values) {
          uint8_t scale[8], minimum[8];
          Block block{};
          block.d = block_scale(scale, group.scale + first, group.weight_sum + first, 63, importance != nullptr);
          block.dmin = block_scale(minimum, group.minimum + first, group.weight_sum + first, 63, importance != nullptr);
          put_six_bits(block.scales, scale, minimum);
          uint8_t* code = group.code + 32 * first;
          for (int s = 0; s < 8; ++s) {
            const float d = half_to_float(block.d) * static_cast<float>(scale[s]);
            if (d == 0) continue;  // keeps its codes
            const float offset = half_to_float(block.dmin) * static_cast<float>(minimum[s]);
            recode<32>(code + 32 * s, values + 32 * s, offset, d, 0, static_cast<float>(most));
          }
          for (int s = 0; s < 8; s += 2)
            for (int l = 0; l < 32; ++l)
              block.qs[16 * s + l] = static_cast<uint8_t>((code[32 * s + l] & 15) | (code[32 * s + 32 + l] & 15) << 4);
          if constexpr (most == 31)
            for (int l = 0; l < 32; ++l)
              for (int s = 0; s < 8; ++s)
                block.qh[l] = static_cast<uint8_t>(block.qh[l] | (code[32 * s + l] >> 4) << s);
          put(out, number, block);
        });
  }

  // Two bits of each code: four groups of 32 in the bytes of each half.
  FACET_INLINE static void put_two_bits(uint8_t (&qs)[64], const uint8_t* code) {
    for (int half = 0; half < 2; ++half)
      for (int l = 0; l < 32; ++l) {
        const uint8_t* c = code + 128 * half + l;
        qs[32 * half + l] = static_cast<uint8_t>((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
      }
  }

  static void q2_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    for_super_blocks<16>(
        x, importance, cols, 1,
        [&](Group<16>& group, const Source& from) {
          affine_group<16>(group, from, 3, {.first = -0.5f, .delta = 0.1f, .steps = 15, .absolute = true}, true);
        },
        [&](int64_t number, Group<16>& group, int64_t first, const float* values) {
          uint8_t scale[16], minimum[16];
          BlockQ2K block{};
          block.d = block_scale(scale, group.scale + first, group.weight_sum + first, 15, importance != nullptr);
          block.dmin = block_scale(minimum, group.minimum + first, group.weight_sum + first, 15, importance != nullptr);
          uint8_t* code = group.code + 16 * first;
          for (int s = 0; s < 16; ++s) {
            block.scales[s] = static_cast<uint8_t>(scale[s] | minimum[s] << 4);
            const float d = half_to_float(block.d) * static_cast<float>(block.scales[s] & 15);
            if (d == 0) continue;
            const float offset = half_to_float(block.dmin) * static_cast<float>(block.scales[s] >> 4);
            recode<16>(code + 16 * s, values + 16 * s, offset, d, 0, 3);
          }
          put_two_bits(block.qs, code);
          put(out, number, block);
        });
  }

  // The scale of largest magnitude; the first of equals.
  template <int n>
  FACET_INLINE static float largest(const float* scale) {
    return extreme<n>(scale);
  }

  static void q3_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    for_super_blocks<16>(
        x, importance, cols, 2,
        [&](Group<16>& group, const Source& from) {
          if (importance != nullptr) return symmetric_group<16, Weights::importance>(group, from, 4);
          fit_group<16, Weights::square>(group, from, [](F(&code)[16], const F(&values)[16], const F(&)[16]) {
            return typename Fits::Affine{Fits::descent(code, values, 4), F{}};
          });
        },
        [&](int64_t number, Group<16>& group, int64_t first, const float* values) {
          BlockQ3K block{};
          uint8_t scale[16];  // biased by 32
          block.d = importance != nullptr ? searched_scales(scale, group, first) : plain_scales(scale, group, first);
          for (int s = 0; s < 16; ++s) {
            const int low = scale[s] & 15, high = scale[s] >> 4;
            block.scales[s % 8] = static_cast<uint8_t>(block.scales[s % 8] | low << (s < 8 ? 0 : 4));
            block.scales[8 + s % 4] = static_cast<uint8_t>(block.scales[8 + s % 4] | high << (2 * (s / 4)));
          }
          uint8_t* code = group.code + 16 * first;
          for (int s = 0; s < 16; ++s) {
            const float d = half_to_float(block.d) * static_cast<float>(scale_q3k(block.scales, s));
            if (d != 0) recode<16>(code + 16 * s, values + 16 * s, 0, d, -4, 3);
          }
          for (int e = 0; e < 256; ++e)
            block.hmask[e % 32] = static_cast<uint8_t>(block.hmask[e % 32] | (code[e] > 3 ? 1 : 0) << (e / 32));
          put_two_bits(block.qs, code);
          put(out, number, block);
        });
  }
  static uint16_t plain_scales(uint8_t (&code)[16], const Group<16>& group, int64_t first) {
    const float peak = largest<16>(group.scale + first), inverse = -32 / peak;
    for (int s = 0; s < 16; ++s) {
      // An empty block has the scales 0 … 0 as stored, not as biased.
      const int l = peak != 0 ? static_cast<int8_t>(nearest(inverse * group.scale[first + s])) : -32;
      code[s] = static_cast<uint8_t>((l > -32 ? (l < 31 ? l : 31) : -32) + 32);
    }
    return float_to_half(peak != 0 ? 1 / inverse : 0);
  }
  static uint16_t searched_scales(uint8_t (&code)[16], const Group<16>& group, int64_t first) {
    F x[16], w[16], codes[16];
    for (int s = 0; s < 16; ++s) {
      x[s] = Fits::all(group.scale[first + s]);
      w[s] = Fits::all(group.weight_sum[first + s]);
    }
    const F scale = Fits::symmetric(codes, x, w, 32);
    for (int s = 0; s < 16; ++s) code[s] = static_cast<uint8_t>(static_cast<int>(codes[s][0]));
    return float_to_half(scale[0]);
  }

  static void q6_k(std::byte* out, const float* x, const float* importance, int64_t cols) {
    for_super_blocks<16>(
        x, importance, cols, 1,
        [&](Group<16>& group, const Source& from) {
          if (importance != nullptr) return symmetric_group<16, Weights::plain>(group, from, 32);
          symmetric_group<16, Weights::square>(group, from, 32);
        },
        [&](int64_t number, Group<16>& group, int64_t first, const float* values) {
          BlockQ6K block{};
          const float peak = largest<16>(group.scale + first), inverse = -128 / peak;
          if (!((peak < 0 ? -peak : peak) >= kEmptyBlock)) return put(out, number, block);
          block.d = float_to_half(1 / inverse);
          uint8_t* code = group.code + 16 * first;
          for (int s = 0; s < 16; ++s) {
            const int l = nearest(inverse * group.scale[first + s]);
            block.scales[s] = static_cast<int8_t>(l < 127 ? l : 127);
            const float d = half_to_float(block.d) * static_cast<float>(block.scales[s]);
            if (d != 0) recode<16>(code + 16 * s, values + 16 * s, 0, d, -32, 31);
          }
          for (int half = 0; half < 2; ++half)
            for (int l = 0; l < 32; ++l) {
              const uint8_t* c = code + 128 * half + l;
              block.ql[64 * half + l] = static_cast<uint8_t>((c[0] & 15) | (c[64] & 15) << 4);
              block.ql[64 * half + 32 + l] = static_cast<uint8_t>((c[32] & 15) | (c[96] & 15) << 4);
              block.qh[32 * half + l] =
                  static_cast<uint8_t>(c[0] >> 4 | (c[32] >> 4) << 2 | (c[64] >> 4) << 4 | (c[96] >> 4) << 6);
            }
          put(out, number, block);
        });
  }

  // --- the uneven grid ---

  FACET_INLINE static uint8_t grid_code(float value) {
    int code = 0;
    for (int k = 1; k < 16; ++k) code += value >= 0.5f * static_cast<float>(kIq4Values[k - 1] + kIq4Values[k]) ? 1 : 0;
    return static_cast<uint8_t>(code);
  }
  template <int n>
  static void uneven_group(Group<32>& group, const Source& from) {
    const auto fit = [](F(&code)[32], const F(&x)[32], const F(&w)[32]) {
      for (F& c : code) c = F{};
      return typename Fits::Affine{Fits::uneven(x, w), F{}};
    };
    if (from.importance != nullptr) {
      fit_group<32, Weights::importance>(group, from, fit);
    } else {
      fit_group<32, Weights::square>(group, from, fit);
    }
  }

  static void iq4_nl(std::byte* out, const float* x, const float* importance, int64_t cols) {
    for (int64_t col = 0; col < cols; col += kGroup) {
      const int64_t blocks = (cols - col < kGroup ? cols - col : kGroup) / 32;
      float spread[kGroup / 32];
      for (int64_t b = 0; b < blocks; ++b) spread[b] = 2.0f / 32 * sum_of_squares(x + col + 32 * b, 32);
      Group<32> group;
      uneven_group<32>(group, Source{.x = x + col,
                                     .importance = importance == nullptr ? nullptr : importance + col,
                                     .spread = spread,
                                     .blocks = blocks});
      for (int64_t b = 0; b < blocks; ++b) {
        BlockIQ4NL block{};
        block.d = float_to_half(group.scale[b]);
        const float inverse = group.scale[b] != 0 ? 1 / group.scale[b] : 0;
        uint8_t code[32];
        for (int i = 0; i < 32; ++i) code[i] = grid_code(inverse * x[col + 32 * b + i]);
        put_nibbles(block, code);
        put(out, col / 32 + b, block);
      }
    }
  }

  static void iq4_xs(std::byte* out, const float* x, const float* importance, int64_t cols) {
    for_super_blocks<32>(
        x, importance, cols, 2, [&](Group<32>& group, const Source& from) { uneven_group<32>(group, from); },
        [&](int64_t number, Group<32>& group, int64_t first, const float* values) {
          BlockIQ4XS block{};
          const float d = -largest<8>(group.scale + first) / 32, inverse = d != 0 ? 1 / d : 0;
          block.d = float_to_half(d);
          unsigned high = 0;
          for (int s = 0; s < 8; ++s) {
            const int found = nearest(inverse * group.scale[first + s]),
                      l = found > -32 ? (found < 31 ? found : 31) : -32;
            const float step = d * static_cast<float>(l), to_grid = step != 0 ? 1 / step : 0;
            uint8_t code[32];
            for (int i = 0; i < 32; ++i) code[i] = grid_code(to_grid * values[32 * s + i]);
            for (int j = 0; j < 16; ++j) block.qs[16 * s + j] = static_cast<uint8_t>(code[j] | code[16 + j] << 4);
            const unsigned biased = static_cast<unsigned>(l + 32);
            block.scales_l[s / 2] = static_cast<uint8_t>(block.scales_l[s / 2] | (biased & 15) << (4 * (s % 2)));
            high |= (biased >> 4) << (2 * s);
          }
          block.scales_h = static_cast<uint16_t>(high);
          put(out, number, block);
        });
  }

  // --- four-bit floats ---

  // The code whose value (E2M1, doubled) times step comes nearest; of equals the first.
  FACET_INLINE static uint8_t e2m1_code(float value, float step) {
    uint8_t code = 0;
    float least = 0;
    for (int k = 0; k < 16; ++k) {
      float error = static_cast<float>(kE2M1Doubled[k]) * step - value;
      error = error < 0 ? -error : error;
      const bool nearer = k == 0 || error < least;
      code = nearer ? static_cast<uint8_t>(k) : code;
      least = nearer ? error : least;
    }
    return code;
  }

  static void mxfp4(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 32; ++b, x += 32) {
      const float peak = extreme<32>(x);
      uint32_t bits = 0;
      std::memcpy(&bits, &peak, sizeof(bits));
      // floor(log2 |peak|) - 2, biased by 127; what is too small for it gets the smallest.
      const int exponent = static_cast<int>((bits >> 23) & 255), biased = exponent > 2 ? exponent - 2 : 0;
      BlockMXFP4 block{};
      block.e = static_cast<uint8_t>(peak != 0 ? biased : 0);
      const float step = half_of_e8m0(block.e);
      for (int j = 0; j < 16; ++j)
        block.qs[j] = static_cast<uint8_t>(e2m1_code(x[j], step) | e2m1_code(x[16 + j], step) << 4);
      put(out, b, block);
    }
  }

  // --- ternary ---

  FACET_INLINE static float largest_magnitude(const float* x) {
    const float peak = extreme<256>(x);
    return peak < 0 ? -peak : peak;
  }
  FACET_INLINE static unsigned trit(float value) { return static_cast<unsigned>(rounded_half_away(value, 1) + 1); }

  static void tq1_0(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 256; ++b, x += 256) {
      const float d = largest_magnitude(x), inverse = d != 0 ? 1 / d : 0;
      BlockTQ1_0 block{};
      block.d = float_to_half(d);
      // Trit n of a byte is value n * stride on: base 3, the first most significant, as a fraction of 256.
      const auto byte = [&](const float* from, int stride, int n) {
        unsigned q = 0;
        for (int i = 0; i < 5; ++i) q = 3 * q + (i < n ? trit(from[i * stride] * inverse) : 0);
        return static_cast<uint8_t>((q * 256 + 242) / 243);
      };
      for (int m = 0; m < 32; ++m) block.qs[m] = byte(x + m, 32, 5);
      for (int m = 0; m < 16; ++m) block.qs[32 + m] = byte(x + 160 + m, 16, 5);
      for (int m = 0; m < 4; ++m) block.qh[m] = byte(x + 240 + m, 4, 4);
      put(out, b, block);
    }
  }

  static void tq2_0(std::byte* out, const float* x, const float*, int64_t cols) {
    for (int64_t b = 0; b < cols / 256; ++b, x += 256) {
      const float d = largest_magnitude(x), inverse = d != 0 ? 1 / d : 0;
      BlockTQ2_0 block{};
      block.d = float_to_half(d);
      for (int half = 0; half < 2; ++half)
        for (int m = 0; m < 32; ++m)
          for (int n = 0; n < 4; ++n)
            block.qs[32 * half + m] =
                static_cast<uint8_t>(block.qs[32 * half + m] | trit(x[128 * half + 32 * n + m] * inverse) << (2 * n));
      put(out, b, block);
    }
  }

  static std::span<const QuantizeType> all() {
    static constexpr QuantizeType kAll[] = {
        {DType::f32, false, f32},
        {DType::f16, false, f16},
        {DType::bf16, false, bf16},
        {DType::q4_0, true, zero_in_the_middle<BlockQ4_0, 8>},
        {DType::q4_1, true, with_minimum<BlockQ4_1, 15>},
        {DType::q5_0, true, zero_in_the_middle<BlockQ5_0, 16>},
        {DType::q5_1, true, with_minimum<BlockQ5_1, 31>},
        {DType::q8_0, false, q8_0},
        {DType::q2_k, true, q2_k},
        {DType::q3_k, true, q3_k},
        {DType::q4_k, true, affine_k<BlockQ4K, 15>},
        {DType::q5_k, true, affine_k<BlockQ5K, 31>},
        {DType::q6_k, true, q6_k},
        {DType::iq4_nl, true, iq4_nl},
        {DType::iq4_xs, true, iq4_xs},
        {DType::mxfp4, false, mxfp4},
        {DType::tq1_0, false, tq1_0},
        {DType::tq2_0, false, tq2_0},
    };
    return kAll;
  }
};

}  // namespace facet::kernels::simd
