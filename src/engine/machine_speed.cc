#include "engine/machine_speed.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/clock.h"

namespace facet::engine {
namespace {

// Read in turn, window after window: when one comes round again, a cache has long lost it.
constexpr int64_t kBytes = int64_t{256} << 20, kWindow = int64_t{32} << 20, kBlock = int64_t{1} << 20;
constexpr int kReadRuns = 24;
// A run that fits between two interruptions by the system; of several, one will be whole.
constexpr double kRunSeconds = 2e-4;
constexpr int kMultiplyRuns = 60;

// The best speed of one thread, which times itself.
double best_speed(const kernels::Probe& probe) {
  float sink = 0;
  int64_t rounds = 64;
  double best = 0;
  for (int run = 0; run < kMultiplyRuns; ++run) {
    const Clock::time_point start = Clock::now();
    const int64_t operations = probe.multiply_q8(rounds, &sink);
    const double seconds = seconds_since(start);
    if (seconds < kRunSeconds / 2 && rounds < int64_t{1} << 24) {
      rounds *= 2;
      --run;
      continue;
    }
    best = std::max(best, static_cast<double>(operations) / seconds);
  }
  return best;
}

}  // namespace

MachineSpeed best(const MachineSpeed& a, const MachineSpeed& b) {
  return {.read_bytes_per_s = std::max(a.read_bytes_per_s, b.read_bytes_per_s),
          .int8_ops_per_s = std::max(a.int8_ops_per_s, b.int8_ops_per_s)};
}

Result<MachineProbe> MachineProbe::create(kernels::Isa isa, ThreadPool& pool) {
  FACET_TRY(Buffer memory, Buffer::allocate(kBytes));
  std::memset(memory.data(), 1, static_cast<size_t>(kBytes));  // pages that nobody wrote are all one page of zeros
  return MachineProbe(kernels::probe_of(isa), pool, std::move(memory));
}

MachineSpeed MachineProbe::measure() { return {.read_bytes_per_s = read_speed(), .int8_ops_per_s = int8_speed()}; }

double MachineProbe::read_speed() {
  double best = 0;
  std::vector<uint64_t> sums(static_cast<size_t>(kWindow / kBlock));
  uint64_t all = 0;
  for (int run = 0; run < kReadRuns; ++run) {
    const std::byte* window = memory_.data() + run * kWindow % kBytes;
    const Clock::time_point start = Clock::now();
    pool_->parallel(kWindow / kBlock, [&](int64_t block, int) {
      sums[static_cast<size_t>(block)] = probe_->read(window + block * kBlock, kBlock);
    });
    best = std::max(best, static_cast<double>(kWindow) / seconds_since(start));
    all = std::accumulate(sums.begin(), sums.end(), all);
  }
  return all == 1 ? 0 : best;  // the sums are even: nothing that was read may be left out
}

double MachineProbe::int8_speed() {
  std::vector<double> speeds(static_cast<size_t>(pool_->n_threads()));
  pool_->parallel(pool_->n_threads(),
                  [&](int64_t block, int) { speeds[static_cast<size_t>(block)] = best_speed(*probe_); });
  return std::accumulate(speeds.begin(), speeds.end(), 0.0);
}

}  // namespace facet::engine
