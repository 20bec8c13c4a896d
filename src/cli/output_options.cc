#include "cli/output_options.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/strings.h"

namespace facet::cli {

Result<int64_t> parse_size(const std::string& text, const std::string& option) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr std::array kUnits = {Unit{"", 1},        Unit{"K", 1e3},      Unit{"M", 1e6},      Unit{"G", 1e9},
                                 Unit{"T", 1e12},    Unit{"KB", 1e3},     Unit{"MB", 1e6},     Unit{"GB", 1e9},
                                 Unit{"TB", 1e12},   Unit{"KiB", 0x1p10}, Unit{"MiB", 0x1p20}, Unit{"GiB", 0x1p30},
                                 Unit{"TiB", 0x1p40}};
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Unit& unit : kUnits)
    if (problem == std::errc() && rest == unit.name && number * unit.bytes >= 1 && number * unit.bytes < 0x1p62)
      return static_cast<int64_t>(number * unit.bytes);
  return Error{.code = ErrorCode::invalid_argument,
               .what = "not a size",
               .where = option,
               .expected = "a number of bytes, such as 2G, 500M or 1GiB",
               .found = text};
}

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
