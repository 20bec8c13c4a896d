#include "support/paths.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

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

fs::path cache_path(const std::string& relative) {
  const auto given = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  if (const std::string own = given("FACET_CACHE"); !own.empty()) return fs::path(own) / relative;
  const std::string base = given("XDG_CACHE_HOME");
  return (base.empty() ? fs::path(given("HOME")) / ".cache" : fs::path(base)) / "facet" / relative;
}

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
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
