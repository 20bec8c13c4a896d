// Collecting an importance matrix: runs a calibration text and sums up what each linear is given (quantization.md 6).
#pragma once

#include <span>

#include "engine/model_files.h"
#include "facet/engine.h"
#include "formats/importance.h"

namespace facet::engine {

// Runs the tokens in chunks of `chunk`, each a sequence of its own that begins with BOS where the vocabulary adds it
// (in place of its first token, as llama.cpp does); what is left over is a shorter chunk. options: how the model is
// loaded; its context is not read. pack: is told what became of packed weights on disk; may be null. Errors:
// invalid_argument (no tokens, a chunk below 2, a puppet), non_finite (naming the weight), cancelled, and those of
// loading.
Result<formats::ImportanceMatrix> collect_importance(const ModelFiles& files, std::span<const Token> tokens,
                                                     int64_t chunk, const LoadOptions& options,
                                                     PackUse* pack = nullptr);

}  // namespace facet::engine
