// The scalar probe, and the choice between the tiers' own.
#include "kernels/probe.h"

#include <cstring>

namespace facet::kernels {
namespace {

constexpr int kLanes = 16;

uint64_t read(const std::byte* from, int64_t n) {
  uint64_t sum[8] = {};
  for (int64_t i = 0; i < n; i += 64)
    for (int j = 0; j < 8; ++j) {
      uint64_t word;
      std::memcpy(&word, from + i + 8 * j, sizeof word);
      sum[j] ^= word;
    }
  return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

// x = x a + b in several lanes: each round needs the one before, so that no compiler can foretell the end.
template <class T>
int64_t multiply(int64_t rounds, float* sink, T a, T b) {
  T x[kLanes];
  for (int i = 0; i < kLanes; ++i) x[i] = static_cast<T>(i);
  for (int64_t round = 0; round < rounds; ++round)
    for (int i = 0; i < kLanes; ++i) x[i] = x[i] * a + b;
  T sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += x[i];
  *sink = static_cast<float>(sum);
  return rounds * kLanes * 2;
}

int64_t multiply_q8(int64_t rounds, float* sink) { return multiply<uint32_t>(rounds, sink, 1664525, 1013904223); }
int64_t multiply_f32(int64_t rounds, float* sink) { return multiply<float>(rounds, sink, 0.5f, 1.0f); }

}  // namespace

const Probe& probe_of(Isa isa) {
  static constexpr Probe kScalar = {
      .read = read, .multiply_q8 = multiply_q8, .multiply_bf16 = multiply_f32, .multiply_f32 = multiply_f32};
#if defined(__x86_64__)
  if (isa == Isa::avx512) return avx512::probe();
  if (isa == Isa::avx2) return avx2::probe();
#endif
  return kScalar;
}

}  // namespace facet::kernels
