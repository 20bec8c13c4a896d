// Constraint: what a grammar looks like to the sampler. The runtime knows tokens, never text; engine/ adapts chat's
// grammars to this.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "tensor/token.h"

namespace facet::runtime {

class Constraint {
 public:
  virtual ~Constraint() = default;
  // Clears the bits of tokens that may not come next (bit t % 64 of word t / 64).
  virtual void allow(std::span<uint64_t> mask) = 0;
  // The token that must come next, if only one may.
  virtual std::optional<Token> forced() = 0;
  virtual void accept(Token token) = 0;
  // Takes back the last n accepted tokens.
  virtual void rollback(int n) = 0;
};

}  // namespace facet::runtime
