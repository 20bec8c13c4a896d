// CheckpointWriter: model files being written, of either container. All tensors are declared first, so that headers can
// be written before the data; then their bytes stream through, in the order declared and cut anywhere. Memory does not
// depend on the size of the model. Files appear under their names when all is written (base/file.h); of a set of files
// the one that is opened first appears last.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/gguf_pairs.h"

namespace facet::formats {

struct NewTensor {
  std::string name;
  DType type = DType::f32;
  std::vector<int64_t> shape;  // outermost first

  int64_t bytes() const;
};

// When a checkpoint is written as several files. 0: no limit. A tensor is never cut, so a file that holds one alone may
// exceed the bytes.
struct SplitOptions {
  int64_t max_bytes = 0;  // of a file, header included
  int64_t max_tensors = 0;
};

class CheckpointWriter {
 public:
  virtual ~CheckpointWriter() = default;
  // Errors: io, exhausted, invalid_argument (more bytes than were declared).
  virtual Result<void> write(Bytes more) = 0;
  // Everything is on the disk, and the files appear. Errors: io, invalid_argument (bytes are missing: of which tensor).
  virtual Result<void> finish() = 0;
  // All files, the one to open first.
  virtual const std::vector<std::filesystem::path>& paths() const = 0;
};

// A GGUF v3 file, little-endian (gguf.md 1). path ends in .gguf; split files get its name with "-00001-of-00003".
// pairs: general.alignment is obeyed; split keys are added. Errors: invalid_argument (names, shapes, types that GGUF
// cannot hold, naming the tensor), exhausted (no room on the disk), io.
Result<std::unique_ptr<CheckpointWriter>> new_gguf(const std::filesystem::path& path, const GgufPairs& pairs,
                                                   const std::vector<NewTensor>& tensors,
                                                   const SplitOptions& split = {});

// Everything in front of the data of such a file. Requires tensors that new_gguf() accepts.
std::vector<std::byte> gguf_header(const GgufPairs& pairs, const std::vector<NewTensor>& tensors, uint64_t alignment);

// model.safetensors in a folder, which is made where it is missing; or, split, model-00001-of-00003.safetensors … and
// model.safetensors.index.json (gguf.md 2). Errors: as above; block types cannot be held.
Result<std::unique_ptr<CheckpointWriter>> new_safetensors(const std::filesystem::path& folder,
                                                          const std::vector<NewTensor>& tensors,
                                                          const SplitOptions& split = {});

// Everything in front of the data of such a file. Requires tensors that new_safetensors() accepts.
std::vector<std::byte> safetensors_header(const std::vector<NewTensor>& tensors);

}  // namespace facet::formats
