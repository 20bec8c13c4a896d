// PartialFile: a file that grows as it arrives, and the running hash of what it holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/function_ref.h"
#include "hub/digest.h"

namespace facet::hub {

class PartialFile {
 public:
  // Opens or creates the file and hashes what is there; a file longer than `size` starts anew. on_read(bytes so far)
  // returning false cancels. Errors: io, cancelled.
  static Result<PartialFile> open(const std::filesystem::path& path, std::string id, int64_t size,
                                  FunctionRef<bool(int64_t)> on_read);
  PartialFile(PartialFile&& other) noexcept;
  PartialFile& operator=(PartialFile&& other) noexcept;
  ~PartialFile();

  int64_t length() const { return length_; }
  bool whole() const { return length_ == size_; }

  // Errors: io (a full disk among others; what fits is kept).
  Result<void> append(Bytes bytes);
  // Throws away what is there. Errors: io.
  Result<void> restart();
  // Requires whole(). Checks the hash, flushes to the disk and moves the file to `target`. Errors: corrupt (the file is
  // gone then), io.
  Result<void> finish(const std::filesystem::path& target);
  void remove();

 private:
  PartialFile(int file, std::filesystem::path path, std::string id, int64_t size);
  Result<void> hash_existing(FunctionRef<bool(int64_t)> on_read);

  int file_;
  std::filesystem::path path_;
  std::string id_;
  int64_t size_, length_ = 0;
  Digest digest_;
};

// Flushes the entries of a folder to the disk, so that a rename survives a power cut. Advice only: some file systems
// cannot.
void flush_folder(const std::filesystem::path& folder);

}  // namespace facet::hub
