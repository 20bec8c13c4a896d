// What repetition costs: penalties of tokens that occurred lately, and of tokens that would continue a passage which
// was there before (DRY). Formulas: docs/sampling.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/sampler_options.h"
#include "runtime/token_numbers.h"

namespace facet::runtime {

// Where a passage ends, however often it is repeated: at the end of a line, say. The runtime knows tokens, never text;
// engine/ finds texts in them.
class Breakers {
 public:
  virtual ~Breakers() = default;
  // Whether a breaker ends in `token` when it stands behind `before`.
  virtual bool end_in(std::span<const Token> before, Token token) = 0;
};

// Sets a logit to what a computation gave, finite: no penalty makes a token impossible, and -inf stays -inf.
void set_logit(float& logit, double value);

// The last n tokens; all of them for n = -1 or when there are fewer.
std::span<const Token> last(std::span<const Token> tokens, int64_t n);

// Of n tokens, for each k in 1…n-1: how many tokens in front of the last k equal the last ones of all; for "a b c x a b
// c" and k = 4 there are 3. 0 for k = 0. Linear in n. The result lies in `scratch`, which only grows.
std::span<const int32_t> count_repeats(std::span<const Token> tokens, std::vector<int32_t>& scratch);

// Both change `row` for the token behind `history`, whose tokens lie in the vocabulary. `numbers` is scratch, all 0
// before and after.
void penalize(const PenaltyOptions& options, std::span<const Token> history, TokenNumbers& numbers,
              std::span<float> row);
// breakers: nullptr for none. scratch: of count_repeats().
void penalize(const DryOptions& options, Breakers* breakers, std::span<const Token> history, TokenNumbers& numbers,
              std::vector<int32_t>& scratch, std::span<float> row);

}  // namespace facet::runtime
