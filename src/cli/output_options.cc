#include "cli/output_options.h"

#include "base/strings.h"

namespace facet::cli {

void OutputOptions::add_to(Command& command) {
  command.flag("--force", force, "replace files that are there already");
  command.flag("--sha256", sha256, "print the checksum of every file written, as sha256sum does");
}

Result<void> OutputOptions::show_written(std::span<const std::filesystem::path> paths) const {
  for (const std::filesystem::path& path : paths) {
    std::string line = path.string();
    if (sha256) {
      FACET_TRY(const std::string digest, convert::sha256_of(path));
      line = cat(digest, "  ", path);
    }
    show(line + "\n");
  }
  return {};
}

}  // namespace facet::cli
