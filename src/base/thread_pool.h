// The one thread pool: persistent workers that claim numbered blocks of work from a shared counter.
//
// Work is cut by its shape, never by the number of threads; which thread runs a block is left to chance, so a result
// may not depend on it (architecture: shape decides the cut).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/function_ref.h"

namespace facet {

class ThreadPool {
 public:
  // n_threads counts the calling thread: 1 starts no worker. Requires n_threads >= 1. Where the system refuses to start
  // as many, the pool has fewer and the log says so.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const;

  // Calls work(block, thread) for every block in 0…n_blocks-1, each exactly once, and returns when all have returned.
  // thread is in 0…n_threads-1 and serves to choose scratch memory. The caller takes part. Not reentrant; calls from
  // several threads must not overlap. Allocates nothing. With one block or one thread everything runs on the caller.
  // Where work throws (memory may be exhausted), blocks that nobody has begun are left out, and the first exception
  // leaves here once no thread works any more.
  void parallel(int64_t n_blocks, FunctionRef<void(int64_t block, int thread)> work);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Number of processors this process may run on: its affinity mask, and the quota of its container (cgroup v2), rounded
// up. More threads than that would be stopped in the middle of a region.
int usable_processors();
// The threads that a caller asks for; 0: one for each usable processor.
inline int threads_or_all(int asked) { return asked > 0 ? asked : usable_processors(); }
// The processors that a file cpu.max grants ("200000 100000": 2), at most `all`; all of them where it says "max" or
// cannot be read.
int processors_of_quota(std::string_view cpu_max, int all);

}  // namespace facet
