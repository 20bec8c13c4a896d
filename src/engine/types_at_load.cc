#include "engine/types_at_load.h"

#include "base/strings.h"
#include "convert/quantize.h"
#include "model/tensor_names.h"

namespace facet::engine {
namespace {

using formats::TensorInfo;
namespace names = model::tensors;

constexpr model::TensorName kOutside[] = {names::kTokens, names::kPleTokens, names::kPleContext, names::kHead};
constexpr model::TensorName kInLayers[] = {names::kQuery,           names::kKey,     names::kValue,
                                           names::kAttentionOutput, names::kFfnGate, names::kFfnUp,
                                           names::kFfnDown,         names::kRouter,  names::kExpertsGateUp,
                                           names::kExpertsDown,     names::kPleGate, names::kPleProjection};

// Tensors under their GGUF names, and which tensors of the file each stands for.
struct Renamed {
  std::vector<TensorInfo> tensors;
  std::vector<std::vector<std::string>> in_file;

  void add(TensorInfo tensor, std::string gguf_name, std::vector<std::string> file_names) {
    tensor.name = std::move(gguf_name);
    tensors.push_back(std::move(tensor));
    in_file.push_back(std::move(file_names));
  }
};

// One tensor for each expert in the file is one for all of them in a GGUF file.
void add_unfused(Renamed& out, const formats::Checkpoint& checkpoint, const model::TensorNames& spelling, int layer,
                 const model::TensorName& fused, std::initializer_list<const char*> parts, int64_t experts) {
  std::vector<std::string> file_names;
  TensorInfo whole;
  for (int64_t expert = 0; expert < experts; ++expert) {
    int64_t rows = 0;
    for (const char* part : parts) {
      const std::string pattern = cat("layers.#.experts.", expert, ".", part, "_proj.weight");
      const std::string full = spelling.full({.gguf = "", .hf = pattern.c_str()}, layer);
      const TensorInfo* tensor = checkpoint.find(full);
      if (tensor == nullptr || tensor->shape.size() != 2) return;
      file_names.push_back(full);
      rows += tensor->shape[0];
      whole = *tensor;
    }
    whole.shape = {experts, rows, whole.shape.back()};
  }
  out.add(whole, model::gguf_name(fused.gguf, layer), std::move(file_names));
}

Result<Renamed> renamed(const ModelFiles& files) {
  const formats::Checkpoint& checkpoint = *files.checkpoint;
  Renamed out;
  if (checkpoint.container() == formats::Container::gguf) {
    for (const TensorInfo& tensor : checkpoint.tensors()) out.add(tensor, tensor.name, {tensor.name});
    return out;
  }
  FACET_TRY(const model::TensorNames spelling, model::TensorNames::of(checkpoint));
  const auto add = [&](const model::TensorName& name, int layer) {
    const std::string full = spelling.full(name, layer);
    if (const TensorInfo* tensor = checkpoint.find(full)) out.add(*tensor, model::gguf_name(name.gguf, layer), {full});
  };
  for (const model::TensorName& name : kOutside) {
    if (name.hf != names::kHead.hf || !files.config.tied_head) add(name, -1);
  }
  for (int layer = 0; layer < files.config.n_layers(); ++layer) {
    for (const model::TensorName& name : kInLayers) add(name, layer);
    const int64_t experts = files.config.experts;
    if (experts == 0 || checkpoint.find(spelling.full(names::kExpertsGateUp, layer)) != nullptr) continue;
    add_unfused(out, checkpoint, spelling, layer, names::kExpertsGateUp, {"gate", "up"}, experts);
    add_unfused(out, checkpoint, spelling, layer, names::kExpertsDown, {"down"}, experts);
  }
  return out;
}

}  // namespace

Result<formats::TypeMap> types_at_load(const ModelFiles& files, const std::string& quant,
                                       std::vector<std::string>& remarks) {
  formats::TypeMap types;
  if (quant.empty() || !files.checkpoint) return types;
  convert::QuantizeOptions options{.allow_requantize = true};
  FACET_TRY(options.recipe.file, convert::file_type_named(quant));
  FACET_TRY(const Renamed all, renamed(files));
  FACET_TRY(const std::vector<convert::ChosenType> chosen, convert::plan_types(all.tensors, files.config, options));
  int64_t kept = 0, twice = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const TensorInfo& tensor = all.tensors[i];
    const int64_t cols = tensor.shape.back();
    if (chosen[i].type == tensor.type) continue;
    if (is_block_type(tensor.type)) {
      if (row_bytes(chosen[i].type, cols) >= row_bytes(tensor.type, cols)) {
        ++kept;
        continue;
      }
      ++twice;
    }
    for (const std::string& name : all.in_file[i]) types[name] = chosen[i].type;
  }
  if (kept > 0) remarks.push_back(cat(kept, " tensors are as small already and keep their type"));
  if (twice > 0) remarks.push_back(cat(twice, " tensors are quantised a second time, which loses more than once"));
  return types;
}

}  // namespace facet::engine
