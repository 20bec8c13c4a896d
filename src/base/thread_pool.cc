// Workers spin a little for the next region, then sleep on a futex (std::atomic::wait). One region is one epoch.
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strings.h"

namespace facet {
namespace {

// About 20 µs on current machines: longer than the gap between two regions of a forward pass, shorter than a scheduler
// tick.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until value differs from old: first busy, then asleep.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  using Work = FunctionRef<void(int64_t, int)>;

  alignas(64) std::atomic<uint64_t> epoch{0};  // counts regions; a change wakes the workers
  alignas(64) std::atomic<int64_t> next{0};    // next unclaimed block
  alignas(64) std::atomic<int> running{0};     // workers that have not finished this region
  const Work* work = nullptr;
  int64_t n_blocks = 0;
  bool stopping = false;
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // of the thread that set failed
  std::vector<std::thread> workers;

  void claim_blocks(int thread) {
    try {
      for (int64_t block; (block = next.fetch_add(1, std::memory_order_relaxed)) < n_blocks;) (*work)(block, thread);
    } catch (...) {
      next.store(n_blocks, std::memory_order_relaxed);
      if (!failed.exchange(true, std::memory_order_relaxed)) failure = std::current_exception();
    }
  }

  void run(int thread) {
    for (uint64_t seen = 0;;) {
      wait_for_change(epoch, seen);
      seen = epoch.load(std::memory_order_acquire);
      if (stopping) return;
      claim_blocks(thread);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
    }
  }

  void announce() {
    epoch.fetch_add(1, std::memory_order_acq_rel);
    epoch.notify_all();
  }
};

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>()) {
  FACET_CHECK(n_threads >= 1);
  std::vector<std::thread>& workers = state_->workers;
  workers.reserve(static_cast<size_t>(n_threads - 1));
  try {
    for (int i = 1; i < n_threads; ++i) workers.emplace_back([state = state_.get(), i] { state->run(i); });
  } catch (const std::exception& refused) {  // std::thread reports by throwing
    log(LogLevel::warning, cat("only ", this->n_threads(), " of ", n_threads, " threads: ", refused.what()));
  }
}

ThreadPool::~ThreadPool() {
  state_->stopping = true;
  state_->announce();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::n_threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel(int64_t n_blocks, FunctionRef<void(int64_t, int)> work) {
  if (n_blocks <= 1 || state_->workers.empty()) {
    for (int64_t block = 0; block < n_blocks; ++block) work(block, 0);
    return;
  }
  State& s = *state_;
  s.work = &work;
  s.n_blocks = n_blocks;
  s.next.store(0, std::memory_order_relaxed);
  s.running.store(static_cast<int>(s.workers.size()), std::memory_order_relaxed);
  s.announce();
  s.claim_blocks(0);
  for (int left; (left = s.running.load(std::memory_order_acquire)) != 0;) wait_for_change(s.running, left);
  if (s.failed.exchange(false, std::memory_order_relaxed)) std::rethrow_exception(std::exchange(s.failure, nullptr));
}

int processors_of_quota(std::string_view cpu_max, int all) {
  int64_t quota = 0, period = 0;  // microseconds
  const char* const end = cpu_max.data() + cpu_max.size();
  const auto [space, no_quota] = std::from_chars(cpu_max.data(), end, quota);
  if (no_quota != std::errc() || space == end || *space != ' ') return all;
  if (std::from_chars(space + 1, end, period).ec != std::errc() || quota <= 0 || period <= 0) return all;
  return static_cast<int>(std::min<int64_t>(all, quota / period + (quota % period != 0 ? 1 : 0)));
}

int usable_processors() {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  if (count == 0) count = static_cast<int>(std::thread::hardware_concurrency());
  const Result<std::string> cpu_max = read_file("/sys/fs/cgroup/cpu.max", 4096);  // of the container, seen from inside
  return processors_of_quota(cpu_max.ok() ? *cpu_max : std::string(), std::max(1, count));
}

}  // namespace facet
