// What programs on caches vary, whether a model stands before the cache or not.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace facet::model {

inline constexpr int64_t kWindows[] = {1, 4, 63, 64, 65, 512};
inline constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16, DType::i8};

}  // namespace facet::model
