#include "engine/error_table.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace facet::engine {
namespace {

constexpr ErrorRow kTable[] = {
    {ErrorCode::invalid_argument, 2}, {ErrorCode::not_found, 3},   {ErrorCode::corrupt, 4},
    {ErrorCode::unsupported, 5},      {ErrorCode::exhausted, 6},   {ErrorCode::io, 7},
    {ErrorCode::unavailable, 8},      {ErrorCode::cancelled, 130}, {ErrorCode::non_finite, 9},
};

}  // namespace

int exit_status(ErrorCode code) {
  const auto* row = std::ranges::find(kTable, code, &ErrorRow::code);
  FACET_CHECK(row != std::end(kTable));
  return row->exit_status;
}

}  // namespace facet::engine
