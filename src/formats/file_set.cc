#include "formats/file_set.h"

#include <algorithm>

#include "base/strings.h"
#include "tensor/dtype.h"

namespace facet::formats {
namespace {

uint64_t padded(uint64_t bytes, uint64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

uint64_t size_of(const PlannedFile& file, uint64_t alignment) {
  uint64_t bytes = file.header.size();
  for (const NewTensor& tensor : file.tensors) bytes += padded(static_cast<uint64_t>(tensor.bytes()), alignment);
  return bytes;
}

}  // namespace

int64_t NewTensor::bytes() const {
  int64_t elements = 1;
  for (const int64_t n : shape) elements *= n;
  return row_bytes(type, elements);
}

std::vector<std::vector<NewTensor>> cut_into_files(const std::vector<NewTensor>& tensors, const SplitOptions& split,
                                                   uint64_t alignment, const Overhead& overhead) {
  std::vector<std::vector<NewTensor>> files(1);
  int64_t bytes = overhead.first_file;
  for (const NewTensor& tensor : tensors) {
    const int64_t size = static_cast<int64_t>(padded(static_cast<uint64_t>(tensor.bytes()), alignment)) +
                         overhead.per_tensor + static_cast<int64_t>(tensor.name.size());
    const bool full = (split.max_bytes > 0 && bytes + size > split.max_bytes) ||
                      (split.max_tensors > 0 && static_cast<int64_t>(files.back().size()) >= split.max_tensors);
    if (full && !files.back().empty()) {
      files.emplace_back();
      bytes = overhead.other_files;
    }
    files.back().push_back(tensor);
    bytes += size;
  }
  return files;
}

FileSet::FileSet(std::vector<PlannedFile> files, uint64_t alignment) : plan_(std::move(files)), alignment_(alignment) {
  for (const PlannedFile& file : plan_) paths_.push_back(file.path);
}

Result<std::unique_ptr<CheckpointWriter>> FileSet::create(std::vector<PlannedFile> files, uint64_t alignment) {
  std::unique_ptr<FileSet> set(new FileSet(std::move(files), alignment));  // private constructor
  // All files now, so that a full disk shows before any work.
  for (const PlannedFile& file : set->plan_) {
    FACET_TRY(NewFile made, NewFile::create(file.path, size_of(file, alignment)));
    set->written_.push_back(std::move(made));
  }
  FACET_TRY_VOID(set->begin_file());
  FACET_TRY_VOID(set->advance());
  return std::unique_ptr<CheckpointWriter>(std::move(set));
}

Result<void> FileSet::begin_file() { return written_[file_].write(plan_[file_].header); }

Result<void> FileSet::end_tensor() {
  static constexpr std::byte kZeros[4096] = {};
  uint64_t rest = padded(static_cast<uint64_t>(in_tensor_), alignment_) - static_cast<uint64_t>(in_tensor_);
  while (rest > 0) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(rest, sizeof kZeros));
    FACET_TRY_VOID(written_[file_].write({kZeros, n}));
    rest -= n;
  }
  in_tensor_ = 0;
  ++tensor_;
  return {};
}

Result<void> FileSet::advance() {
  while (!done()) {
    const std::vector<NewTensor>& tensors = plan_[file_].tensors;
    if (tensor_ < tensors.size()) {
      if (in_tensor_ < tensors[tensor_].bytes()) return {};
      FACET_TRY_VOID(end_tensor());
      continue;
    }
    FACET_TRY_VOID(written_[file_].flush());
    tensor_ = 0;
    if (++file_ < plan_.size()) FACET_TRY_VOID(begin_file());
  }
  return {};
}

Result<void> FileSet::write(Bytes more) {
  while (!more.empty()) {
    if (done())
      return Error{.code = ErrorCode::invalid_argument,
                   .what = cat(more.size(), " bytes more than the declared tensors have"),
                   .where = paths_.front().string()};
    const NewTensor& tensor = plan_[file_].tensors[tensor_];
    const size_t n = std::min(more.size(), static_cast<size_t>(tensor.bytes() - in_tensor_));
    FACET_TRY_VOID(written_[file_].write(more.first(n)));
    in_tensor_ += static_cast<int64_t>(n);
    more = more.subspan(n);
    FACET_TRY_VOID(advance());
  }
  return {};
}

Result<void> FileSet::finish() {
  if (!done()) {
    const NewTensor& tensor = plan_[file_].tensors[tensor_];
    return Error{.code = ErrorCode::invalid_argument,
                 .what = cat("bytes of ", tensor.name, " are missing"),
                 .where = paths_[file_].string(),
                 .expected = cat(tensor.bytes()),
                 .found = cat(in_tensor_)};
  }
  return name_all();
}

// A process that dies in here leaves the old set, none that opens, or the new one: never parts of two.
Result<void> FileSet::name_all() {
  std::error_code ignored;
  if (written_.size() > 1) std::filesystem::remove(written_.front().path(), ignored);
  for (size_t i = written_.size(); i-- > 0;) {
    Result<void> named = written_[i].commit();
    if (named.ok()) continue;
    for (size_t other = i + 1; other < written_.size(); ++other)
      std::filesystem::remove(written_[other].path(), ignored);
    return named;
  }
  return {};
}

}  // namespace facet::formats
