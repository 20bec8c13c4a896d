#include "formats/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/strings.h"
#include "formats/append.h"
#include "formats/checkpoint_writer.h"
#include "formats/gguf.h"

namespace facet::formats {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr int64_t kLegacyChunk = 512;  // tokens a call stood for; legacy files do not say

Error corrupt(const std::string& file, std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = file,
          .expected = std::move(expected),
          .found = std::move(found)};
}

Result<void> check_entry(const std::string& file, const std::string& name, const ImportanceMatrix::Entry& entry) {
  const auto usable = [](float value) { return std::isfinite(value) && value >= 0; };
  if (entry.counts.empty() || entry.sums.empty() || entry.sums.size() % entry.counts.size() != 0)
    return corrupt(file, cat("sums and counts of ", name, " do not fit each other"), "a row of sums for each count",
                   cat(entry.sums.size(), " sums, ", entry.counts.size(), " counts"));
  if (!std::ranges::all_of(entry.sums, usable) || !std::ranges::all_of(entry.counts, usable))
    return corrupt(file, cat("importance of ", name, " is no number"), "finite numbers from 0", "another");
  return {};
}

// --- the GGUF form ---

Result<std::vector<float>> floats_of(const ByteSource& source, const TensorInfo& tensor) {
  if (tensor.type != DType::f32)
    return corrupt(source.name(), cat("type of ", tensor.name), name(DType::f32), name(tensor.type));
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  FACET_TRY_VOID(source.read(tensor.offset, std::as_writable_bytes(std::span(values))));
  return values;
}

Result<ImportanceMatrix> read_new(const ByteSource& source) {
  FACET_TRY(const GgufFile file, read_gguf(source));
  FACET_TRY(const std::optional<std::string_view> type, file.metadata.string("general.type"));
  if (type && *type != "imatrix")
    return Error{.code = ErrorCode::unsupported,
                 .what = "is no importance matrix",
                 .where = source.name(),
                 .expected = "general.type imatrix",
                 .found = std::string(*type)};
  ImportanceMatrix out;
  if (const GgufValue* datasets = file.metadata.find("imatrix.datasets"))
    if (const auto names = datasets->strings()) out.datasets.assign(names->begin(), names->end());
  FACET_TRY(const std::optional<int64_t> chunks, file.metadata.integer("imatrix.chunk_count"));
  FACET_TRY(const std::optional<int64_t> size, file.metadata.integer("imatrix.chunk_size"));
  out.chunk_count = chunks.value_or(0);
  out.chunk_size = size.value_or(0);
  for (const TensorInfo& tensor : file.tensors) {
    const std::string_view full = tensor.name;
    const bool sums = full.ends_with(kSums);
    if (!sums && !full.ends_with(kCounts)) continue;
    ImportanceMatrix::Entry& entry =
        out.entries[std::string(full.substr(0, full.size() - (sums ? kSums : kCounts).size()))];
    FACET_TRY((sums ? entry.sums : entry.counts), floats_of(source, tensor));
  }
  if (out.entries.empty())
    return Error{.code = ErrorCode::unsupported,
                 .what = "is no importance matrix",
                 .where = source.name(),
                 .expected = "tensors named ….in_sum2 and ….counts",
                 .found = cat(file.tensors.size(), " other tensors")};
  for (const auto& [name, entry] : out.entries) FACET_TRY_VOID(check_entry(source.name(), name, entry));
  return out;
}

// --- the legacy form: i32 n; n times (i32 length, name, i32 calls, i32 n values, f32 mean square * calls);
//     then, where the file goes on, i32 chunks, i32 length, name of the text ---

class LegacyReader {
 public:
  explicit LegacyReader(const ByteSource& source) : source_(source) {}

  Result<ImportanceMatrix> read() {
    ImportanceMatrix out;
    out.chunk_size = kLegacyChunk;
    FACET_TRY(const int32_t n, count("number of entries", 12));
    if (n == 0) return corrupt(source_.name(), "has no entries", "one at least", "0");
    for (int32_t i = 0; i < n; ++i) FACET_TRY_VOID(read_entry(out));
    if (at_ == source_.size()) return out;
    FACET_TRY(const int32_t chunks, number());
    out.chunk_count = std::max(chunks, 0);
    FACET_TRY(std::string dataset, text("name of the text"));
    if (!dataset.empty()) out.datasets.push_back(std::move(dataset));
    return out;
  }

 private:
  Result<void> read_entry(ImportanceMatrix& out) {
    FACET_TRY(const std::string name, text("name of an entry"));
    FACET_TRY(const int32_t calls, number());
    FACET_TRY(const int32_t n, count(cat("number of values of ", name), sizeof(float)));
    ImportanceMatrix::Entry entry;
    entry.sums.resize(static_cast<size_t>(n));
    FACET_TRY_VOID(read(std::as_writable_bytes(std::span(entry.sums))));
    // As if each call had been a chunk, so that files of both generations can be added up.
    const float rows = static_cast<float>(std::max(calls, 1)) * static_cast<float>(kLegacyChunk);
    for (float& sum : entry.sums) sum *= static_cast<float>(kLegacyChunk);
    entry.counts = {rows};
    FACET_TRY_VOID(check_entry(source_.name(), name, entry));
    if (!out.entries.emplace(name, std::move(entry)).second)
      return corrupt(source_.name(), "entry occurs twice", "different names", name);
    return {};
  }

  Result<void> read(std::span<std::byte> to) {
    FACET_TRY_VOID(source_.read(at_, to));
    at_ += static_cast<int64_t>(to.size());
    return {};
  }
  Result<int32_t> number() {
    int32_t value = 0;
    FACET_TRY_VOID(read(std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  // Of things of at least `bytes` bytes that are still to come.
  Result<int32_t> count(const std::string& what, int64_t bytes) {
    FACET_TRY(const int32_t value, number());
    const int64_t most = (source_.size() - at_) / bytes;
    if (value < 0 || value > most) return corrupt(source_.name(), what, cat("0 to ", most), cat(value));
    return value;
  }
  Result<std::string> text(const std::string& what) {
    FACET_TRY(const int32_t length, count(cat("length of the ", what), 1));
    std::string out(static_cast<size_t>(length), '\0');
    FACET_TRY_VOID(read(std::as_writable_bytes(std::span(out))));
    return out;
  }

  const ByteSource& source_;
  int64_t at_ = 0;
};

}  // namespace

Result<ImportanceMatrix> ImportanceMatrix::read(const ByteSource& source) {
  char magic[4] = {};
  if (source.size() >= 4) FACET_TRY_VOID(source.read(0, std::as_writable_bytes(std::span(magic))));
  if (std::memcmp(magic, "GGUF", 4) == 0) return read_new(source);
  return LegacyReader(source).read();
}

Result<ImportanceMatrix> ImportanceMatrix::read(const std::filesystem::path& path) {
  FACET_TRY(const std::shared_ptr<const ByteSource> source, open_mapped(path));
  return read(*source);
}

namespace {

Result<void> write_new(const ImportanceMatrix& matrix, const std::filesystem::path& path) {
  GgufPairs pairs;
  const std::vector<std::string_view> datasets(matrix.datasets.begin(), matrix.datasets.end());
  pairs.set("general.type", "imatrix");
  pairs.set("imatrix.datasets", datasets);
  pairs.set("imatrix.chunk_count", static_cast<uint32_t>(matrix.chunk_count));
  pairs.set("imatrix.chunk_size", static_cast<uint32_t>(matrix.chunk_size));
  std::vector<NewTensor> tensors;
  for (const auto& [name, entry] : matrix.entries) {
    const int64_t groups = static_cast<int64_t>(entry.counts.size());
    tensors.push_back({cat(name, kSums), DType::f32, {groups, static_cast<int64_t>(entry.sums.size()) / groups}});
    tensors.push_back({cat(name, kCounts), DType::f32, {groups, 1}});
  }
  FACET_TRY(const std::unique_ptr<CheckpointWriter> writer, new_gguf(path, pairs, tensors));
  for (const auto& [name, entry] : matrix.entries) {
    FACET_TRY_VOID(writer->write(std::as_bytes(std::span(entry.sums))));
    FACET_TRY_VOID(writer->write(std::as_bytes(std::span(entry.counts))));
  }
  return writer->finish();
}

// The older form counts in 32 bits.
void append_count(std::vector<std::byte>& out, int64_t number) { append_number(out, static_cast<int32_t>(number)); }
void append_counted(std::vector<std::byte>& out, std::string_view text) {
  append_count(out, static_cast<int64_t>(text.size()));
  append(out, as_bytes(text));
}

// Mean squares times the number of calls, one number of calls an entry; experts that nothing reached count evenly.
Result<void> write_legacy(const ImportanceMatrix& matrix, const std::filesystem::path& path) {
  std::vector<std::byte> out;
  append_count(out, static_cast<int64_t>(matrix.entries.size()));
  const int64_t chunk = std::max<int64_t>(1, matrix.chunk_size);
  for (const auto& [name, entry] : matrix.entries) {
    const float most = *std::ranges::max_element(entry.counts);
    const int64_t calls = std::max<int64_t>(1, (static_cast<int64_t>(most) + chunk - 1) / chunk);
    append_counted(out, name);
    append_count(out, calls);
    append_count(out, static_cast<int64_t>(entry.sums.size()));
    const size_t cols = entry.sums.size() / entry.counts.size();
    for (size_t i = 0; i < entry.sums.size(); ++i) {
      const float count = entry.counts[i / cols];
      append_number(out, (count > 0 ? entry.sums[i] / count : 1) * static_cast<float>(calls));
    }
  }
  append_count(out, matrix.chunk_count);
  append_counted(out, matrix.datasets.empty() ? std::string() : matrix.datasets.back());
  return write_file_atomic(path, out);
}

}  // namespace

Result<void> ImportanceMatrix::write(const std::filesystem::path& path, Format format) const {
  return format == Format::gguf ? write_new(*this, path) : write_legacy(*this, path);
}

Result<void> ImportanceMatrix::add(const ImportanceMatrix& other) {
  for (const auto& [name, entry] : other.entries) {
    Entry& sum = entries[name];
    if (sum.sums.empty()) {
      sum = entry;
      continue;
    }
    if (sum.sums.size() != entry.sums.size())
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "importance matrices are of different models",
                   .where = name,
                   .expected = cat(sum.sums.size(), " values"),
                   .found = cat(entry.sums.size())};
    // One count for all experts stands for each of them.
    const size_t groups = std::max(sum.counts.size(), entry.counts.size());
    if (sum.counts.size() == 1) sum.counts.resize(groups, sum.counts.front());
    for (size_t g = 0; g < groups; ++g) sum.counts[g] += entry.counts[entry.counts.size() == 1 ? 0 : g];
    for (size_t i = 0; i < sum.sums.size(); ++i) sum.sums[i] += entry.sums[i];
  }
  datasets.insert(datasets.end(), other.datasets.begin(), other.datasets.end());
  chunk_count += other.chunk_count;
  if (chunk_size == 0) chunk_size = other.chunk_size;
  return {};
}

Result<std::optional<std::vector<float>>> ImportanceMatrix::importance(const TensorInfo& tensor) const {
  const auto found = entries.find(tensor.name);
  if (found == entries.end()) return std::optional<std::vector<float>>();
  const Entry& entry = found->second;
  const int64_t cols = tensor.shape.back(), groups = tensor.shape.size() == 3 ? tensor.shape.front() : 1;
  if (static_cast<int64_t>(entry.sums.size()) != groups * cols ||
      (entry.counts.size() != 1 && static_cast<int64_t>(entry.counts.size()) != groups))
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "importance matrix belongs to another model",
                 .where = tensor.name,
                 .expected = cat(groups * cols, " values"),
                 .found = cat(entry.sums.size())};
  std::vector<float> out(entry.sums.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const float count = entry.counts[entry.counts.size() == 1 ? 0 : i / static_cast<size_t>(cols)];
    out[i] = count > 0 ? entry.sums[i] / count : 1;
  }
  return std::optional(std::move(out));
}

}  // namespace facet::formats
