// Checkpoint: what every container of weights offers: named tensors with bytes, plus metadata. GGUF files (split ones
// too), safetensors files and Hugging Face folders open through here. Bytes stay where they are; nothing is copied.
// What is checked: docs/formats.md.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "formats/byte_source.h"
#include "formats/gguf_metadata.h"
#include "tensor/dtype.h"

namespace facet::formats {

struct TensorInfo {
  std::string name;
  DType type = DType::f32;
  std::vector<int64_t> shape;  // outermost first: [out, in]; a GGUF file's dimensions reversed
  int64_t bytes = 0;
  int source = 0;      // index into the checkpoint's sources
  int64_t offset = 0;  // in that source

  int64_t elements() const;
};

// The product of a shape; nullopt where it does not fit. Dimensions of zero do not hide the others, so that any product
// of some of them fits too. Requires dimensions that are not negative.
std::optional<int64_t> elements_of(std::span<const int64_t> shape);

enum class Container : uint8_t { gguf, safetensors };

class Checkpoint {
 public:
  // path: a .gguf file (the first part of a split one), a .safetensors file, or a Hugging Face folder.
  // Everything is validated: bounds, overlaps, types, names (spec/gguf.md 1.7 and 2). Errors: not_found, corrupt,
  // unsupported, io.
  static Result<Checkpoint> open(const std::filesystem::path& path);

  Container container() const { return container_; }
  const std::filesystem::path& path() const { return path_; }
  std::span<const TensorInfo> tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;

  // The bytes of a tensor, mapped.
  Bytes bytes(const TensorInfo& tensor) const;
  // The bytes were consumed (packed): their pages may be dropped.
  void release(const TensorInfo& tensor) const;
  // Part of a tensor will be read soon.
  void will_need(const TensorInfo& tensor, int64_t offset, int64_t length) const;
  // The files, as TensorInfo::source numbers them.
  std::span<const std::shared_ptr<const ByteSource>> sources() const { return sources_; }
  // Bytes of all files together.
  int64_t file_bytes() const;

  // GGUF: its key-value pairs. Empty for safetensors.
  const GgufMetadata& metadata() const { return metadata_; }
  // Hugging Face folders: config.json and generation_config.json (null when absent).
  const Json& config() const { return config_; }
  const Json& generation_config() const { return generation_config_; }
  // Hugging Face folders: tokenizer.json and chat_template.jinja where present.
  std::optional<std::filesystem::path> tokenizer_file() const { return tokenizer_file_; }
  std::optional<std::filesystem::path> template_file() const { return template_file_; }
  // What was odd but tolerated (unusual layout, unmapped tensors): one sentence each.
  std::span<const std::string> remarks() const { return remarks_; }

 private:
  friend class CheckpointBuilder;
  Container container_ = Container::gguf;
  std::filesystem::path path_;
  std::vector<std::shared_ptr<const ByteSource>> sources_;  // shared with whoever reads on after the checkpoint is gone
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
  GgufMetadata metadata_;
  Json config_, generation_config_;
  std::optional<std::filesystem::path> tokenizer_file_, template_file_;
  std::vector<std::string> remarks_;
};

}  // namespace facet::formats
