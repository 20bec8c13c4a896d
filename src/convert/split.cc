#include "convert/split.h"

#include "base/strings.h"
#include "convert/copy.h"

namespace facet::convert {
namespace {

namespace fs = std::filesystem;

Error unusable(const fs::path& path, std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = path.string(),
          .expected = std::move(expected),
          .found = std::move(found)};
}

Result<formats::Checkpoint> open_gguf(const fs::path& path) {
  FACET_TRY(formats::Checkpoint in, formats::Checkpoint::open(path));
  if (in.container() != formats::Container::gguf)
    return Error{.code = ErrorCode::unsupported,
                 .what = "only GGUF files are split and merged; facet convert writes safetensors in parts",
                 .where = path.string(),
                 .expected = "a GGUF file",
                 .found = "safetensors"};
  return in;
}

class Rewrite {
 public:
  explicit Rewrite(const formats::Checkpoint& in) : in_(in) {
    pairs_.copy(in.metadata());
    for (const formats::TensorInfo& tensor : in.tensors()) {
      copies_.push_back(whole(tensor, tensor.name, tensor.type));
      tensors_.push_back(copies_.back().out);
    }
  }

  Result<std::unique_ptr<formats::CheckpointWriter>> open(const fs::path& path, const formats::SplitOptions& split) {
    return formats::new_gguf(path, pairs_, tensors_, split);
  }

  Result<void> write(formats::CheckpointWriter& writer, Overwrite overwrite, Progress* progress) {
    FACET_TRY_VOID(check_absent(writer.paths(), overwrite));
    FACET_TRY_VOID(copy_tensors(in_, copies_, writer, progress));
    return writer.finish();
  }

 private:
  const formats::Checkpoint& in_;
  formats::GgufPairs pairs_;
  std::vector<CopiedTensor> copies_;
  std::vector<formats::NewTensor> tensors_;
};

}  // namespace

Result<std::vector<fs::path>> split_gguf(const fs::path& in, const fs::path& prefix, const formats::SplitOptions& split,
                                         Overwrite overwrite, Progress* progress) {
  if (split.max_bytes <= 0 && split.max_tensors <= 0)
    return unusable(in, "no size of the parts is given", "--max-size or --max-tensors", "neither");
  FACET_TRY(const formats::Checkpoint checkpoint, open_gguf(in));
  Rewrite rewrite(checkpoint);
  fs::path path = prefix;
  if (path.extension() != ".gguf") path += ".gguf";
  FACET_TRY(const auto writer, rewrite.open(path, split));
  if (writer->paths().size() == 1)
    return unusable(in, "all of it fits in one part; there is nothing to split", "a smaller limit",
                    cat(checkpoint.tensors().size(), " tensors, ", checkpoint.file_bytes(), " bytes"));
  FACET_TRY_VOID(rewrite.write(*writer, overwrite, progress));
  return writer->paths();
}

Result<void> merge_gguf(const fs::path& first_part, const fs::path& out, Overwrite overwrite, Progress* progress) {
  FACET_TRY(const formats::Checkpoint checkpoint, open_gguf(first_part));
  FACET_TRY(const std::optional<int64_t> count, checkpoint.metadata().integer("split.count"));
  if (count.value_or(0) < 2)
    return unusable(first_part, "is whole; there is nothing to merge", "the first part of a split file", "one file");
  Rewrite rewrite(checkpoint);
  FACET_TRY(const auto writer, rewrite.open(out, {}));
  return rewrite.write(*writer, overwrite, progress);
}

}  // namespace facet::convert
