// Sinks and readers of bytes in memory, for streams that are saved and restored.
#pragma once

#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "model/kv_cache.h"

namespace facet::testing {

class MemorySink : public model::ByteSink {
 public:
  Result<void> write(Bytes more) override {
    if (bytes.size() + more.size() > limit) return Error{.code = ErrorCode::io, .what = "the disk is full"};
    bytes.insert(bytes.end(), more.begin(), more.end());
    return {};
  }
  std::vector<std::byte> bytes;
  size_t limit = SIZE_MAX;  // fails beyond
};

class MemoryReader : public model::ByteReader {
 public:
  explicit MemoryReader(Bytes bytes) : rest_(bytes) {}
  Result<void> read(std::span<std::byte> out) override {
    if (out.size() > rest_.size())
      return Error{.code = ErrorCode::corrupt,
                   .what = "ends too early",
                   .expected = cat(out.size(), " bytes"),
                   .found = cat(rest_.size())};
    std::copy_n(rest_.begin(), out.size(), out.begin());
    rest_ = rest_.subspan(out.size());
    return {};
  }
  size_t remaining() const { return rest_.size(); }

 private:
  Bytes rest_;
};

}  // namespace facet::testing
