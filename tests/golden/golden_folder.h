// Where the golden checkpoints are: the light ones in this repository, all of them in ../shared.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "support/paths.h"

namespace facet::testing {

// A folder of golden/text: config.json, model.safetensors, golden.safetensors. nullopt: neither place has it.
inline std::optional<std::filesystem::path> golden_text_folder(const std::string& name) {
  if (const auto own = source_path("tests/golden/data/" + name); std::filesystem::exists(own)) return own;
  return shared_path("golden/text/" + name);
}

}  // namespace facet::testing

#define FACET_GOLDEN_OR_SKIP(variable, name)                                                             \
  const auto variable##_found = ::facet::testing::golden_text_folder(name);                              \
  if (!variable##_found) GTEST_SKIP() << "skipped: the golden checkpoint " << (name) << " is not there"; \
  const std::filesystem::path variable = *variable##_found
