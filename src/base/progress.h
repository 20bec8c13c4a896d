// Progress of long work, reported upwards. Whoever owns the terminal draws it.
#pragma once

#include <cstdint>
#include <string_view>

namespace facet {

class Progress {
 public:
  virtual ~Progress() = default;
  // done of total units of `phase` ("packing weights", "reading prompt"). Called often, from one thread at a time.
  // Returning false asks the worker to stop with ErrorCode::cancelled.
  virtual bool update(std::string_view phase, int64_t done, int64_t total) = 0;
};

}  // namespace facet
