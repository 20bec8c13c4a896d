#include "support/count_allocations.h"

#include <cstdlib>
#include <new>

namespace {
thread_local int64_t allocated = 0;
thread_local int64_t until_failure = 0;  // allocations; 0: none fails

bool fails() { return until_failure > 0 && --until_failure == 0; }
}  // namespace

void* operator new(std::size_t size) {
  allocated += static_cast<int64_t>(size);
  if (fails()) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
// The sanitizers' own version of this one would meet our operator delete.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocated += static_cast<int64_t>(size);
  if (fails()) return nullptr;
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace facet::testing {

int64_t bytes_allocated() { return allocated; }

FailingAllocation::FailingAllocation(int64_t nth) { until_failure = nth; }
FailingAllocation::~FailingAllocation() { until_failure = 0; }
bool FailingAllocation::came() const { return until_failure == 0; }

}  // namespace facet::testing
