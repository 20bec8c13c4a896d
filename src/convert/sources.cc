#include "convert/sources.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "base/utf8.h"

namespace facet::convert {
namespace {

using formats::TensorInfo;
namespace names = model::tensors;

bool is_integer(DType type) { return type == DType::i32 || type == DType::i64; }

// "model.vision_tower.layers.0.norm.weight": "model.vision_tower".
std::string group_of(const std::string& name) {
  const size_t first = name.find('.');
  const size_t end = name.starts_with("model.") && first != name.npos ? name.find('.', first + 1) : first;
  return name.substr(0, end);
}

}  // namespace

Result<Sources> Sources::of(const formats::Checkpoint& checkpoint, const model::Config& config) {
  Sources sources(checkpoint, config);
  if (sources.is_gguf()) {
    sources.used_.insert(names::kRopeFactors.gguf);
    return sources;
  }
  FACET_TRY(sources.spelling_, model::TensorNames::of(checkpoint));
  sources.prefix_ = sources.spelling_->full({.gguf = "", .hf = ""});
  return sources;
}

std::string Sources::name_of(const NamedTensor& tensor) const {
  if (!is_gguf()) return (tensor.prefixed ? prefix_ : "") + tensor.hf;
  const bool dialect = checkpoint_.find(tensor.gguf) == nullptr && !tensor.gguf_dialect.empty() &&
                       checkpoint_.find(tensor.gguf_dialect) != nullptr;
  return dialect ? tensor.gguf_dialect : tensor.gguf;
}

Error Sources::wrong(std::string what, const std::string& tensor, std::string expected, std::string found) const {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = cat(checkpoint_.path(), ": ", excerpt(tensor)),
          .expected = std::move(expected),
          .found = std::move(found)};
}

Result<Slice> Sources::take(const std::string& name, const std::vector<int64_t>& shape, Role role) {
  const TensorInfo* tensor = checkpoint_.find(name);
  if (tensor == nullptr) return wrong("tensor is missing", name, list(shape), "no tensor of this name");
  if (tensor->shape != shape) return wrong("tensor has the wrong shape", name, list(shape), list(tensor->shape));
  const bool usable = role == Role::token_order ? is_integer(tensor->type) : can_convert(tensor->type, DType::f32);
  if (!usable) {
    Error error = wrong("tensor has a type that is not converted", name,
                        role == Role::token_order ? "I32 or I64" : "a float type, or one that facet dequantises",
                        facet::name(tensor->type));
    error.code = ErrorCode::unsupported;
    return error;
  }
  used_.insert(name);
  return Slice{.tensor = tensor, .first = 0, .elements = tensor->elements()};
}

Result<std::vector<Slice>> Sources::find(const NamedTensor& tensor) {
  const std::string name = name_of(tensor);
  if (checkpoint_.find(name) == nullptr) {
    if (!tensor.required) return std::vector<Slice>();
    const bool stacked = tensor.shape.size() == 3;  // experts
    if (is_gguf() && tensor.gate_up && checkpoint_.find(model::gguf_name(names::kExpertsGate.gguf, tensor.layer)))
      return take_apart(tensor);
    const std::string first = cat(prefix_, "layers.", tensor.layer, ".experts.0.down_proj.weight");
    if (!is_gguf() && stacked && checkpoint_.find(first) != nullptr) return take_experts(tensor);
  }
  FACET_TRY(const Slice slice, take(name, tensor.shape, tensor.role));
  return std::vector{slice};
}

// Gate and up of all experts as two tensors: expert by expert, its gate rows and then its up rows.
Result<std::vector<Slice>> Sources::take_apart(const NamedTensor& tensor) {
  const std::vector<int64_t> half = {tensor.shape[0], tensor.shape[1] / 2, tensor.shape[2]};
  FACET_TRY(const Slice gate, take(model::gguf_name(names::kExpertsGate.gguf, tensor.layer), half, tensor.role));
  FACET_TRY(const Slice up, take(model::gguf_name(names::kExpertsUp.gguf, tensor.layer), half, tensor.role));
  std::vector<Slice> slices;
  const int64_t each = half[1] * half[2];
  for (int64_t expert = 0; expert < half[0]; ++expert)
    for (const Slice& whole : {gate, up})
      slices.push_back({.tensor = whole.tensor, .first = expert * each, .elements = each});
  return slices;
}

// One tensor an expert, as some exports have it.
Result<std::vector<Slice>> Sources::take_experts(const NamedTensor& tensor) {
  std::vector<Slice> slices;
  const int64_t rows = tensor.gate_up ? tensor.shape[1] / 2 : tensor.shape[1];
  for (int64_t expert = 0; expert < tensor.shape[0]; ++expert) {
    const std::string stem = cat(prefix_, "layers.", tensor.layer, ".experts.", expert, '.');
    for (const char* part : {"gate_proj", "up_proj", "down_proj"}) {
      if (tensor.gate_up == (std::string_view(part) == "down_proj")) continue;
      FACET_TRY(const Slice slice, take(cat(stem, part, ".weight"), {rows, tensor.shape[2]}, tensor.role));
      slices.push_back(slice);
    }
  }
  return slices;
}

// What some checkpoints carry although the architecture has no use for it.
bool Sources::superfluous(const std::string& name) const {
  if (is_gguf()) return false;
  if (name == names::kHead.hf) return config_.tied_head;
  for (int i = 0; i < config_.n_layers(); ++i)
    if (config_.layers[static_cast<size_t>(i)].value_is_key && name == prefix_ + model::gguf_name(names::kValue.hf, i))
      return true;
  return false;
}

Result<std::vector<std::string>> Sources::leftovers() const {
  std::vector<std::string> remarks;
  std::map<std::string, int> foreign;
  for (const TensorInfo& tensor : checkpoint_.tensors()) {
    if (used_.contains(tensor.name)) continue;
    if (spelling_ && spelling_->is_foreign(tensor.name)) {
      ++foreign[group_of(tensor.name)];
    } else if (superfluous(tensor.name)) {
      remarks.push_back(cat("left out, since the model does not use it: ", tensor.name));
    } else {
      return wrong("tensor is not part of this architecture", tensor.name,
                   cat("the tensors of ", model::describe(config_)),
                   cat(facet::name(tensor.type), ' ', list(tensor.shape)));
    }
  }
  for (const auto& [group, count] : foreign)
    remarks.push_back(cat("left out, since only the text decoder is converted: ", count, " tensors of ", group));
  return remarks;
}

}  // namespace facet::convert
