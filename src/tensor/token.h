// Token ids, everywhere.
#pragma once

#include <cstdint>

namespace facet {

using Token = int32_t;

}  // namespace facet
