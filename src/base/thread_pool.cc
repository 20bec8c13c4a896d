// Workers spin a little for the next region, then sleep on a futex (std::atomic::wait). One region is one epoch.
//
// A region ends when its blocks are done, not when every worker has seen it: on a busy machine one that sleeps is woken
// late, and its share has long been done by the others. So a worker may come to a region that is over, or to the next
// one. What keeps it from harm is that a block is claimed together with the region it belongs to (Ticket): a region
// whose block is claimed cannot end, hence neither its work nor its number of blocks can change.
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

// The region in progress and how much of it is claimed, in one word.
class Ticket {
 public:
  static constexpr int kBits = 24;
  static constexpr int64_t kMaxBlocks = (int64_t{1} << kBits) - 1;

  explicit Ticket(uint64_t bits) : bits_(bits) {}
  Ticket(uint64_t epoch, int64_t n_blocks) : bits_(epoch << (2 * kBits) | static_cast<uint64_t>(n_blocks) << kBits) {}

  uint64_t bits() const { return bits_; }
  int64_t n_blocks() const { return static_cast<int64_t>(bits_ >> kBits) & kMaxBlocks; }
  int64_t next() const { return static_cast<int64_t>(bits_) & kMaxBlocks; }  // unclaimed
  Ticket claimed(int64_t blocks) const { return Ticket(bits_ + static_cast<uint64_t>(blocks)); }

 private:
  uint64_t bits_;
};

}  // namespace

struct ThreadPool::State {
  using Work = FunctionRef<void(int64_t, int)>;

  alignas(64) std::atomic<uint32_t> epoch{0};  // counts regions; a change wakes the workers
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<uint32_t> done{0};  // blocks of this region
  const Work* work = nullptr;                 // of the region in progress; read by those who claimed a block of it
  std::atomic<bool> stopping{false};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // of the thread that set failed
  std::vector<std::thread> workers;

  // Claims the next block, or the next `most`; the first claimed, and how many: 0 where none is left.
  std::pair<int64_t, int64_t> claim(int64_t most = 1) {
    uint64_t seen = ticket.load(std::memory_order_acquire);
    for (;;) {
      const Ticket now(seen);
      const int64_t wanted = std::min(now.n_blocks() - now.next(), most);
      if (wanted == 0) return {0, 0};
      if (ticket.compare_exchange_weak(seen, now.claimed(wanted).bits(), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
        return {now.next(), wanted};
    }
  }

  void work_on_blocks(int thread) {
    int64_t finished = 0;
    try {
      for (;;) {
        const auto [block, claimed] = claim();
        if (claimed == 0) break;
        ++finished;  // also where it throws
        (*work)(block, thread);
      }
    } catch (...) {
      if (!failed.exchange(true, std::memory_order_relaxed)) failure = std::current_exception();
      finished += claim(Ticket::kMaxBlocks).second;
    }
    if (finished == 0) return;
    done.fetch_add(static_cast<uint32_t>(finished), std::memory_order_acq_rel);
    done.notify_one();
  }

  void run(int thread) {
    for (uint32_t seen = 0;;) {
      wait_for_change(epoch, seen);
      seen = epoch.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_relaxed)) return;
      work_on_blocks(thread);
    }
  }

  void announce() {
    epoch.fetch_add(1, std::memory_order_acq_rel);
    epoch.notify_all();
  }

  void run_region(int64_t n_blocks, const Work& region) {
    work = &region;
    done.store(0, std::memory_order_relaxed);
    ticket.store(Ticket(epoch.load(std::memory_order_relaxed) + 1, n_blocks).bits(), std::memory_order_release);
    announce();
    work_on_blocks(0);
    for (uint32_t so_far; (so_far = done.load(std::memory_order_acquire)) != n_blocks;) wait_for_change(done, so_far);
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
  state_->stopping.store(true, std::memory_order_relaxed);
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
  for (int64_t first = 0; first < n_blocks && !s.failed.load(std::memory_order_relaxed); first += Ticket::kMaxBlocks) {
    const auto part = [&](int64_t block, int thread) { work(first + block, thread); };
    s.run_region(std::min(n_blocks - first, Ticket::kMaxBlocks), part);
  }
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
