// The searches inside quantisers, many blocks at a time: a lane is one (sub-)block, and every operation is done lane by
// lane in the order of the scalar formula, so that the number of lanes changes nothing. Tier: kLanes and the vector
// types F (float) and I (int32_t) of so many lanes, in the tier's own namespace. To be included between
// FACET_TARGET_BEGIN and FACET_TARGET_END.
#pragma once

namespace facet::kernels::simd {

constexpr float kEmptyBlock = 1e-15f;  // blocks without a larger value are all zero
constexpr float kRoundMagic =
    12582912;  // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer, ties to even
constexpr float kNearestMost = 4194303;  // what that trick can do

// Nearest integer of a value of any size; NaN is 0.
FACET_INLINE int nearest(float value) {
  const float low = value > -kNearestMost ? value : (value == value ? -kNearestMost : 0);
  const float clamped = low < kNearestMost ? low : kNearestMost;
  return static_cast<int>((clamped + kRoundMagic) - kRoundMagic);
}

template <class Tier>
struct Fit {
  static constexpr int kLanes = Tier::kLanes;
  using F = typename Tier::F;
  using I = typename Tier::I;

  FACET_INLINE static F all(float value) { return F{} + value; }
  FACET_INLINE static F magnitude(F a) { return a < 0.0f ? -a : a; }
  FACET_INLINE static F nearest_within(F a, float low, float high) {  // NaN: low
    a = a > low ? a : all(low);
    a = a < high ? a : all(high);
    return (a + kRoundMagic) - kRoundMagic;
  }
  FACET_INLINE static F square_root(F a) {
    for (int lane = 0; lane < kLanes; ++lane) a[lane] = __builtin_sqrtf(a[lane]);
    return a;
  }

  // Value i of each of kLanes blocks of n values; blocks beyond `count` repeat the last one.
  template <int n>
  static void load(F (&out)[n], const float* blocks, int64_t first, int64_t count) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t block = first + lane < count ? first + lane : count - 1;
      for (int i = 0; i < n; ++i) out[i][lane] = blocks[block * n + i];
    }
  }

  struct Affine {
    F scale, minimum;  // x ≈ scale * code - minimum
  };
  // How the steps of a search are chosen, and what it minimises.
  struct Search {
    float first, delta;
    int steps;
    bool absolute;  // weighted |error|; otherwise its square
  };

  // Codes 0 … most; scale and minimum by weighted least squares over several steps (quantization.md 3, fit_affine).
  template <int n>
  static Affine affine(F (&code)[n], const F (&x)[n], const F (&w)[n], float most, const Search& search) {
    F low = x[0], high = x[0], sum_w = w[0], sum_x = w[0] * x[0];
    for (int i = 1; i < n; ++i) {
      low = x[i] < low ? x[i] : low;
      high = x[i] > high ? x[i] : high;
      sum_w += w[i];
      sum_x += w[i] * x[i];
    }
    low = low > 0.0f ? F{} : low;
    const I flat = high <= low;
    const F first_low = low;
    F inverse = most / (high - low), scale = 1.0f / inverse, best_inverse = inverse, best_low = low;
    F best = {};
    for (int i = 0; i < n; ++i) {
      const F l = nearest_within(inverse * (x[i] - low), 0, most);
      const F difference = scale * l + low - x[i];
      best += w[i] * (search.absolute ? magnitude(difference) : difference * difference);
    }
    for (int step = 0; step <= search.steps; ++step) {
      inverse = (search.first + search.delta * static_cast<float>(step) + most) / (high - low);
      F sum_l = {}, sum_l2 = {}, sum_xl = {};
      for (int i = 0; i < n; ++i) {
        const F l = nearest_within(inverse * (x[i] - low), 0, most), wl = w[i] * l;
        code[i] = l;
        sum_l += wl;
        sum_l2 += wl * l;
        sum_xl += wl * x[i];
      }
      const F determinant = sum_w * sum_l2 - sum_l * sum_l;
      F new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
      F new_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
      const I above = new_low > 0.0f;
      new_low = above ? F{} : new_low;
      new_scale = above ? sum_xl / sum_l2 : new_scale;
      F error = {};
      for (int i = 0; i < n; ++i) {
        const F difference = new_scale * code[i] + new_low - x[i];
        error += w[i] * (search.absolute ? magnitude(difference) : difference * difference);
      }
      const I better = (determinant > 0.0f) & (error < best);
      best = better ? error : best;
      best_inverse = better ? inverse : best_inverse;
      best_low = better ? low : best_low;  // what the codes were made with
      scale = better ? new_scale : scale;
      low = better ? new_low : low;
    }
    for (int i = 0; i < n; ++i) {
      const F l = nearest_within(best_inverse * (x[i] - best_low), 0, most);
      code[i] = flat ? F{} : l;
    }
    return {flat ? F{} : scale, flat ? -first_low : -low};
  }

  // The value of largest magnitude, with its sign; the first of equals.
  template <int n>
  FACET_INLINE static F extreme(const F (&x)[n]) {
    F most = {}, value = {};
    for (int i = 0; i < n; ++i) {
      const F a = magnitude(x[i]);
      const I larger = a > most;
      most = larger ? a : most;
      value = larger ? x[i] : value;
    }
    return value;
  }

  // Codes -most … most - 1, stored with most added; the scale by weighted least squares over several steps
  // (fit_symmetric).
  template <int n>
  static F symmetric(F (&code)[n], const F (&x)[n], const F (&w)[n], float most) {
    const F peak = extreme(x);
    const I empty = magnitude(peak) < kEmptyBlock;
    F inverse = -most / peak, best_inverse = inverse, scale = {}, best = {};
    for (int trial = -10; trial <= 9; ++trial) {  // -10: the extreme value at -most exactly
      if (trial == 0) continue;
      if (trial > -10) inverse = -(most + 0.1f * static_cast<float>(trial)) / peak;
      F sum_lx = {}, sum_l2 = {};
      for (int i = 0; i < n; ++i) {
        const F l = nearest_within(inverse * x[i], -most, most - 1);
        sum_lx += w[i] * x[i] * l;
        sum_l2 += w[i] * l * l;
      }
      const F new_scale = sum_lx / sum_l2;
      if (trial == -10) {
        scale = sum_l2 != 0.0f ? new_scale : F{};
        best = scale * sum_lx;
        continue;
      }
      const I better = (sum_l2 > 0.0f) & (sum_lx * sum_lx > best * sum_l2);
      scale = better ? new_scale : scale;
      best = better ? new_scale * sum_lx : best;
      best_inverse = better ? inverse : best_inverse;
    }
    for (int i = 0; i < n; ++i) {
      const F l = nearest_within(best_inverse * x[i], -most, most - 1) + most;
      code[i] = empty ? F{} : l;
    }
    return empty ? F{} : scale;
  }

  // The same for few codes: begin with the extreme value at -most, then change one code at a time while that helps
  // (Q3_K).
  template <int n>
  static F descent(F (&code)[n], const F (&x)[n], float most) {
    constexpr int kSweeps = 5;
    const F peak = extreme(x);
    const I empty = magnitude(peak) < kEmptyBlock;
    const F inverse = -most / peak;
    F sum_lx = {}, sum_l2 = {};
    for (int i = 0; i < n; ++i) {
      code[i] = nearest_within(inverse * x[i], -most, most - 1);
      const F w = x[i] * x[i];
      sum_lx += w * x[i] * code[i];
      sum_l2 += w * code[i] * code[i];
    }
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (int i = 0; i < n; ++i) {
        const F w = x[i] * x[i], l = code[i];
        F lx = sum_lx - w * x[i] * l, l2 = sum_l2 - w * l * l;
        const I worth = lx > 0.0f;
        const F other = nearest_within(x[i] * l2 / lx, -most, most - 1);
        lx += w * x[i] * other;
        l2 += w * other * other;
        const I better = worth & (other != l) & (l2 > 0.0f) & (lx * lx * sum_l2 > sum_lx * sum_lx * l2);
        code[i] = better ? other : l;
        sum_lx = better ? lx : sum_lx;
        sum_l2 = better ? l2 : sum_l2;
      }
    }
    for (int i = 0; i < n; ++i) code[i] = empty ? F{} : code[i] + most;
    return (empty | (sum_l2 <= 0.0f)) ? F{} : sum_lx / sum_l2;
  }

  // The scale of blocks on the uneven grid of IQ4 (quantization.md 4).
  template <int n>
  static F uneven(const F (&x)[n], const F (&w)[n]) {
    constexpr int kTrials = 7;
    const F peak = extreme(x);
    const I empty = magnitude(peak) < kEmptyBlock;
    F scale = {}, best = {};
    for (int trial = -kTrials - 1; trial <= kTrials; ++trial) {
      const bool first = trial < -kTrials;
      const F inverse =
          first ? 1.0f / (-peak / static_cast<float>(kIq4Values[0])) : static_cast<float>(trial + kIq4Values[0]) / peak;
      F sum_qx = {}, sum_q2 = {};
      for (int i = 0; i < n; ++i) {
        const F q = on_grid(inverse * x[i]);
        sum_qx += w[i] * q * x[i];
        sum_q2 += w[i] * q * q;
      }
      const I better = (sum_q2 > 0.0f) & (first ? ~I{} : (sum_qx * sum_qx > best * sum_q2));
      const F new_scale = sum_qx / sum_q2;
      scale = better ? new_scale : scale;
      best = better ? new_scale * sum_qx : best;
    }
    return empty ? F{} : scale;
  }

  // The nearest value of the grid; of two the upper.
  FACET_INLINE static F on_grid(F a) {
    F value = all(kIq4Values[0]);
    for (int k = 1; k < 16; ++k) {
      const float middle = 0.5f * static_cast<float>(kIq4Values[k - 1] + kIq4Values[k]);
      value = a >= middle ? all(kIq4Values[k]) : value;
    }
    return value;
  }
};

// Codes 0 … most for numbers that are not negative: sub-block scales and minima (fit_positive). One block at a time:
// there are few.
template <int n>
float positive(uint8_t (&code)[n], const float (&x)[n], float most, const float (&w)[n]) {
  constexpr int kSweeps = 5;
  float peak = 0;
  for (int i = 0; i < n; ++i) peak = peak > x[i] ? peak : x[i];
  for (int i = 0; i < n; ++i) code[i] = 0;
  if (!(peak >= kEmptyBlock)) return 0;
  float best_inverse = most / peak, best = 0;
  for (int i = 0; i < n; ++i) {
    const float difference =
        x[i] - 1 / best_inverse * static_cast<float>(static_cast<uint8_t>(nearest(best_inverse * x[i])));
    best += w[i] * difference * difference;
  }
  for (int trial = -4; trial <= 4; ++trial) {
    if (trial == 0) continue;
    const float inverse = (0.1f * static_cast<float>(trial) + most) / peak, scale = 1 / inverse;
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const int l = nearest(inverse * x[i]);
      const float difference = x[i] - scale * (static_cast<float>(l) < most ? static_cast<float>(l) : most);
      error += w[i] * difference * difference;
    }
    if (error < best) {
      best = error;
      best_inverse = inverse;
    }
  }
  float sum_lx = 0, sum_l2 = 0;
  const auto limited = [most](float value) {
    const int l = nearest(value);
    return l < static_cast<int>(most) ? l : static_cast<int>(most);
  };
  for (int i = 0; i < n; ++i) {
    code[i] = static_cast<uint8_t>(limited(best_inverse * x[i]));
    const float l = static_cast<float>(limited(best_inverse * x[i]));
    sum_lx += w[i] * x[i] * l;
    sum_l2 += w[i] * l * l;
  }
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (int i = 0; i < n; ++i) {
      const float l = static_cast<float>(code[i]);
      float lx = sum_lx - w[i] * x[i] * l, l2 = sum_l2 - w[i] * l * l;
      if (!(lx > 0) || !(l2 > 0)) continue;
      const int other = limited(x[i] * l2 / lx);
      if (other == code[i]) continue;
      lx += w[i] * x[i] * static_cast<float>(other);
      l2 += w[i] * static_cast<float>(other) * static_cast<float>(other);
      if (!(lx * lx * sum_l2 > sum_lx * sum_lx * l2)) continue;
      code[i] = static_cast<uint8_t>(other);
      sum_lx = lx;
      sum_l2 = l2;
    }
  }
  return sum_l2 > 0 ? sum_lx / sum_l2 : 0;
}

}  // namespace facet::kernels::simd
