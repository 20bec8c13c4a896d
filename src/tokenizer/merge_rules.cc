#include "tokenizer/merge_rules.h"

#include <algorithm>
#include <bit>

namespace facet::tokenizer {
namespace {

// Finds the three tokens that a merge names. Neighbours in the list often have the same whole, since converters list
// all ways to make a token one after the other.
class MergeResolver {
 public:
  MergeResolver(const VocabFile& file, const Vocab& vocab) : file_(file), vocab_(vocab) {}

  Result<Token> left(const MergeText& merge) { return part(merge.left); }
  Result<Token> right(const MergeText& merge) { return part(merge.right); }

  Result<Token> whole(const MergeText& merge) {
    text_.assign(merge.left);
    text_ += merge.right;
    if (text_ != last_) {
      FACET_TRY(last_token_, part(text_));
      last_.swap(text_);
    }
    return last_token_;
  }

 private:
  Result<Token> part(std::string_view string) {
    // Nearly all strings are pieces as they stand, or behind one space mark.
    const std::optional<Token> token = quick(string);
    if (token) return *token;
    const std::optional<Token> found = vocab_.find(string);
    if (!found)
      return file_.corrupt("a merge names a string that is not in the vocabulary", "a token's string",
                           std::string(string.substr(0, 80)));
    return *found;
  }

  std::optional<Token> quick(std::string_view string) {
    if (string.find(' ') != string.npos) return std::nullopt;
    if (const size_t mark = string.find(kSpaceMark); mark != string.npos) {
      if (mark != 0 || string.find(kSpaceMark, 1) != string.npos) return std::nullopt;
      spaced_.assign(1, ' ');
      spaced_ += string.substr(kSpaceMark.size());
      string = spaced_;
    }
    const Token token = vocab_.find_piece(string);
    return token < 0 ? std::nullopt : std::optional(token);
  }

  const VocabFile& file_;
  const Vocab& vocab_;
  std::string text_, last_, spaced_;
  Token last_token_ = -1;
};

// Falls as the score rises; never Merge::kNever, since no score is NaN.
uint32_t rank_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score == 0 ? 0.0f : score);
  const uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

}  // namespace

Result<RankedMerges> RankedMerges::build(const VocabFile& file, const Vocab& vocab) {
  if (file.merges.size() >= Merge::kNever) return file.unsupported("too many merges");
  RankedMerges merges;
  merges.slots_.resize(file.merges.size() + file.merges.size() / 2 + 1);
  MergeResolver resolver(file, vocab);
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    FACET_TRY(const Token left, resolver.left(file.merges[rank]));
    FACET_TRY(const Token right, resolver.right(file.merges[rank]));
    FACET_TRY(const Token whole, resolver.whole(file.merges[rank]));
    // Text can never become a marker or a byte token, whatever a file's merges say.
    if (!vocab.mergeable(left) || !vocab.mergeable(right) || !vocab.mergeable(whole)) continue;
    merges.add(left, right, {static_cast<uint32_t>(rank), whole});
  }
  return merges;
}

// A pair that comes twice keeps its first, better rank.
void RankedMerges::add(Token left, Token right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t i = slot_of(key);
  while (slots_[i].key != kFree && slots_[i].key != key) i = i + 1 == slots_.size() ? 0 : i + 1;
  if (slots_[i].key == kFree) slots_[i] = {key, merge.rank, merge.result};
}

ScoredPieces::ScoredPieces(const VocabFile& file, const Vocab& vocab) : vocab_(&vocab), ranks_(file.scores.size()) {
  std::ranges::transform(file.scores, ranks_.begin(), rank_of);
}

}  // namespace facet::tokenizer
