// Quantising a model while it loads: which tensor becomes what.
#pragma once

#include <string>
#include <vector>

#include "engine/model_files.h"
#include "formats/requantize.h"

namespace facet::engine {

// The types that `facet quantize` would give the tensors of these files, by the names in the files; Hugging Face names
// count as their GGUF counterparts. quant: a file type such as "Q4_K_M"; empty: nothing changes. Tensors that are in a
// block type already keep it where the other is not smaller; remarks say so. Errors: invalid_argument (no such file
// type), unsupported.
Result<formats::TypeMap> types_at_load(const ModelFiles& files, const std::string& quant,
                                       std::vector<std::string>& remarks);

}  // namespace facet::engine
