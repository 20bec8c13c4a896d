// Counts what the program allocates, for tests that bound memory by a file's size.
#pragma once

#include <cstdint>

namespace facet::testing {

// Bytes asked of operator new by this thread so far, freed or not. A program that calls it counts (the library replaces
// operator new); sanitizer builds count as well.
int64_t bytes_allocated();

}  // namespace facet::testing
