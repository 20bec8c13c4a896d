// Models in memory, for tests of conversions: read from files, changed, written as folders.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "convert/names.h"
#include "formats/checkpoint.h"
#include "formats/checkpoint_writer.h"
#include "support/expect.h"
#include "tensor/half.h"

namespace facet::convert::testing {

namespace fs = std::filesystem;

struct StoredTensor {
  DType type;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  bool operator==(const StoredTensor&) const = default;
};

struct StoredModel {
  std::map<std::string, StoredTensor> tensors;
  Json config, generation_config;
};

inline StoredModel read_model(const fs::path& path) {
  StoredModel model;
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(path);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << checkpoint.error().message();
    return model;
  }
  for (const formats::TensorInfo& tensor : checkpoint->tensors()) {
    const Bytes bytes = checkpoint->bytes(tensor);
    model.tensors[tensor.name] = {tensor.type, tensor.shape, {bytes.begin(), bytes.end()}};
  }
  model.config = checkpoint->config();
  model.generation_config = checkpoint->generation_config();
  return model;
}

inline void write_model(const fs::path& folder, const StoredModel& model) {
  std::vector<formats::NewTensor> list;
  for (const auto& [name, tensor] : model.tensors) list.push_back({name, tensor.type, tensor.shape});
  const auto writer = formats::new_safetensors(folder, list);
  ASSERT_OK(writer);
  for (const auto& [name, tensor] : model.tensors) ASSERT_OK((*writer)->write(tensor.bytes));
  ASSERT_OK((*writer)->finish());
  ASSERT_OK(write_file_atomic(folder / "config.json", as_bytes(model.config.dump(2))));
  if (!model.generation_config.is_null())
    ASSERT_OK(write_file_atomic(folder / "generation_config.json", as_bytes(model.generation_config.dump(2))));
}

// A folder with its tensors as random BF16 values that survive an addition of 1.
inline StoredModel random_model(const Json& config_json) {
  StoredModel model{.tensors = {}, .config = config_json, .generation_config = {}};
  const Result<model::Config> config = model::config_from_json(config_json, {}, "test");
  if (!config.ok()) ADD_FAILURE() << config.error().message();
  Random random(7);
  for (const NamedTensor& tensor : tensors_of(*config)) {
    StoredTensor& stored = model.tensors[(tensor.prefixed ? "model." : "") + tensor.hf];
    stored = {DType::bf16, tensor.shape, {}};
    int64_t elements = 1;
    for (const int64_t n : tensor.shape) elements *= n;
    for (int64_t i = 0; i < elements; ++i) {
      const uint16_t value = float_to_bf16((static_cast<float>(random.next() % 255) - 127.0f) / 256.0f);
      const auto bytes = std::as_bytes(std::span(&value, 1));
      stored.bytes.insert(stored.bytes.end(), bytes.begin(), bytes.end());
    }
  }
  return model;
}

// Names as text-only classes spell them.
inline std::map<std::string, StoredTensor> plainly_named(const std::map<std::string, StoredTensor>& tensors) {
  constexpr std::string_view kLong = "model.language_model.";
  std::map<std::string, StoredTensor> plain;
  for (const auto& [name, tensor] : tensors)
    plain[name.starts_with(kLong) ? "model." + name.substr(kLong.size()) : name] = tensor;
  return plain;
}

inline void expect_same_tensors(const StoredModel& expected, const StoredModel& found, const std::string& what) {
  const auto left = plainly_named(expected.tensors), right = plainly_named(found.tensors);
  EXPECT_EQ(left.size(), right.size()) << what;
  for (const auto& [name, tensor] : left) {
    const auto other = right.find(name);
    ASSERT_NE(other, right.end()) << what << ": " << name;
    EXPECT_EQ(tensor.type, other->second.type) << what << ": " << name;
    EXPECT_EQ(tensor.shape, other->second.shape) << what << ": " << name;
    EXPECT_TRUE(tensor.bytes == other->second.bytes) << what << ": " << name;
  }
}

}  // namespace facet::convert::testing
