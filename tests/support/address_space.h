// What the kernel says of this process.
#pragma once

#include <cstdint>
#include <fstream>

#include <unistd.h>

namespace facet::testing {

// Bytes of the process, touched or not; 0 where the kernel does not say.
inline int64_t bytes_of_address_space() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * ::sysconf(_SC_PAGESIZE);
}

}  // namespace facet::testing
