// PackCache: a folder of pack files, found by the identity of what they were made from. Several processes may use one
// folder; one that is killed leaves nothing that would be taken for a pack.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "formats/pack_file.h"

namespace facet::formats {

class PackCache {
 public:
  // bytes_max: of all packs together; those that were used longest ago make room. disk_free_min: bytes of the disk that
  // stay free. Nothing is created here.
  PackCache(std::filesystem::path folder, int64_t bytes_max, int64_t disk_free_min);

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path path_of(std::string_view identity) const;

  // The pack of this identity; it counts as used now. Errors: not_found; corrupt (damaged, or of something else),
  // unsupported; io.
  Result<std::shared_ptr<const PackFile>> open(std::string_view identity) const;

  // Keeps these matrices. Errors: exhausted (larger than the cache, or than the room on the disk), io, unavailable
  // (another process keeps the same), cancelled.
  Result<void> keep(const std::string& identity, const std::string& source, std::span<const PackedMatrix> matrices,
                    Progress* progress) const;

  struct Kept {
    std::filesystem::path path;
    int64_t bytes = 0;
    int64_t last_used = 0;  // seconds since 1970
    std::string source;     // the model's path; empty: the file cannot be read as a pack
  };
  // Last used first; none where there is no folder. Errors: io (the folder cannot be read).
  Result<std::vector<Kept>> list() const;
  // Removes all packs, and what killed processes left. Processes that have mapped a pack keep its bytes. Errors: io.
  Result<std::vector<Kept>> clear() const;

 private:
  Result<void> make_room(int64_t bytes, const std::filesystem::path& replaced) const;
  void sweep() const;

  std::filesystem::path folder_;
  int64_t bytes_max_, disk_free_min_;
};

}  // namespace facet::formats
