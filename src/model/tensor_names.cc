#include "model/tensor_names.h"

#include <array>

#include "base/strings.h"

namespace facet::model {
namespace {

// Multimodal class, text-only class, and the spelling of MLX exports.
constexpr std::array kPrefixes = {"model.language_model.", "model.", "language_model.model."};

constexpr std::array kForeign = {"model.vision_tower.",    "model.embed_vision.",
                                 "model.audio_tower.",     "model.embed_audio.",
                                 "model.vision_embedder.", "vision_tower.",
                                 "audio_tower.",           "embed_vision.",
                                 "embed_audio.",           "model.multi_modal_projector.",
                                 "multi_modal_projector."};

// Appends a pattern with the layer in place of '#'.
void append_pattern(std::string& text, std::string_view pattern, int layer) {
  for (const char c : pattern) {
    if (c == '#') {
      append(text, layer);
    } else {
      text += c;
    }
  }
}

}  // namespace

std::string gguf_name(std::string_view pattern, int layer) {
  std::string text;
  append_pattern(text, pattern, layer);
  return text;
}

Result<TensorNames> TensorNames::of(const formats::Checkpoint& checkpoint) {
  TensorNames names;
  names.gguf_ = checkpoint.container() == formats::Container::gguf;
  if (names.gguf_) return names;
  for (const char* prefix : kPrefixes) {
    names.prefix_ = prefix;
    if (checkpoint.find(names.full(tensors::kTokens)) != nullptr) return names;
  }
  return Error{.code = ErrorCode::not_found,
               .what = "no text decoder in this checkpoint",
               .where = checkpoint.path().string(),
               .expected = "a tensor model.language_model.embed_tokens.weight or model.embed_tokens.weight",
               .found = cat(checkpoint.tensors().size(), " other tensors")};
}

std::string TensorNames::full(const TensorName& name, int layer) const {
  std::string text;
  // The head stands beside the decoder, not inside it.
  if (!gguf_ && name.hf != tensors::kHead.hf) text = prefix_;
  append_pattern(text, gguf_ ? name.gguf : name.hf, layer);
  return text;
}

bool TensorNames::is_foreign(std::string_view name) const {
  if (gguf_) return false;
  for (const char* prefix : kForeign)
    if (name.starts_with(prefix)) return true;
  return false;
}

}  // namespace facet::model
