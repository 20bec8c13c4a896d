#include "tokenizer/merge_rules.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <string>

#include "base/utf8.h"

namespace facet::tokenizer {
namespace {

// Finds the tokens that merges name: a million look-ups in tables larger than the caches. So they go in groups, and
// memory is asked for all places of a group before the first one is read.
class MergeResolver {
 public:
  static constexpr size_t kGroup = 64;
  struct Tokens {
    Token left, right, whole;
  };

  MergeResolver(const VocabFile& file, const Vocab& vocab) : file_(file), vocab_(vocab) {}

  // The tokens of `merges`, at most kGroup of them; valid until the next call.
  Result<std::span<const Tokens>> resolve(std::span<const MergeText> merges) {
    texts_.clear();
    for (size_t i = 0; i < merges.size(); ++i) ask(i, merges[i]);
    for (size_t i = 0; i < merges.size(); ++i) FACET_TRY_VOID(answer(i, merges[i]));
    return std::span<const Tokens>(tokens_).first(merges.size());
  }

 private:
  struct Question {
    size_t begin, left_size, size;  // in texts_: left and right, with plain spaces, which joined are the whole
    uint64_t left_hash, right_hash, whole_hash;
  };

  static void append_spaced(std::string_view string, std::string& out) {
    for (size_t i = 0; i < string.size(); ++i) {
      const bool mark = string[i] == kSpaceMark[0] && string.substr(i, kSpaceMark.size()) == kSpaceMark;
      out += mark ? ' ' : string[i];
      if (mark) i += kSpaceMark.size() - 1;
    }
  }

  void ask(size_t i, const MergeText& merge) {
    Question& question = questions_[i];
    question.begin = texts_.size();
    append_spaced(merge.left, texts_);
    question.left_size = texts_.size() - question.begin;
    append_spaced(merge.right, texts_);
    question.size = texts_.size() - question.begin;
    const std::string_view whole = std::string_view(texts_).substr(question.begin);
    question.left_hash = hash_text(whole.substr(0, question.left_size));
    question.right_hash = hash_text(whole.substr(question.left_size));
    question.whole_hash = hash_text(whole);
    for (const uint64_t hash : {question.left_hash, question.right_hash, question.whole_hash})
      vocab_.prefetch_piece(hash);
  }

  std::string_view text_of(size_t i) const {
    return std::string_view(texts_).substr(questions_[i].begin, questions_[i].size);
  }

  Result<void> answer(size_t i, const MergeText& merge) {
    const Question& question = questions_[i];
    const std::string_view whole = text_of(i);
    // Files list all ways to make a token one after the other.
    const bool repeated = i > 0 && question.whole_hash == questions_[i - 1].whole_hash && whole == text_of(i - 1);
    tokens_[i] = {vocab_.find_piece(whole.substr(0, question.left_size), question.left_hash),
                  vocab_.find_piece(whole.substr(question.left_size), question.right_hash),
                  repeated ? tokens_[i - 1].whole : vocab_.find_piece(whole, question.whole_hash)};
    // Plain spaces look like U+2581 here, and some strings are no pieces: look these up as they stand.
    const bool plain = merge.left.find(' ') == merge.left.npos && merge.right.find(' ') == merge.right.npos;
    if (plain && tokens_[i].left >= 0 && tokens_[i].right >= 0 && tokens_[i].whole >= 0) return {};
    FACET_TRY(tokens_[i].left, find(merge.left));
    FACET_TRY(tokens_[i].right, find(merge.right));
    FACET_TRY(tokens_[i].whole, find(cat(merge.left, merge.right)));
    return {};
  }

  Result<Token> find(std::string_view string) const {
    const std::optional<Token> token = vocab_.find(string);
    if (token) return *token;
    return file_.corrupt("a merge names a string that is not in the vocabulary", "a token's string", excerpt(string));
  }

  const VocabFile& file_;
  const Vocab& vocab_;
  std::string texts_;
  std::array<Question, kGroup> questions_;
  std::array<Tokens, kGroup> tokens_;
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
  const std::span<const MergeText> texts = file.merges;
  for (size_t first = 0; first < texts.size(); first += MergeResolver::kGroup) {
    const size_t count = std::min(MergeResolver::kGroup, texts.size() - first);
    FACET_TRY(const std::span<const MergeResolver::Tokens> group, resolver.resolve(texts.subspan(first, count)));
    for (const auto& [left, right, whole] : group)
      __builtin_prefetch(&merges.slots_[merges.slot_of(key_of(left, right))]);
    for (size_t i = 0; i < count; ++i) {
      const auto& [left, right, whole] = group[i];
      // Text can never become a marker or a byte token, whatever a file's merges say.
      if (!vocab.mergeable(left) || !vocab.mergeable(right) || !vocab.mergeable(whole)) continue;
      if (!merges.add(left, right, {static_cast<uint32_t>(first + i), whole})) return file.colliding("merges");
    }
  }
  return merges;
}

// A pair that comes twice keeps its first, better rank.
bool RankedMerges::add(Token left, Token right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t i = slot_of(key);
  for (size_t probe = 0; probe < kMaxProbes; ++probe, i = i + 1 == slots_.size() ? 0 : i + 1) {
    if (slots_[i].key == kFree) slots_[i] = {key, merge.rank, merge.result};
    if (slots_[i].key == key) return true;
  }
  return false;
}

ScoredPieces::ScoredPieces(const VocabFile& file, const Vocab& vocab) : vocab_(&vocab), ranks_(file.scores.size()) {
  std::ranges::transform(file.scores, ranks_.begin(), rank_of);
}

}  // namespace facet::tokenizer
