#include "engine/packed_weights.h"

#include "base/strings.h"
#include "engine/types_at_load.h"
#include "formats/pack_identity.h"

namespace facet::engine {
namespace {

// What a cache leaves of the disk.
constexpr int64_t kDiskFreeMin = int64_t{2} << 30;

}  // namespace

Result<PackedWeights> PackedWeights::open(const ModelFiles& files, const LoadOptions& options) {
  PackedWeights packed;
  packed.types_ = std::make_unique<formats::TypeMap>();
  FACET_TRY(*packed.types_, types_at_load(files, options.quant, packed.remarks_));
  if (!options.pack_folder.empty() && files.checkpoint) packed.find(files, options);
  return packed;
}

void PackedWeights::find(const ModelFiles& files, const LoadOptions& options) {
  Result<std::optional<std::string>> identity = formats::pack_identity(*files.checkpoint, types_.get());
  if (!identity.ok()) {
    use_.problem = identity.error().message();
    return;
  }
  if (!*identity) return;
  identity_ = **std::move(identity);
  bytes_min_ = options.pack_bytes_min;
  cache_.emplace(options.pack_folder, options.pack_bytes_max, kDiskFreeMin);
  Result<std::shared_ptr<const formats::PackFile>> found = cache_->open(identity_);
  if (found.ok()) {
    file_ = *std::move(found);
    use_.file = file_->path().string();
    reader_ = Background([file = file_](FunctionRef<bool()> goes_on) { file->populate(goes_on); });
  } else if (found.error().code != ErrorCode::not_found) {
    use_.problem = found.error().message();
  }
}

Result<void> PackedWeights::keep(const ModelFiles& files, const formats::WeightStore& store, Progress& progress) {
  const int64_t bytes = store.packed_bytes();
  if (!cache_ || bytes == store.mapped_bytes() || bytes < bytes_min_ || !formats::is_settled(*files.checkpoint))
    return {};
  const Result<void> kept = cache_->keep(identity_, files.path, store.matrices(), &progress);
  if (kept.ok()) {
    use_.file = cache_->path_of(identity_).string();
    use_.written_bytes = bytes;
    return {};
  }
  if (kept.error().code == ErrorCode::cancelled) return kept.error();
  use_.problem = cat(use_.problem, use_.problem.empty() ? "" : "; ", kept.error().message());  // after that of finding
  return {};
}

}  // namespace facet::engine
