// Tokens with a role, found by name: what must never be sampled, and the ends and beginning of a text where the file
// does not say.
#pragma once

#include <vector>

#include "tokenizer/vocab.h"

namespace facet::tokenizer {

// Reserved tokens, and those that only ever stand in a prompt (spec/tokenizer.md 6.2); ascending. Never one of `ends`.
std::vector<Token> never_sampled_tokens(const Vocab& vocab, const std::vector<Token>& ends);

}  // namespace facet::tokenizer
