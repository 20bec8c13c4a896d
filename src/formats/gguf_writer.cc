// GGUF v3 files being written (gguf.md 1).
#include <algorithm>
#include <unordered_set>

#include "base/strings.h"
#include "formats/append.h"
#include "formats/file_set.h"

namespace facet::formats {
namespace {

constexpr size_t kNameMax = 63, kDimensionsMax = 4, kPartsMax = 99'999;

Result<void> check_gguf(const std::filesystem::path& path, const std::vector<NewTensor>& tensors) {
  std::unordered_set<std::string_view> names;
  for (const NewTensor& tensor : tensors) {
    const auto bad = [&](std::string what, std::string expected, std::string found) {
      return Error{.code = ErrorCode::invalid_argument,
                   .what = std::move(what),
                   .where = cat(path, ": ", tensor.name),
                   .expected = std::move(expected),
                   .found = std::move(found)};
    };
    const DTypeInfo& type = info(tensor.type);
    if (type.ggml_id < 0) return bad("GGUF files hold no tensors of this type", "another type", type.name);
    if (tensor.name.empty() || tensor.name.size() > kNameMax)
      return bad("length of a tensor's name", cat("1 to ", kNameMax, " bytes"), cat(tensor.name.size()));
    if (!names.insert(tensor.name).second) return bad("tensor occurs twice", "different names", tensor.name);
    if (tensor.shape.size() > kDimensionsMax || !elements_of(tensor.shape))
      return bad("shape cannot be held", cat("at most ", kDimensionsMax, " dimensions"), list(tensor.shape));
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % type.block != 0)
      return bad("rows are no multiple of the type's block", cat("a multiple of ", type.block), cat(row));
  }
  return {};
}

std::string five_digits(size_t number) {
  const std::string digits = cat(number);
  return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
}

// Counts, split keys and the padding in front of the data; of a tensor the numbers of its record.
Overhead overhead_of(const GgufPairs& pairs, uint64_t alignment) {
  constexpr int64_t kEveryFile = 256, kRecord = 8 + 4 + 8 * kDimensionsMax + 4 + 8;
  const int64_t every = kEveryFile + static_cast<int64_t>(alignment);
  return {
      .first_file = every + static_cast<int64_t>(pairs.bytes().size()), .other_files = every, .per_tensor = kRecord};
}

// "model.gguf", 0, 3: "model-00001-of-00003.gguf".
std::filesystem::path part_name(const std::filesystem::path& path, size_t number, size_t count) {
  std::filesystem::path part = path;
  part.replace_filename(cat(path.stem(), "-", five_digits(number + 1), "-of-", five_digits(count), ".gguf"));
  return part;
}

}  // namespace

std::vector<std::byte> gguf_header(const GgufPairs& pairs, const std::vector<NewTensor>& tensors, uint64_t alignment) {
  std::vector<std::byte> out;
  append(out, as_bytes("GGUF"));
  append_number(out, uint32_t{3});
  append_number(out, static_cast<uint64_t>(tensors.size()));
  append_number(out, static_cast<uint64_t>(pairs.size()));
  append(out, pairs.bytes());
  uint64_t offset = 0;
  for (const NewTensor& tensor : tensors) {
    append_number(out, static_cast<uint64_t>(tensor.name.size()));
    append(out, as_bytes(tensor.name));
    append_number(out, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) append_number(out, tensor.shape[i]);
    append_number(out, static_cast<int32_t>(info(tensor.type).ggml_id));
    append_number(out, offset);
    offset += (static_cast<uint64_t>(tensor.bytes()) + alignment - 1) / alignment * alignment;
  }
  out.resize((out.size() + alignment - 1) / alignment * alignment);
  return out;
}

Result<std::unique_ptr<CheckpointWriter>> new_gguf(const std::filesystem::path& path, const GgufPairs& pairs,
                                                   const std::vector<NewTensor>& tensors, const SplitOptions& split) {
  if (path.extension() != ".gguf")
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "name of a GGUF file",
                 .where = path.string(),
                 .expected = "a name that ends in .gguf",
                 .found = path.extension().string()};
  FACET_TRY(const uint64_t alignment, pairs.alignment());
  FACET_TRY_VOID(check_gguf(path, tensors));
  GgufPairs all = pairs;
  for (const char* key : {"split.no", "split.count", "split.tensors.count"}) all.erase(key);
  const Overhead overhead = overhead_of(all, alignment);
  const std::vector<std::vector<NewTensor>> cut = cut_into_files(tensors, split, alignment, overhead);
  if (cut.size() > kPartsMax)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "too many parts",
                 .where = path.string(),
                 .expected = cat("at most ", kPartsMax),
                 .found = cat(cut.size())};
  std::vector<PlannedFile> files;
  for (size_t i = 0; i < cut.size(); ++i) {
    GgufPairs own = i == 0 ? all : GgufPairs();
    if (i > 0) own.set("general.alignment", static_cast<uint32_t>(alignment));
    if (cut.size() > 1) {
      own.set("split.no", static_cast<uint16_t>(i));
      own.set("split.count", static_cast<uint16_t>(cut.size()));
      own.set("split.tensors.count", static_cast<int32_t>(tensors.size()));
    }
    files.push_back({.path = cut.size() > 1 ? part_name(path, i, cut.size()) : path,
                     .header = gguf_header(own, cut[i], alignment),
                     .tensors = cut[i]});
  }
  return FileSet::create(std::move(files), alignment);
}

}  // namespace facet::formats
