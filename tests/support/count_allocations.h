// Counts what the program allocates, for tests that bound memory by a file's size; and lets an allocation fail.
#pragma once

#include <cstdint>

namespace facet::testing {

// Bytes asked of operator new by this thread so far, freed or not. A program that calls it counts (the library replaces
// operator new); sanitizer builds count as well.
int64_t bytes_allocated();

// While it lives, the nth (1: the next) allocation of this thread fails. One at a time.
class FailingAllocation {
 public:
  explicit FailingAllocation(int64_t nth);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  bool came() const;  // whether it failed
};

}  // namespace facet::testing
