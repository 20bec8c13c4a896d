#include "convert/quantize.h"

#include <algorithm>

#include "base/strings.h"
#include "formats/requantize.h"

namespace facet::convert {
namespace {

using formats::NewTensor;
using formats::TensorInfo;

Error bad(const TensorInfo& tensor, ErrorCode code, std::string what, std::string expected, std::string found) {
  return {.code = code,
          .what = std::move(what),
          .where = tensor.name,
          .expected = std::move(expected),
          .found = std::move(found)};
}

RecipeShape shape_of(const model::Config& config) {
  RecipeShape shape{.layers = config.n_layers(), .query_heads_per_kv_head = 1, .experts = config.experts};
  if (!config.layers.empty()) shape.query_heads_per_kv_head = config.heads / config.layers.front().kv_heads;
  return shape;
}

Result<void> check_tensor(const TensorInfo& tensor, const ChosenType& chosen, const QuantizeOptions& options) {
  if (tensor.type == chosen.type) return {};
  if (!formats::can_requantize(kernels::best_table(), tensor.type, chosen.type))
    return bad(tensor, ErrorCode::unsupported, "tensor cannot be converted", "types that facet reads and writes",
               cat(name(tensor.type), " to ", name(chosen.type)));
  if (is_block_type(tensor.type) && !options.allow_requantize)
    return bad(tensor, ErrorCode::invalid_argument,
               "tensor is quantised already, and quantising again loses more (--allow-requantize does it all the same)",
               "F32, F16 or BF16", name(tensor.type));
  if (chosen.needs_importance && options.importance == nullptr)
    return bad(tensor, ErrorCode::invalid_argument, "this file type needs an importance matrix (--imatrix)",
               "importance", "none");
  return {};
}

Result<model::Config> config_of(const formats::Checkpoint& in) {
  Result<model::Config> decoder = model::read_config(in);
  if (decoder.ok()) return decoder;
  Result<model::Config> drafter = model::read_drafter_config(in);
  return drafter.ok() ? std::move(drafter) : std::move(decoder);
}

formats::GgufPairs pairs_of(const formats::Checkpoint& in, const QuantizeOptions& options) {
  formats::GgufPairs pairs;
  pairs.copy(in.metadata());
  pairs.set("general.quantization_version", uint32_t{2});
  pairs.set("general.file_type", static_cast<uint32_t>(options.recipe.file));
  if (options.importance == nullptr) return pairs;
  pairs.set("quantize.imatrix.file", options.importance_file);
  if (!options.importance->datasets.empty())
    pairs.set("quantize.imatrix.dataset", options.importance->datasets.front());
  pairs.set("quantize.imatrix.entries_count", static_cast<int32_t>(options.importance->entries.size()));
  pairs.set("quantize.imatrix.chunks_count", static_cast<int32_t>(options.importance->chunk_count));
  return pairs;
}

// Writes one tensor after the other, and counts.
class Writing {
 public:
  Writing(const formats::Checkpoint& in, const QuantizeOptions& options, ThreadPool& pool, QuantizeReport& report)
      : in_(in), options_(options), pool_(pool), report_(report) {}

  Result<void> write(const TensorInfo& tensor, const ChosenType& chosen, formats::CheckpointWriter& out) {
    if (chosen.fell_back) ++fallbacks_[{tensor.shape.back(), name(chosen.type)}];
    if (tensor.type == chosen.type) return copy(tensor, out);
    FACET_TRY(std::vector<float> importance, importance_of(tensor, chosen));
    const formats::Requantizer requantizer(kernels::best_table(), in_, tensor, chosen.type, std::move(importance));
    if (requantizer.keeps_trained_grid()) ++trained_;
    return formats::for_slabs(requantizer, pool_, [&](Bytes slab) -> Result<void> {
      FACET_TRY_VOID(out.write(slab));
      return tell(static_cast<int64_t>(slab.size()) / requantizer.row_bytes() *
                  row_bytes(tensor.type, tensor.shape.back()));
    });
  }

  void finish() {
    for (const auto& [key, count] : fallbacks_)
      report_.remarks.push_back(cat(count, count == 1 ? " tensor" : " tensors", " of ", key.first,
                                    " columns, no multiple of 256: ", key.second, " instead"));
    if (trained_ > 0) report_.remarks.push_back(cat(trained_, " tensors were trained on the grid of Q4_0 and keep it"));
    if (unobserved_ > 0)
      report_.remarks.push_back(cat(unobserved_, " tensors are not in the importance matrix: ", first_unobserved_,
                                    unobserved_ > 1 ? " and others" : ""));
  }

 private:
  Result<std::vector<float>> importance_of(const TensorInfo& tensor, const ChosenType& chosen) {
    const kernels::QuantizeType* type = kernels::best_table().quantizer(chosen.type);
    if (options_.importance == nullptr || !type->reads_importance) return std::vector<float>();
    FACET_TRY(std::optional<std::vector<float>> found, options_.importance->importance(tensor));
    if (found) return *std::move(found);
    const bool table = tensor.name == "token_embd.weight" || tensor.name == "per_layer_token_embd.weight" ||
                       tensor.name == "output.weight";  // never observed
    if (!table && unobserved_++ == 0) first_unobserved_ = tensor.name;
    return std::vector<float>();
  }

  Result<void> copy(const TensorInfo& tensor, formats::CheckpointWriter& out) {
    constexpr int64_t kPiece = int64_t{8} << 20;
    for (int64_t at = 0; at < tensor.bytes; at += kPiece) {
      TensorInfo part = tensor;
      part.offset += at;
      part.bytes = std::min(kPiece, tensor.bytes - at);
      FACET_TRY_VOID(out.write(in_.bytes(part)));
      in_.release(part);
      FACET_TRY_VOID(tell(part.bytes));
    }
    return {};
  }

  Result<void> tell(int64_t more) {
    done_ += more;
    if (options_.progress == nullptr || options_.progress->update("quantising", done_, report_.bytes_before)) return {};
    return Error{.code = ErrorCode::cancelled, .what = "quantising was stopped", .where = in_.path().string()};
  }

  const formats::Checkpoint& in_;
  const QuantizeOptions& options_;
  ThreadPool& pool_;
  QuantizeReport& report_;
  int64_t done_ = 0, trained_ = 0, unobserved_ = 0;
  std::string first_unobserved_;
  std::map<std::pair<int64_t, std::string>, int64_t> fallbacks_;  // by columns and type
};

}  // namespace

Result<std::vector<ChosenType>> plan_types(std::span<const TensorInfo> tensors, const model::Config& config,
                                           const QuantizeOptions& options) {
  RecipeOptions recipe = options.recipe;
  recipe.has_importance = options.importance != nullptr;
  FACET_TRY(std::vector<ChosenType> types, choose_types(tensors, shape_of(config), recipe));
  for (size_t i = 0; i < tensors.size(); ++i) FACET_TRY_VOID(check_tensor(tensors[i], types[i], options));
  return types;
}

Result<QuantizeReport> quantize(const formats::Checkpoint& in, const std::filesystem::path& out,
                                const QuantizeOptions& options, ThreadPool& pool) {
  if (in.container() != formats::Container::gguf)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "only GGUF files are quantised; convert the folder first (facet convert)",
                 .where = in.path().string()};
  FACET_TRY(const model::Config config, config_of(in));
  FACET_TRY(const std::vector<ChosenType> types, plan_types(in.tensors(), config, options));

  QuantizeReport report;
  std::vector<NewTensor> tensors;
  for (size_t i = 0; i < types.size(); ++i) {
    const TensorInfo& tensor = in.tensors()[i];
    tensors.push_back({tensor.name, types[i].type, tensor.shape});
    QuantizeReport::Share& share = report.types[name(types[i].type)];
    ++share.tensors;
    share.bytes += tensors.back().bytes();
    report.bytes_before += tensor.bytes;
    report.bytes_after += tensors.back().bytes();
  }
  if (options.dry_run) return report;
  FACET_TRY(const std::unique_ptr<formats::CheckpointWriter> writer,
            formats::new_gguf(out, pairs_of(in, options), tensors, options.split));
  report.files = writer->paths();
  FACET_TRY_VOID(check_absent(report.files, options.overwrite));
  Writing writing(in, options, pool, report);
  for (size_t i = 0; i < types.size(); ++i) FACET_TRY_VOID(writing.write(in.tensors()[i], types[i], *writer));
  FACET_TRY_VOID(writer->finish());
  writing.finish();
  return report;
}

}  // namespace facet::convert
