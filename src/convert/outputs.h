// Files that a command is about to write, and what is said of them afterwards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "facet/result.h"

namespace facet::convert {

enum class Overwrite : uint8_t { no, yes };  // whether files that are there already may be replaced

// Errors: invalid_argument, naming the first file that is there.
Result<void> check_absent(std::span<const std::filesystem::path> paths, Overwrite overwrite);

// The SHA-256 of a file's contents, 64 hexadecimal digits. Errors: not_found, io.
Result<std::string> sha256_of(const std::filesystem::path& path);

}  // namespace facet::convert
