// Passes over one row of logits: what is not finite, what is largest, which n are best, and their total weight. A
// vocabulary has 262,144 entries and an answer has one row a token, so nothing here sorts more than it must.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tensor/token.h"

namespace facet::runtime {

using TokenSet = std::vector<uint64_t>;  // bit t % 64 of word t / 64; bits beyond the vocabulary are 0

struct Candidate {
  Token token;
  float logit;
};

// Best first: the larger logit, then the lower id. A total order, so that a selection has one possible result.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The lowest id whose logit is NaN or +inf. (-inf is a token that cannot come.)
std::optional<Token> first_non_finite(std::span<const float> logits);

// The best of the set; nullopt when the set is empty or holds only -inf.
std::optional<Candidate> best(std::span<const float> logits, const TokenSet& set);

// The n best of the set above -inf, best first, into out.
void keep_best(std::span<const float> logits, const TokenSet& set, size_t n, std::vector<Candidate>& out);

// All of the set above -inf, by ascending id, into out.
void keep_all(std::span<const float> logits, const TokenSet& set, std::vector<Candidate>& out);

// Σ exp((logit - max) · scale) over the set, in an order that depends on the vocabulary's size alone.
double total_weight(std::span<const float> logits, const TokenSet& set, float max, double scale);

}  // namespace facet::runtime
