// ByteSource: bytes at rest that are read by offset: a mapped file, memory, later a ranged download.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/file.h"
#include "facet/result.h"

namespace facet::formats {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual const std::string& name() const = 0;  // for messages
  virtual int64_t size() const = 0;
  // Fills out with the bytes at offset. Errors: io, corrupt (beyond the end). Any thread.
  virtual Result<void> read(int64_t offset, std::span<std::byte> out) const = 0;
  // The bytes in place where the source has them in memory or mapped; empty otherwise.
  virtual Bytes mapped(int64_t offset, int64_t length) const = 0;
  // This part will be read soon.
  virtual void will_need(int64_t offset, int64_t length) const = 0;
  // Pages of this part may be dropped: they will not be read again soon.
  virtual void release(int64_t offset, int64_t length) const = 0;
  // Of the file as it was when it was opened; nullopt: not a file. name() is its path.
  virtual std::optional<FileStamp> stamp() const { return std::nullopt; }
};

Result<std::shared_ptr<const ByteSource>> open_mapped(const std::filesystem::path& path);
std::shared_ptr<const ByteSource> memory_source(std::string name, Bytes bytes);  // borrows

}  // namespace facet::formats
