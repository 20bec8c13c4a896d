// How fast this machine reads memory and multiplies right now: what measured speeds are set against. Machines that are
// shared change by the minute, so it is measured again beside each test.
#pragma once

#include "base/thread_pool.h"
#include "kernels/probe.h"
#include "tensor/buffer.h"

namespace facet::engine {

// Of all threads of a pool together. An operation is a multiplication or an addition.
struct MachineSpeed {
  double read_bytes_per_s = 0;  // from memory, not from caches
  double int8_ops_per_s = 0;    // products of int8 codes in registers, as the kernel tier forms them
};

// The better of two measurements.
MachineSpeed best(const MachineSpeed& a, const MachineSpeed& b);

class MachineProbe {
 public:
  // Takes 256 MiB, more than caches hold. pool must outlive the probe; the tier must run here. Errors: exhausted.
  static Result<MachineProbe> create(kernels::Isa isa, ThreadPool& pool);

  // The best of many short runs, about a tenth of a second in all.
  MachineSpeed measure();

 private:
  MachineProbe(const kernels::Probe& probe, ThreadPool& pool, Buffer memory)
      : probe_(&probe), pool_(&pool), memory_(std::move(memory)) {}
  double read_speed();
  double int8_speed();

  const kernels::Probe* probe_;
  ThreadPool* pool_;
  Buffer memory_;
};

}  // namespace facet::engine
