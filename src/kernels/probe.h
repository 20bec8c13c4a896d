// Probe: what this processor can do at best, so that a measured speed can be said as a share of it. Not part of a
// forward pass: loops whose only purpose is to keep the memory or the arithmetic units busy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/table.h"

namespace facet::kernels {

// One thread's share of the work; the caller divides by seconds. An operation is a multiplication or an addition.
struct Probe {
  // The exclusive or of the 64-bit words of n bytes, n a multiple of 512: reads memory and does next to nothing else.
  uint64_t (*read)(const std::byte* from, int64_t n);
  // Products in registers alone, in the arithmetic that the tier multiplies int8 codes, bf16 pairs and floats with.
  // Each does `rounds` rounds and returns its number of operations; *sink gets something that depends on all of them.
  int64_t (*multiply_q8)(int64_t rounds, float* sink);
  int64_t (*multiply_bf16)(int64_t rounds, float* sink);
  int64_t (*multiply_f32)(int64_t rounds, float* sink);
};

// Requires a tier that this processor can run (table_of).
const Probe& probe_of(Isa isa);

namespace avx2 {
const Probe& probe();
}
namespace avx512 {
const Probe& probe();
}

}  // namespace facet::kernels
