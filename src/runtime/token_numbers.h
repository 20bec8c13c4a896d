// TokenNumbers: a number for each token of a vocabulary, nearly all of them 0. One array in place of a hash: an access
// costs one read, and forgetting costs as much as was written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "tensor/token.h"

namespace facet::runtime {

class TokenNumbers {
 public:
  explicit TokenNumbers(int64_t vocab_size) : numbers_(static_cast<size_t>(vocab_size), 0) {}

  int32_t of(Token token) const { return numbers_[static_cast<size_t>(token)]; }
  void add_one(Token token) { raise(token, of(token) + 1); }
  // To at least n > 0.
  void raise(Token token, int32_t n) {
    FACET_DCHECK(token >= 0 && static_cast<size_t>(token) < numbers_.size() && n > 0);
    int32_t& number = numbers_[static_cast<size_t>(token)];
    if (number == 0) tokens_.push_back(token);
    number = std::max(number, n);
  }
  // Those whose number is not 0, in the order in which they came.
  std::span<const Token> tokens() const { return tokens_; }
  void clear() {
    for (const Token token : tokens_) numbers_[static_cast<size_t>(token)] = 0;
    tokens_.clear();
  }

 private:
  std::vector<int32_t> numbers_;
  std::vector<Token> tokens_;
};

}  // namespace facet::runtime
