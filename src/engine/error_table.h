// What each kind of Error becomes outside: the exit status of the program; later HTTP status and each API's error type.
#pragma once

#include "facet/result.h"

namespace facet::engine {

struct ErrorRow {
  ErrorCode code;
  int exit_status;
};

// 0 success, 1 a comparison failed, 130 interrupted; the rest is this table (docs/cli.md).
int exit_status(ErrorCode code);

}  // namespace facet::engine
