#include "formats/pack_identity.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"
#include "base/version.h"
#include "kernels/panel_layout.h"

namespace facet::formats {
namespace {

constexpr int64_t kSamples = 32;          // of a file, from its beginning to its end
constexpr int64_t kSampleBytes = 4096;    // of each
constexpr int64_t kHeadBytes = 64 << 10;  // of the beginning

Result<void> add_sample(Hash64& hash, const ByteSource& source, int64_t at, int64_t length) {
  length = std::min(length, source.size() - at);
  if (const Bytes mapped = source.mapped(at, length); !mapped.empty()) {
    hash.add(mapped);
    return {};
  }
  std::vector<std::byte> bytes(static_cast<size_t>(length));
  FACET_TRY_VOID(source.read(at, bytes));
  hash.add(bytes);
  return {};
}

Result<std::string> sampled(const ByteSource& source) {
  Hash64 hash;
  FACET_TRY_VOID(add_sample(hash, source, 0, kHeadBytes));
  const int64_t last = std::max<int64_t>(0, source.size() - kSampleBytes);
  for (int64_t i = 1; i <= kSamples; ++i) FACET_TRY_VOID(add_sample(hash, source, last / kSamples * i, kSampleBytes));
  FACET_TRY_VOID(add_sample(hash, source, last, kSampleBytes));
  return hash.text();
}

std::string tensors_of(const Checkpoint& checkpoint, const TypeMap* types) {
  Hash64 hash;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    hash.add(tensor.name);
    for (const int64_t number : {int64_t{tensor.source}, tensor.offset, tensor.bytes}) hash.add(number);
    for (const int64_t dim : tensor.shape) hash.add(dim);
    hash.add(name(tensor.type));
    if (types == nullptr) continue;
    const auto becomes = types->find(tensor.name);
    hash.add(becomes == types->end() ? "" : name(becomes->second));
  }
  return hash.text();
}

}  // namespace

Result<std::optional<std::string>> pack_identity(const Checkpoint& checkpoint, const TypeMap* types) {
  std::string text = cat("facet ", version(), "\npanels ", kernels::kPanelLayout, "\n");
  for (const auto& source : checkpoint.sources()) {
    const std::optional<FileStamp> stamp = source->stamp();
    if (!stamp) return std::optional<std::string>();
    FACET_TRY(const std::string samples, sampled(*source));
    text += cat("file ", stamp->size, " ", stamp->modified, " ", stamp->changed, " ", samples, "\n");
  }
  const bool converts = types != nullptr && !types->empty();
  return std::optional(text + cat("tensors ", tensors_of(checkpoint, converts ? types : nullptr), "\n"));
}

bool is_settled(const Checkpoint& checkpoint) {
  return std::ranges::all_of(checkpoint.sources(), [](const std::shared_ptr<const ByteSource>& source) {
    const std::optional<FileStamp> opened = source->stamp();
    if (!opened || !opened->settled) return false;
    const Result<FileStamp> is = FileStamp::of(source->name());
    return is.ok() && is->same_file(*opened);
  });
}

}  // namespace facet::formats
