// Vocabularies rewritten: tokenizer.json to the keys of a GGUF file, and back (tokenizer.md 3, 11).
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "formats/gguf_pairs.h"
#include "model/config.h"
#include "tokenizer/vocab_file.h"

namespace facet::convert {

// Sets tokenizer.ggml.model, tokens, scores, token_type, merges and the flags. The list of tokens is filled up to the
// model's, with unused ones. Gemma 3 gets both merges, from which its tokenizer.json works, and the scores of the same
// order, from which engines work that know no merges for it. Errors: corrupt (more tokens than the model; unless these
// are the last ones, in which case they are left out and `remark` says so).
Result<void> add_vocabulary(const tokenizer::VocabFile& file, const model::Config& config, formats::GgufPairs& pairs,
                            std::string& remark);

// The text of a tokenizer.json for either kind of vocabulary; merges are worked out where the file has only scores.
// Errors: unsupported (a token that is not UTF-8).
Result<std::string> tokenizer_json(const tokenizer::VocabFile& file, model::Family family);

// tokenizer_config.json: the roles of tokens, and how texts are padded and begun.
Json tokenizer_config_json(const tokenizer::VocabFile& file, const model::Config& config);

}  // namespace facet::convert
