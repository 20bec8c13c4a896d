// DryBreakers: where the texts that end a repetition stand in a sequence of tokens. Texts are found wherever they end:
// inside a token (":\n" has a ":"), at its end, or spread over several, however the tokenizer cut them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facet/result.h"
#include "runtime/repetition.h"

namespace facet::engine {

inline constexpr size_t kDryBreakersMax = 64;
inline constexpr size_t kDryBreakerBytesMax = 64;

// Errors: invalid_argument (an empty text, too long a text, too many).
Result<void> check_dry_breakers(std::span<const std::string> texts);

class DryBreakers : public runtime::Breakers {
 public:
  using PieceOf = std::function<std::string_view(Token)>;  // the bytes of a token; a marker's string

  // Requires texts that pass the check.
  DryBreakers(std::vector<std::string> texts, PieceOf piece_of);

  // Costs as much as looking for each text once in the token's bytes and those of one text before them.
  bool end_in(std::span<const Token> before, Token token) override;

 private:
  std::vector<std::string> texts_;
  size_t longest_ = 1;  // bytes
  PieceOf piece_of_;
  std::string bytes_;  // scratch
};

}  // namespace facet::engine
