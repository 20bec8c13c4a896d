// Where tests find their data: the repository's own, and the larger goldens beside it (skipped where absent).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace facet::testing {

std::filesystem::path source_path(const std::string& relative);  // in this repository
// A path under ../shared (or FACET_SHARED); nullopt when that folder is not there.
std::optional<std::filesystem::path> shared_path(const std::string& relative);
// A path in facet's cache folder (FACET_CACHE, else facet in the user's): what tools/ fetched or built there.
std::filesystem::path cache_path(const std::string& relative);
// All bytes of a file; none where it cannot be read.
std::string contents(const std::filesystem::path& path);
// A fresh empty folder, removed when the object dies.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace facet::testing

// const auto golden = FACET_SHARED_OR_SKIP("golden/quant");
#define FACET_SHARED_OR_SKIP(variable, relative)                                                 \
  const auto variable##_found = ::facet::testing::shared_path(relative);                         \
  if (!variable##_found) GTEST_SKIP() << "skipped: ../shared/" << (relative) << " is not there"; \
  const std::filesystem::path variable = *variable##_found
