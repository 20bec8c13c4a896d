// FileSet: several files written one after the other that appear together. What CheckpointWriters of both containers
// are.
#pragma once

#include <string>
#include <vector>

#include "formats/checkpoint_writer.h"

namespace facet::formats {

// One file: a header, then the data of some tensors, each followed by zeros up to the alignment.
struct PlannedFile {
  std::filesystem::path path;
  std::vector<std::byte> header;
  std::vector<NewTensor> tensors;
};

class FileSet : public CheckpointWriter {
 public:
  // The first file is the one that readers open; it gets its name last. Errors: those of NewFile::create, for all files
  // together before anything is written.
  static Result<std::unique_ptr<CheckpointWriter>> create(std::vector<PlannedFile> files, uint64_t alignment);

  Result<void> write(Bytes more) override;
  Result<void> finish() override;
  const std::vector<std::filesystem::path>& paths() const override { return paths_; }

 private:
  FileSet(std::vector<PlannedFile> files, uint64_t alignment);
  Result<void> begin_file();
  Result<void> end_tensor();
  // Past tensors without bytes, to one that has some; opens files on the way.
  Result<void> advance();
  Result<void> name_all();
  bool done() const { return file_ == plan_.size(); }

  std::vector<PlannedFile> plan_;
  uint64_t alignment_;
  std::vector<std::filesystem::path> paths_;
  std::vector<NewFile> written_;
  size_t file_ = 0, tensor_ = 0;  // of plan_: where the next byte goes
  int64_t in_tensor_ = 0;         // bytes of it that have come
};

// Bytes that files have besides the data of their tensors, at most.
struct Overhead {
  int64_t first_file = 0, other_files = 0;
  int64_t per_tensor = 0;  // without its name
};

// Cuts a list of tensors into files. At least one file, and no file without tensors unless there are none at all.
std::vector<std::vector<NewTensor>> cut_into_files(const std::vector<NewTensor>& tensors, const SplitOptions& split,
                                                   uint64_t alignment, const Overhead& overhead);

}  // namespace facet::formats
