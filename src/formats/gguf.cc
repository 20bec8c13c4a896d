#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_set>

#include "base/strings.h"
#include "base/utf8.h"

namespace facet::formats {
namespace {

constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxString = uint64_t{1} << 30, kMaxCount = uint64_t{1} << 30;
// Far above what models have (some 50 pairs; 12,000 tensors where every expert has its own), and low enough that names
// made to collide in a hash table, whose function is public, cost seconds at most.
constexpr uint64_t kMaxPairs = uint64_t{1} << 13, kMaxTensors = uint64_t{1} << 16;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr size_t kMinPairBytes = 13,
                 kMinTensorBytes = 24;  // an empty key with a one-byte value; a scalar without a name
constexpr size_t kMaxTensorName = 63;
constexpr int64_t kMaxParts = 99'999;  // five digits in the name

size_t bytes_of(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean: return 1;
    case GgufType::u16:
    case GgufType::i16: return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32: return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64: return 8;
    default: return 0;
  }
}

// Reads forward through the bytes; every step checks what is left first.
class Reader {
 public:
  Reader(const ByteSource& source, Bytes bytes) : source_(source), bytes_(bytes) {}

  uint64_t position() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }

  Error error(std::string what, std::string expected = {}, std::string found = {}, std::string_view item = {}) const {
    std::string where = cat(source_.name(), ", byte ", at_);
    if (!item.empty()) where = cat(source_.name(), ": ", excerpt(item));
    return {.code = ErrorCode::corrupt,
            .what = std::move(what),
            .where = std::move(where),
            .expected = std::move(expected),
            .found = std::move(found)};
  }

  Result<Bytes> take(uint64_t n, std::string_view what) {
    if (n > remaining()) return error(cat("file ends inside ", what), cat(n, " bytes"), cat(remaining(), " bytes"));
    const Bytes part = bytes_.subspan(at_, n);
    at_ += n;
    return part;
  }

  template <class T>
  Result<T> number(std::string_view what) {
    FACET_TRY(const Bytes bytes, take(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  Result<std::string_view> string(std::string_view what) {
    FACET_TRY(const uint64_t length, number<uint64_t>(what));
    const uint64_t most = std::min(remaining(), kMaxString);
    if (length > most)
      return error(cat("length of ", what, " is larger than the rest of the file, or than a limit"),
                   cat("at most ", most), cat(length));
    FACET_TRY(const Bytes bytes, take(length, what));
    return as_text(bytes);
  }

  Result<GgufType> type(std::string_view key) {
    FACET_TRY(const uint32_t id, number<uint32_t>("a value type"));
    if (id > static_cast<uint32_t>(GgufType::f64))
      return error("value type is not known", "0 to 12", cat(static_cast<int32_t>(id)), key);
    return static_cast<GgufType>(id);
  }

 private:
  const ByteSource& source_;
  Bytes bytes_;
  uint64_t at_ = 0;
};

Result<GgufValue> read_array(Reader& reader, std::string_view key) {
  FACET_TRY(const GgufType element, reader.type(key));
  FACET_TRY(const uint64_t count, reader.number<uint64_t>("an array's length"));
  if (element == GgufType::array) return reader.error("arrays of arrays are not allowed", {}, {}, key);
  const uint64_t least = element == GgufType::string ? 8 : bytes_of(element);
  const uint64_t most = std::min(reader.remaining() / least, kMaxCount);
  if (count > most)
    return reader.error("array is longer than the rest of the file, or than a limit",
                        cat("at most ", most, " elements"), cat(count), key);
  GgufValue value{.type = GgufType::array, .element = element, .count = count, .bytes = {}};
  if (element != GgufType::string) {
    FACET_TRY(value.bytes, reader.take(count * bytes_of(element), "an array"));
    return value;
  }
  Reader ahead = reader;  // walk the strings once, then take them all as one piece
  const uint64_t begin = ahead.position();
  for (uint64_t i = 0; i < count; ++i) FACET_TRY_VOID(ahead.string("a string of an array"));
  FACET_TRY(value.bytes, reader.take(ahead.position() - begin, "an array"));
  return value;
}

Result<GgufValue> read_value(Reader& reader, std::string_view key) {
  FACET_TRY(const GgufType type, reader.type(key));
  if (type == GgufType::array) return read_array(reader, key);
  GgufValue value{.type = type, .element = type, .count = 1, .bytes = {}};
  if (type == GgufType::string) {
    FACET_TRY(const std::string_view text, reader.string("a value"));
    value.bytes = as_bytes(text);
  } else {
    FACET_TRY(value.bytes, reader.take(bytes_of(type), "a value"));
  }
  return value;
}

Result<uint64_t> read_header(Reader& reader, GgufFile& file, uint64_t& n_tensors) {
  FACET_TRY(const uint32_t magic, reader.number<uint32_t>("the header"));
  if (magic != kGgufMagic)
    return reader.error("is not a GGUF file", "the bytes \"GGUF\" at the start", "something else");
  FACET_TRY(file.version, reader.number<uint32_t>("the header"));
  const auto unsupported = [&](std::string what, std::string found) {
    Error error = reader.error(std::move(what), "GGUF version 2 or 3, little-endian", std::move(found));
    error.code = ErrorCode::unsupported;
    return error;
  };
  if ((file.version & 0xFFFF) == 0 && file.version != 0)
    return unsupported("byte order of the file does not match this machine",
                       cat("version ", std::byteswap(file.version), " in big-endian order"));
  if (file.version != 2 && file.version != 3)
    return unsupported("GGUF version is not supported", cat("version ", file.version));
  FACET_TRY(n_tensors, reader.number<uint64_t>("the header"));
  FACET_TRY(const uint64_t n_pairs, reader.number<uint64_t>("the header"));
  const uint64_t most_pairs = std::min(kMaxPairs, reader.remaining() / kMinPairBytes);
  if (n_pairs > most_pairs)
    return reader.error("claims more metadata than the file can hold, or than a limit", cat("at most ", most_pairs),
                        cat(static_cast<int64_t>(n_pairs)));
  const uint64_t most_tensors = std::min(kMaxTensors, reader.remaining() / kMinTensorBytes);
  if (n_tensors > most_tensors)
    return reader.error("claims more tensors than the file can hold, or than a limit", cat("at most ", most_tensors),
                        cat(static_cast<int64_t>(n_tensors)));
  return n_pairs;
}

Result<uint64_t> alignment_of(const Reader& reader, const GgufMetadata& metadata) {
  const GgufValue* value = metadata.find("general.alignment");
  if (value == nullptr) return uint64_t{32};
  const int64_t alignment = value->integer().value_or(0);
  if (value->type != GgufType::u32 || alignment < 1 || static_cast<uint64_t>(alignment) > kMaxAlignment ||
      !std::has_single_bit(static_cast<uint64_t>(alignment)))
    return reader.error("alignment is not usable", cat("a power of two up to ", kMaxAlignment, ", as u32"),
                        cat(alignment, " as ", name(value->type)), "general.alignment");
  return static_cast<uint64_t>(alignment);
}

Result<DType> tensor_type(const Reader& reader, int32_t id, std::string_view tensor) {
  if (const std::optional<DType> type = dtype_of_ggml(id)) return *type;
  Error error =
      reader.error("tensor type is not supported", "a type that facet reads", cat("type number ", id), tensor);
  error.code = ErrorCode::unsupported;
  if (id == 4 || id == 5)
    error.found += id == 4 ? " (Q4_2, removed from the format)" : " (Q4_3, removed from the format)";
  if ((id >= 31 && id <= 33) || (id >= 36 && id <= 38))
    error.found += " (a repacked Q4_0 or IQ4_NL, removed from the format: requantise the file)";
  if (id == 9) error.found += " (Q8_1, not a type for files)";
  if (id == 15) error.found += " (Q8_K, not a type for files)";
  return error;
}

// The record of one tensor. `offset` is still relative to the data section.
Result<TensorInfo> read_tensor(Reader& reader, uint64_t alignment) {
  FACET_TRY(const std::string_view name, reader.string("a tensor name"));
  if (name.size() > kMaxTensorName)
    return reader.error("tensor name is too long", cat("at most ", kMaxTensorName, " bytes"), cat(name.size()));
  FACET_TRY(const uint32_t n_dims, reader.number<uint32_t>("a tensor record"));
  if (n_dims > 4) return reader.error("tensor has too many dimensions", "at most 4", cat(n_dims), name);
  TensorInfo tensor;
  tensor.name = name;
  for (uint32_t i = 0; i < n_dims; ++i) {
    FACET_TRY(const int64_t dim, reader.number<int64_t>("a tensor record"));
    if (dim < 0) return reader.error("tensor has a negative dimension", {}, cat(dim), name);
    tensor.shape.insert(tensor.shape.begin(), dim);
  }
  const std::optional<int64_t> elements = elements_of(tensor.shape);
  if (!elements)
    return reader.error("tensor is too large", "less than 2^63 elements", cat("dimensions ", list(tensor.shape)), name);
  FACET_TRY(const int32_t id, reader.number<int32_t>("a tensor record"));
  FACET_TRY(tensor.type, tensor_type(reader, id, name));
  FACET_TRY(const uint64_t offset, reader.number<uint64_t>("a tensor record"));
  const DTypeInfo& type = info(tensor.type);
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % type.block != 0)
    return reader.error("row of a tensor is not a whole number of blocks",
                        cat("a multiple of ", type.block, " for ", type.name), cat(row), name);
  if (__builtin_mul_overflow(*elements / type.block, static_cast<int64_t>(type.bytes), &tensor.bytes))
    return reader.error("tensor is too large", {}, "more than 2^63 bytes", name);
  if (offset % alignment != 0 || offset > static_cast<uint64_t>(INT64_MAX))
    return reader.error("tensor is not aligned", cat("a multiple of ", alignment), cat(offset), name);
  tensor.offset = static_cast<int64_t>(offset);
  return tensor;
}

// Places tensors in the file and checks that they lie inside it without overlapping.
Result<void> place_tensors(const Reader& reader, GgufFile& file, int64_t data_start, int64_t file_size,
                           uint64_t alignment) {
  std::vector<const TensorInfo*> by_offset;
  bool usual = true;
  int64_t next = 0;
  for (TensorInfo& tensor : file.tensors) {
    if (data_start > file_size || tensor.offset > file_size - data_start ||
        tensor.bytes > file_size - data_start - tensor.offset) {
      return reader.error("tensor reaches beyond the end of the file",
                          cat("at most ", std::max<int64_t>(0, file_size - data_start), " bytes of data"),
                          cat(tensor.bytes, " bytes at ", tensor.offset), tensor.name);
    }
    usual = usual && tensor.offset == next;
    next = tensor.offset + (tensor.bytes + static_cast<int64_t>(alignment) - 1) / static_cast<int64_t>(alignment) *
                               static_cast<int64_t>(alignment);
    tensor.offset += data_start;
    by_offset.push_back(&tensor);
  }
  std::ranges::sort(by_offset, {}, [](const TensorInfo* tensor) { return std::pair(tensor->offset, tensor->bytes); });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const TensorInfo &before = *by_offset[i - 1], &after = *by_offset[i];
    if (before.offset + before.bytes > after.offset)
      return reader.error(cat("overlaps tensor ", before.name), {}, {}, after.name);
  }
  if (!usual) file.remarks.push_back("tensors are not laid out one after the other, as the usual writers do it");
  return {};
}

}  // namespace

Result<GgufFile> read_gguf(const ByteSource& source) {
  GgufFile file;
  file.metadata = GgufMetadata(source.name());
  Reader reader(source, source.mapped(0, source.size()));
  uint64_t n_tensors = 0;
  FACET_TRY(const uint64_t n_pairs, read_header(reader, file, n_tensors));
  for (uint64_t i = 0; i < n_pairs; ++i) {
    FACET_TRY(const std::string_view key, reader.string("a metadata key"));
    if (key.empty()) return reader.error("metadata key is empty");
    if (file.metadata.find(key) != nullptr) return reader.error("metadata key appears twice", {}, {}, key);
    FACET_TRY(const GgufValue value, read_value(reader, key));
    file.metadata.add(key, value);
  }
  FACET_TRY(const uint64_t alignment, alignment_of(reader, file.metadata));
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < n_tensors; ++i) {
    FACET_TRY(TensorInfo tensor, read_tensor(reader, alignment));
    if (!names.insert(tensor.name).second) return reader.error("tensor name appears twice", {}, {}, tensor.name);
    file.tensors.push_back(std::move(tensor));
  }
  const uint64_t data_start = (reader.position() + alignment - 1) / alignment * alignment;
  FACET_TRY_VOID(place_tensors(reader, file, static_cast<int64_t>(data_start), source.size(), alignment));
  return file;
}

Result<std::vector<std::filesystem::path>> gguf_parts(const std::filesystem::path& path, const GgufMetadata& metadata) {
  FACET_TRY(const std::optional<int64_t> count, metadata.integer("split.count"));
  if (!count || *count <= 1) return std::vector{path};
  FACET_TRY(const std::optional<int64_t> stored, metadata.integer("split.no"));
  const int64_t number = stored.value_or(0);
  if (*count > kMaxParts || number < 0 || number >= *count)
    return Error{.code = ErrorCode::corrupt,
                 .what = "numbers of a split file make no sense",
                 .where = path.string(),
                 .expected = cat("split.no below split.count, at most ", kMaxParts, " parts"),
                 .found = cat("part ", number, " of ", *count)};
  const std::string name = path.filename().string();
  const auto digits = [](int64_t value) {
    std::string text = cat(value);
    return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
  };
  const std::string suffix = cat("-", digits(number + 1), "-of-", digits(*count), ".gguf");
  if (!name.ends_with(suffix)) {
    return Error{.code = ErrorCode::corrupt,
                 .what = "part of a split file has another name than its metadata say",
                 .where = path.string(),
                 .expected = cat("a name ending in ", suffix),
                 .found = name};
  }
  const std::string prefix = name.substr(0, name.size() - suffix.size());
  std::vector<std::filesystem::path> parts;
  for (int64_t i = 1; i <= *count; ++i)
    parts.push_back(path.parent_path() / cat(prefix, "-", digits(i), "-of-", digits(*count), ".gguf"));
  if (number != 0) {
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "is a later part of a split file; open the first one",
                 .where = path.string(),
                 .expected = parts.front().filename().string(),
                 .found = name};
  }
  return parts;
}

}  // namespace facet::formats
