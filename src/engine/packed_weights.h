// PackedWeights: the packed weights of one model in the cache of packs: found there before it loads, kept there after.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/background.h"
#include "engine/model_files.h"
#include "facet/engine.h"
#include "formats/pack_cache.h"
#include "formats/weight_store.h"

namespace facet::engine {

class PackedWeights {
 public:
  // What tensors become (options.quant), and the pack of that, if the cache that the options name has one. Its pages
  // are read and mapped from now on, by a thread of its own: until that is done or the object is gone. A cache that
  // cannot be used is no error, but told in use(). Errors: those of types_at_load.
  static Result<PackedWeights> open(const ModelFiles& files, const LoadOptions& options);

  const formats::TypeMap& types() const { return *types_; }
  const std::vector<std::string>& remarks() const { return remarks_; }  // of quantising
  const std::shared_ptr<const formats::PackFile>& file() const { return file_; }

  // Keeps what had to be packed. Errors: cancelled; whatever else goes wrong is told in use().
  Result<void> keep(const ModelFiles& files, const formats::WeightStore& store, Progress& progress);

  const PackUse& use() const { return use_; }

 private:
  void find(const ModelFiles& files, const LoadOptions& options);

  std::unique_ptr<formats::TypeMap> types_;  // stays where it is: stores refer to it
  std::vector<std::string> remarks_;
  std::optional<formats::PackCache> cache_;
  std::string identity_;
  int64_t bytes_min_ = 0;
  std::shared_ptr<const formats::PackFile> file_;
  PackUse use_;
  Background reader_;
};

}  // namespace facet::engine
