#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/strings.h"
#include "base/utf8.h"

namespace facet::formats {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr int kMaxDepth = 4;

Error corrupt(const ByteSource& source, std::string_view tensor, std::string what, std::string expected = {},
              std::string found = {}) {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = tensor.empty() ? source.name() : cat(source.name(), ": ", excerpt(tensor)),
          .expected = std::move(expected),
          .found = std::move(found)};
}

Result<std::vector<int64_t>> integers(const ByteSource& source, std::string_view tensor, const Json* list,
                                      std::string_view what) {
  if (list == nullptr || list->array() == nullptr)
    return corrupt(source, tensor, cat("has no ", what), "an array of integers",
                   list == nullptr ? "nothing" : list->kind());
  std::vector<int64_t> out;
  for (const Json& item : *list->array()) {
    if (item.integer() == nullptr || *item.integer() < 0)
      return corrupt(source, tensor, cat(what, " holds something else than integers"), "integers from 0",
                     item.is_number() ? item.dump() : item.kind());
    out.push_back(*item.integer());
  }
  return out;
}

// One entry of the header.
Result<TensorInfo> read_entry(const ByteSource& source, const std::string& name, const Json& entry,
                              int64_t data_start) {
  const Json* dtype = entry.find("dtype");
  if (dtype == nullptr || dtype->string() == nullptr)
    return corrupt(source, name, "has no dtype", "a string", dtype == nullptr ? "nothing" : dtype->kind());
  const std::optional<DType> type = dtype_of_safetensors(*dtype->string());
  if (!type) {
    Error error = corrupt(source, name, "tensor type is not supported", "F32, F16, BF16, F64, an integer type or BOOL",
                          *dtype->string());
    error.code = ErrorCode::unsupported;
    return error;
  }
  TensorInfo tensor{.name = name, .type = *type, .shape = {}};
  FACET_TRY(tensor.shape, integers(source, name, entry.find("shape"), "shape"));
  const std::optional<int64_t> elements = elements_of(tensor.shape);
  int64_t bytes = 0;
  if (!elements || __builtin_mul_overflow(*elements, static_cast<int64_t>(info(*type).bytes), &bytes))
    return corrupt(source, name, "tensor is too large", {}, list(tensor.shape));
  FACET_TRY(const std::vector<int64_t> offsets, integers(source, name, entry.find("data_offsets"), "data_offsets"));
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    return corrupt(source, name, "data_offsets are not a range", "[begin, end]", list(offsets));
  if (offsets[1] > source.size() - data_start)
    return corrupt(source, name, "tensor reaches beyond the end of the file",
                   cat("at most ", source.size() - data_start), cat(offsets[1]));
  if (offsets[1] - offsets[0] != bytes)
    return corrupt(source, name, "size does not follow from shape and type", cat(bytes, " bytes"),
                   cat(offsets[1] - offsets[0]));
  tensor.bytes = bytes;
  tensor.offset = data_start + offsets[0];
  return tensor;
}

Result<void> check_tiling(const ByteSource& source, const std::vector<TensorInfo>& tensors, int64_t data_start) {
  std::vector<const TensorInfo*> sorted;
  for (const TensorInfo& tensor : tensors) sorted.push_back(&tensor);
  std::ranges::sort(sorted, {}, [](const TensorInfo* tensor) { return std::pair(tensor->offset, tensor->bytes); });
  int64_t next = data_start;
  for (const TensorInfo* tensor : sorted) {
    if (tensor->offset != next)
      return corrupt(source, tensor->name,
                     tensor->offset < next ? "overlaps another tensor" : "leaves a hole before it",
                     cat("offset ", next - data_start), cat(tensor->offset - data_start));
    next = tensor->offset + tensor->bytes;
  }
  if (next != source.size())
    return corrupt(source, {}, "has bytes behind the last tensor", cat(next, " bytes"), cat(source.size()));
  return {};
}

}  // namespace

Result<std::vector<TensorInfo>> read_safetensors(const ByteSource& source) {
  uint64_t length = 0;
  if (source.size() < 8)
    return corrupt(source, {}, "is too short for a safetensors file", "at least 8 bytes", cat(source.size()));
  FACET_TRY_VOID(source.read(0, std::as_writable_bytes(std::span(&length, 1))));
  if (length > std::min(kMaxHeader, static_cast<uint64_t>(source.size() - 8)))
    return corrupt(source, {}, "header is larger than the file or the format allow",
                   cat("at most ", std::min<uint64_t>(kMaxHeader, static_cast<uint64_t>(source.size() - 8))),
                   cat(length));
  const std::string_view text = as_text(source.mapped(8, static_cast<int64_t>(length)));
  if (!text.starts_with('{'))
    return corrupt(source, {}, "is not a safetensors file", "a header that begins with {", "something else");
  FACET_TRY(const Json header, Json::parse(text, source.name(), {.depth = kMaxDepth, .bytes = kMaxHeader}));
  const int64_t data_start = 8 + static_cast<int64_t>(length);
  std::vector<TensorInfo> tensors;
  for (const auto& [name, entry] : *header.object()) {
    if (name == "__metadata__") continue;
    FACET_TRY(TensorInfo tensor, read_entry(source, name, entry, data_start));
    tensors.push_back(std::move(tensor));
  }
  FACET_TRY_VOID(check_tiling(source, tensors, data_start));
  return tensors;
}

Result<ShardIndex> read_shard_index(const Json& index, const std::string& where) {
  const auto bad = [&](std::string what, std::string expected, std::string found) {
    return Error{.code = ErrorCode::corrupt,
                 .what = std::move(what),
                 .where = where,
                 .expected = std::move(expected),
                 .found = std::move(found)};
  };
  const Json* map = index.find("weight_map");
  if (map == nullptr || map->object() == nullptr)
    return bad("has no weight_map", "an object of tensor name to file name", map == nullptr ? "nothing" : map->kind());
  ShardIndex out;
  std::unordered_set<std::string_view> seen;
  for (const auto& [tensor, file] : *map->object()) {
    const std::string* name = file.string();
    if (name == nullptr || name->empty() || name->find('/') != std::string::npos ||
        name->find('\\') != std::string::npos || *name == "." || *name == "..")
      return bad(cat("file of ", tensor, " is not a plain file name"), "a name without folders",
                 name != nullptr ? *name : file.kind());
    if (seen.insert(*name).second) out.files.push_back(*name);
    out.entries.push_back({.tensor = tensor, .file = *name});
  }
  if (out.files.empty()) return bad("weight_map is empty", "at least one tensor", "none");
  return out;
}

}  // namespace facet::formats
