// The border of the public API: memory that runs out inside becomes an Error. Nothing else of facet throws; what a
// caller's own callback throws passes through.
#pragma once

#include <new>

#include "facet/result.h"

namespace facet::engine {

// work() returns a Result.
template <class Work>
auto guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{.code = ErrorCode::exhausted, .what = "out of memory"};  // short: takes no memory itself
  }
}

}  // namespace facet::engine
