#include "engine/dry_breakers.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace facet::engine {
namespace {

Error refused(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "dry_sequence_breakers",
          .expected = std::move(expected),
          .found = std::move(found)};
}

}  // namespace

Result<void> check_dry_breakers(std::span<const std::string> texts) {
  if (texts.size() > kDryBreakersMax)
    return refused("too many texts", cat("at most ", kDryBreakersMax), cat(texts.size()));
  for (const std::string& text : texts)
    if (text.empty() || text.size() > kDryBreakerBytesMax)
      return refused("a text is empty or too long", cat("1 to ", kDryBreakerBytesMax, " bytes"), cat(text.size()));
  return {};
}

DryBreakers::DryBreakers(std::vector<std::string> texts, PieceOf piece_of)
    : texts_(std::move(texts)), piece_of_(std::move(piece_of)) {
  for (const std::string& text : texts_) longest_ = std::max(longest_, text.size());
}

bool DryBreakers::end_in(std::span<const Token> before, Token token) {
  // As many tokens as a text could begin in: one for each of its bytes but the last.
  size_t first = before.size(), behind = 0;
  while (first > 0 && before.size() - first < longest_ - 1 && behind < longest_ - 1)
    behind += piece_of_(before[--first]).size();
  bytes_.clear();
  for (const Token other : before.subspan(first)) bytes_ += piece_of_(other);
  bytes_ += piece_of_(token);
  return std::ranges::any_of(texts_, [&](const std::string& text) {
    const size_t from = behind >= text.size() - 1 ? behind - (text.size() - 1) : 0;  // its last byte is the token's
    return bytes_.find(text, from) != std::string::npos;
  });
}

}  // namespace facet::engine
