// Passes over one row of logits: what is not finite, what is largest, which n are best. A vocabulary has 262,144
// entries and an answer has one row a token, so nothing here sorts more than it must, and what is best is looked for
// only in blocks whose bound says that it may be there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tensor/logits.h"
#include "tensor/token.h"

namespace facet::runtime {

using TokenSet = std::vector<uint64_t>;  // bit t % 64 of word t / 64: a word a block; bits beyond the vocabulary are 0

struct Candidate {
  Token token;
  float logit;
};

// Best first: the larger logit, then the lower id. A total order, so that a selection has one possible result.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The first whose logit is NaN or +inf. (-inf is a token that cannot come.) The functions below require that there is
// none, and as many words in the set as the row has blocks.
std::optional<Candidate> first_non_finite(Logits& logits);

// The best of the set; nullopt when the set is empty or holds only -inf.
std::optional<Candidate> best(Logits& logits, const TokenSet& set);

// The n best of the set above -inf, best first, into out.
void keep_best(Logits& logits, const TokenSet& set, size_t n, std::vector<Candidate>& out);

// Those of the set above -inf that are at least `lowest`, by ascending id, into out.
void keep_from(Logits& logits, const TokenSet& set, double lowest, std::vector<Candidate>& out);

}  // namespace facet::runtime
