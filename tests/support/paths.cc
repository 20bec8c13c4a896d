#include "support/paths.h"

#include <cstdlib>

#include <unistd.h>

namespace facet::testing {

namespace fs = std::filesystem;

fs::path source_path(const std::string& relative) { return fs::path(FACET_SOURCE_DIR) / relative; }

std::optional<fs::path> shared_path(const std::string& relative) {
  const char* given = std::getenv("FACET_SHARED");
  const fs::path root = given != nullptr ? fs::path(given) : fs::path(FACET_SOURCE_DIR).parent_path() / "shared";
  if (!fs::exists(root / "golden")) return std::nullopt;
  return root / relative;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "facet-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace facet::testing
