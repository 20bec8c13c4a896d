// safetensors files being written (gguf.md 2).
#include <algorithm>
#include <unordered_set>

#include "base/json.h"
#include "base/strings.h"
#include "formats/file_set.h"

namespace facet::formats {
namespace {

constexpr size_t kDataAlignment = 8;  // of the data's start: the header is padded with spaces
constexpr Overhead kOverhead{.first_file = 64, .other_files = 64, .per_tensor = 256};

Result<void> check_safetensors(const std::filesystem::path& folder, const std::vector<NewTensor>& tensors) {
  std::unordered_set<std::string_view> names;
  for (const NewTensor& tensor : tensors) {
    const auto bad = [&](std::string what, std::string expected, std::string found) {
      return Error{.code = ErrorCode::invalid_argument,
                   .what = std::move(what),
                   .where = cat(folder, ": ", tensor.name),
                   .expected = std::move(expected),
                   .found = std::move(found)};
    };
    if (info(tensor.type).safetensors == nullptr)
      return bad("safetensors files hold no tensors of this type", "a type without blocks", name(tensor.type));
    if (tensor.name.empty() || tensor.name == "__metadata__" || !names.insert(tensor.name).second)
      return bad("name of a tensor", "a name that no other tensor has", tensor.name);
    if (!elements_of(tensor.shape)) return bad("shape cannot be held", "fewer elements", list(tensor.shape));
  }
  return {};
}

std::string shard_name(size_t number, size_t count) {
  const auto digits = [](size_t value) {
    const std::string text = cat(value);
    return std::string(5 - std::min<size_t>(5, text.size()), '0') + text;
  };
  return cat("model-", digits(number + 1), "-of-", digits(count), ".safetensors");
}

// {"metadata": {"total_size": …}, "weight_map": {tensor: file}}, as a file without tensors.
PlannedFile index_of(const std::filesystem::path& folder, const std::vector<std::vector<NewTensor>>& shards) {
  int64_t total = 0;
  std::string map;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file = Json(shard_name(i, shards.size())).dump();
    for (const NewTensor& tensor : shards[i]) {
      map += cat(map.empty() ? "\n    " : ",\n    ", Json(tensor.name).dump(), ": ", file);
      total += tensor.bytes();
    }
  }
  const std::string text =
      cat("{\n  \"metadata\": {\n    \"total_size\": ", total, "\n  },\n  \"weight_map\": {", map, "\n  }\n}\n");
  const Bytes bytes = as_bytes(text);
  return {.path = folder / "model.safetensors.index.json", .header = {bytes.begin(), bytes.end()}, .tensors = {}};
}

}  // namespace

std::vector<std::byte> safetensors_header(const std::vector<NewTensor>& tensors) {
  std::string text = R"({"__metadata__":{"format":"pt"})";
  int64_t offset = 0;
  for (const NewTensor& tensor : tensors) {
    const int64_t end = offset + tensor.bytes();
    text += cat(",", Json(tensor.name).dump(), R"(:{"dtype":")", info(tensor.type).safetensors, R"(","shape":)",
                list(tensor.shape), R"(,"data_offsets":)", list(std::vector<int64_t>{offset, end}), "}");
    offset = end;
  }
  text += "}";
  while ((text.size() + sizeof(uint64_t)) % kDataAlignment != 0) text += ' ';
  std::vector<std::byte> out;
  const uint64_t length = text.size();
  const Bytes head = std::as_bytes(std::span(&length, 1)), body = as_bytes(text);
  out.insert(out.end(), head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Result<std::unique_ptr<CheckpointWriter>> new_safetensors(const std::filesystem::path& folder,
                                                          const std::vector<NewTensor>& tensors,
                                                          const SplitOptions& split) {
  FACET_TRY_VOID(check_safetensors(folder, tensors));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return Error{
        .code = ErrorCode::io, .what = cat("cannot make the folder: ", error.message()), .where = folder.string()};
  const std::vector<std::vector<NewTensor>> shards = cut_into_files(tensors, split, 1, kOverhead);
  std::vector<PlannedFile> files;
  if (shards.size() > 1) files.push_back(index_of(folder, shards));
  for (size_t i = 0; i < shards.size(); ++i)
    files.push_back({.path = folder / (shards.size() > 1 ? shard_name(i, shards.size()) : "model.safetensors"),
                     .header = safetensors_header(shards[i]),
                     .tensors = shards[i]});
  return FileSet::create(std::move(files), 1);
}

}  // namespace facet::formats
