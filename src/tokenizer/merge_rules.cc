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
    Token left, right, whole;  // all -1 where one of them is not mergeable
  };

  MergeResolver(const VocabFile& file, const Vocab& vocab) : file_(file), vocab_(vocab) {}

  // The tokens of `merges`, at most kGroup of them; valid until the next call.
  Result<std::span<const Tokens>> resolve(std::span<const MergeText> merges) {
    write_texts(merges);
    const std::span<Question> questions = std::span(questions_).first(merges.size());
    for (Question& question : questions) ask(question);
    for (Question& question : questions) {
      question.left.token = vocab_.prefetch_offset(question.left.hash);
      question.right.token = vocab_.prefetch_offset(question.right.hash);
    }
    for (const Question& question : questions) {
      vocab_.prefetch_bytes(question.left.token);
      vocab_.prefetch_bytes(question.right.token);
    }
    for (size_t i = 0; i < merges.size(); ++i) FACET_TRY_VOID(answer(questions_[i], merges[i], tokens_[i]));
    return std::span<const Tokens>(tokens_).first(merges.size());
  }

 private:
  struct Part {
    uint64_t hash;
    Token token;  // that the look-up begins with
  };
  struct Question {
    std::string_view whole;  // left and right, with plain spaces
    size_t left_size;
    bool has_space;  // already in the file
    Part left, right;
  };

  // Writes the string with plain spaces. (They are short: a loop over bytes is faster than calls.)
  static char* write_spaced(std::string_view string, char* out, bool& has_space) {
    for (size_t i = 0; i < string.size(); ++i) {
      const bool mark = string[i] == kSpaceMark[0] && string.substr(i, kSpaceMark.size()) == kSpaceMark;
      has_space |= string[i] == ' ';
      *out++ = mark ? ' ' : string[i];
      if (mark) i += kSpaceMark.size() - 1;
    }
    return out;
  }

  void write_texts(std::span<const MergeText> merges) {
    size_t size = 0;
    for (const MergeText& merge : merges) size += merge.left.size() + merge.right.size();
    if (texts_.size() < size) texts_.resize(size);
    char* out = texts_.data();
    for (size_t i = 0; i < merges.size(); ++i) {
      char* const begin = out;
      bool& has_space = questions_[i].has_space = false;
      out = write_spaced(merges[i].left, out, has_space);
      questions_[i].left_size = static_cast<size_t>(out - begin);
      out = write_spaced(merges[i].right, out, has_space);
      questions_[i].whole = {begin, static_cast<size_t>(out - begin)};
    }
  }

  void ask(Question& question) const {
    question.left.hash = hash_text(question.whole.substr(0, question.left_size));
    question.right.hash = hash_text(question.whole.substr(question.left_size));
    vocab_.prefetch_place(question.left.hash);
    vocab_.prefetch_place(question.right.hash);
  }

  Result<void> answer(const Question& question, const MergeText& merge, Tokens& tokens) {
    tokens = {vocab_.find_piece(question.whole.substr(0, question.left_size), question.left.hash),
              vocab_.find_piece(question.whole.substr(question.left_size), question.right.hash),
              find_whole(question.whole)};
    if (!question.has_space && tokens.left >= 0 && tokens.right >= 0 && tokens.whole >= 0) return {};
    // Spaces of the file look like U+2581 here, and some strings are no pieces: look these up as they stand.
    FACET_TRY(tokens.left, find(merge.left));
    FACET_TRY(tokens.right, find(merge.right));
    FACET_TRY(tokens.whole, find(cat(merge.left, merge.right)));
    // Text can never become a marker or a byte token, whatever a file's merges say.
    if (!vocab_.mergeable(tokens.left) || !vocab_.mergeable(tokens.right) || !vocab_.mergeable(tokens.whole))
      tokens = {-1, -1, -1};
    return {};
  }

  // Files list all ways to make a token one after the other, and the tokens in the order of their ids: of Gemma 4's
  // merges, 1 in 400 must look it up.
  Token find_whole(std::string_view text) {
    if (vocab_.is_piece(last_whole_, text)) return last_whole_;
    return last_whole_ = vocab_.is_piece(last_whole_ + 1, text) ? last_whole_ + 1 : vocab_.find_piece(text);
  }

  Result<Token> find(std::string_view string) const {
    const std::optional<Token> token = vocab_.find(string);
    if (token) return *token;
    return file_.corrupt("a merge names a string that is not in the vocabulary", "a token's string", excerpt(string));
  }

  const VocabFile& file_;
  const Vocab& vocab_;
  Token last_whole_ = -1;
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
      if (whole < 0) continue;
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
