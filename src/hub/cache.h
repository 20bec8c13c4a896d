// Cache: the folder that facet shares with Python's huggingface_hub and with llama.cpp.
//
//   <root>/models--<owner>--<name>/
//       blobs/<id>                        a file, named by its hash (model_ref.h: is_object_id)
//       blobs/<id>.incomplete             one that is arriving
//       snapshots/<commit>/<path>         relative link to its blob; where links are impossible, the file itself
//       refs/<branch or tag>              the commit it stood for when it was last asked
//   <root>/.locks/models--<owner>--<name>/<id>.lock     held by whoever brings or removes the blob
//
// Every file appears under its name by a rename, whole; a reference is written when its snapshot is complete. A process
// that dies at any moment leaves at most a partial file, which the next one continues.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "facet/result.h"
#include "hub/answers.h"

namespace facet::hub {

// Holds the lock of one blob against other processes. Move-only.
class BlobLock {
 public:
  BlobLock() = default;
  BlobLock(BlobLock&& other) noexcept;
  BlobLock& operator=(BlobLock&& other) noexcept;
  ~BlobLock();

 private:
  friend class Cache;
  explicit BlobLock(int file) : file_(file) {}
  int file_ = -1;
};

class Cache {
 public:
  // symlinks: no makes every snapshot hold the files themselves.
  Cache(std::filesystem::path root, bool symlinks) : root_(std::move(root)), symlinks_(symlinks) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path repo_folder(std::string_view repo) const;
  std::filesystem::path snapshot_folder(std::string_view repo, std::string_view commit) const;
  std::filesystem::path blob(std::string_view repo, std::string_view id) const;
  std::filesystem::path partial(std::string_view repo, std::string_view id) const;
  std::filesystem::path lock_folder(std::string_view repo) const;

  // Makes the folders of a repository. Errors: io.
  Result<void> prepare(std::string_view repo) const;

  // The commit that a branch or tag stood for when it was last asked; a commit, or its unique first digits (7 or more),
  // stand for themselves when their snapshot is there. nullopt: not in the cache.
  std::optional<std::string> commit_of(std::string_view repo, std::string_view revision) const;
  // Errors: io.
  Result<void> write_ref(std::string_view repo, std::string_view revision, std::string_view commit) const;
  // The branches and tags that stand for a commit.
  std::vector<std::string> refs_of(std::string_view repo, std::string_view commit) const;
  // All snapshots of a repository, the one changed last first.
  std::vector<std::string> commits(std::string_view repo) const;
  // Every repository of models that has a folder, by name.
  std::vector<std::string> repos() const;

  // The whole files of a snapshot, by path; links without a blob are left out. id is "" where the file is no link.
  std::vector<RepoFile> files(std::string_view repo, std::string_view commit) const;
  // Whether this file is there, whole: in the snapshot, or as a blob that only needs its link.
  bool in_snapshot(std::string_view repo, std::string_view commit, const RepoFile& file) const;
  bool has_blob(std::string_view repo, const RepoFile& file) const;
  // Bytes of the partial file; 0 when there is none.
  int64_t partial_bytes(std::string_view repo, const RepoFile& file) const;

  // Puts a blob that is there into a snapshot. Errors: io.
  Result<void> link(std::string_view repo, std::string_view commit, const RepoFile& file) const;

  // Waits for the lock of a blob, after prepare(). on_wait is called while another process holds it; false cancels. On
  // file systems without locks, nothing is held. Errors: io, cancelled.
  Result<BlobLock> lock(std::string_view repo, std::string_view id, FunctionRef<bool()> on_wait) const;

 private:
  std::filesystem::path scratch(std::string_view repo) const;  // what is renamed to its place begins here

  std::filesystem::path root_;
  bool symlinks_;
};

}  // namespace facet::hub
