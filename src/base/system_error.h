// What the operating system answered to a call on a file, as an Error.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/strings.h"
#include "facet/result.h"

namespace facet {

// not_found; exhausted where the disk or a quota has no room; otherwise io.
inline Error system_error(std::string_view what, const std::filesystem::path& path, const std::error_code& error) {
  const int number = error.value();
  return {.code = number == ENOSPC || number == EDQUOT    ? ErrorCode::exhausted
                  : number == ENOENT || number == ENOTDIR ? ErrorCode::not_found
                                                          : ErrorCode::io,
          .what = cat(what, ": ", error.message()),
          .where = path.string()};
}

// From errno, as the call that failed has left it.
inline Error system_error(std::string_view what, const std::filesystem::path& path) {
  return system_error(what, path, std::error_code(errno, std::generic_category()));
}

}  // namespace facet
