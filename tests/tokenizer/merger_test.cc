// The merger, the cutter and the windows against the obvious algorithm: find the best pair, merge it, start over.
#include <algorithm>
#include <map>

#include "base/random.h"
#include "base/utf8.h"
#include "tokenizer/merger.h"
#include "tokenizer/run_cutter.h"
#include "tokenizer/small_vocab.h"

namespace facet::tokenizer {
namespace {

using testing::SmallVocab;

constexpr std::string_view kMark = "\xE2\x96\x81";

// No cuts, no heap, no windows, no ids: strings only.
class Oracle {
 public:
  Oracle(const SmallVocab& vocab, Algorithm algorithm) : vocab_(vocab) {
    const std::vector<std::string>& strings = vocab.strings();
    for (size_t i = 0; i < strings.size(); ++i) ids_[strings[i]] = static_cast<Token>(i);
    if (algorithm == Algorithm::ranked_merges) {
      for (size_t i = 0; i < vocab.merges().size(); ++i) ranks_.emplace(vocab.merges()[i], static_cast<double>(i));
    } else {
      by_score_ = true;
    }
  }

  std::vector<Token> encode(std::string_view text) const {
    std::vector<std::string> symbols;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::max<size_t>(1, utf8_length(text.substr(at)));
      symbols.emplace_back(text[at] == ' ' ? kMark : text.substr(at, size));
      at += size;
    }
    for (;;) {
      size_t best = symbols.size();
      double best_rank = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const std::optional<double> rank = rank_of(symbols[i], symbols[i + 1]);
        if (rank && (best == symbols.size() || *rank < best_rank)) best = i, best_rank = *rank;
      }
      if (best == symbols.size()) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    std::vector<Token> tokens;
    for (const std::string& symbol : symbols) {
      if (const auto found = ids_.find(symbol); found != ids_.end()) {
        tokens.push_back(found->second);
      } else {
        for (const char byte : symbol) tokens.push_back(8 + static_cast<unsigned char>(byte));
      }
    }
    return tokens;
  }

 private:
  std::optional<double> rank_of(const std::string& left, const std::string& right) const {
    if (by_score_) {
      const auto whole = ids_.find(left + right);
      if (whole == ids_.end()) return std::nullopt;
      return -vocab_.scores()[static_cast<size_t>(whole->second)];
    }
    const auto rank = ranks_.find({left, right});
    return rank == ranks_.end() ? std::nullopt : std::optional(rank->second);
  }

  const SmallVocab& vocab_;
  std::map<std::string, Token> ids_;
  std::map<std::pair<std::string, std::string>, double> ranks_;
  bool by_score_ = false;
};

const std::vector<std::string> kAlphabet = {"a", "b", "c", std::string(kMark), "\n", "é", "世", "界"};

// Random merges of what is there already, so that words nest and compete. Merges never mix newlines when asked.
SmallVocab random_vocab(Random& random, int merges, bool mix_newlines) {
  SmallVocab vocab;
  vocab.add_characters({kAlphabet.begin(), kAlphabet.end() - 1});  // one character is no token
  const size_t first = vocab.strings().size() - (kAlphabet.size() - 1);
  for (int i = 0; i < merges; ++i) {
    const auto pick = [&] {
      return vocab.strings()[first + random.below(static_cast<uint32_t>(vocab.strings().size() - first))];
    };
    const std::string left = pick(), right = pick(), whole = left + right;
    const bool newline = whole.find('\n') != whole.npos;
    if (whole.size() > 24 || (newline && !mix_newlines)) continue;
    vocab.merge(left, right);
  }
  return vocab;
}

std::string random_text(Random& random, size_t characters, uint32_t variety) {
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    const std::string& character = kAlphabet[random.below(variety)];
    if (random.below(200) == 0) {
      text += static_cast<char>(0x80 + random.below(0x80));
    } else {
      text += character == kMark ? " " : character;
    }
  }
  return text;
}

TEST(Merger, AgreesWithTheObviousAlgorithm) {
  Random random(1);
  for (int round = 0; round < 150; ++round) {
    const SmallVocab vocab = random_vocab(random, 3 + round, round % 2 == 0);
    for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
      const Tokenizer tokenizer = testing::open(vocab.gguf(algorithm));
      const Oracle oracle(vocab, algorithm);
      for (const size_t length : {1, 2, 5, 20, 30, 80, 300}) {
        const std::string text = random_text(random, length, 2 + static_cast<uint32_t>(round) % 7);
        ASSERT_EQ(tokenizer.encode(text, Markers::no), oracle.encode(text)) << "round " << round << ": " << text;
      }
    }
  }
}

// Longer than a window, with words that reach over its border.
TEST(Merger, WindowsDoNotChangeTheTokensOfALongRun) {
  Random random(2);
  for (int round = 0; round < 6; ++round) {
    const SmallVocab vocab = random_vocab(random, 40, true);
    for (const Algorithm algorithm : {Algorithm::ranked_merges, Algorithm::scores}) {
      const Tokenizer tokenizer = testing::open(vocab.gguf(algorithm));
      const Oracle oracle(vocab, algorithm);
      const std::string text = random_text(random, 2500, 1 + static_cast<uint32_t>(round));
      ASSERT_EQ(tokenizer.encode(text, Markers::no), oracle.encode(text)) << "round " << round;
    }
  }
}

std::string two_bytes(size_t i) {
  const size_t code = 0x100 + i;
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// Every character merges with its neighbours, the later the better: the end of the run decides all of it, so the tokens
// of a window are wrong wherever it ends on the wrong foot. The merger must notice.
TEST(Merger, NoticesThatARunIsDecidedAtItsEnd) {
  constexpr size_t kCharacters = 1203;
  SmallVocab vocab;
  for (size_t i = 0; i < kCharacters; ++i) vocab.add(two_bytes(i));
  for (size_t i = kCharacters - 1; i > 0; --i) vocab.merge(two_bytes(i - 1), two_bytes(i));
  const Tokenizer tokenizer = testing::open(vocab.gguf());
  for (const size_t length : {kCharacters, kCharacters - 1}) {
    std::string text;
    for (size_t i = 0; i < length; ++i) text += two_bytes(i);
    std::vector<Token> expected;
    if (length % 2 == 1) expected.push_back(*tokenizer.find(two_bytes(0)));
    for (size_t i = length % 2; i < length; i += 2)
      expected.push_back(*tokenizer.find(two_bytes(i) + two_bytes(i + 1)));
    EXPECT_EQ(tokenizer.encode(text, Markers::no), expected) << length;
  }
}

TEST(Merger, RepeatedCharactersOfAnyNumberAgree) {
  SmallVocab vocab;
  vocab.add_characters({"x"});
  vocab.merge("x", "x");
  vocab.merge("xx", "xx");
  vocab.merge("xx", "x");
  vocab.merge("xxxx", "xxx");
  const Tokenizer tokenizer = testing::open(vocab.gguf());
  const Oracle oracle(vocab, Algorithm::ranked_merges);
  for (const size_t n : {1, 2, 3, 4, 5, 6, 7, 8, 23, 24, 25, 26, 27, 1023, 1024, 1025, 1500, 2049, 3001}) {
    const std::string text(n, 'x');
    EXPECT_EQ(tokenizer.encode(text, Markers::no), oracle.encode(text)) << n;
  }
}

TEST(RunCutter, CutsOnlyWhereNoPieceReaches) {
  Random random(3);
  const SmallVocab vocab = random_vocab(random, 30, false);
  const testing::GgufKeys keys = vocab.gguf();
  const formats::GgufMetadata metadata = keys.metadata();
  const Result<VocabFile> file = read_gguf_vocab(metadata, "test");
  ASSERT_OK(file);
  const Result<Vocab> built = Vocab::build(*file);
  ASSERT_OK(built);
  const RunCutter cutter(*built);
  EXPECT_FALSE(cutter.mixes_newlines());
  const std::string text = random_text(random, 3000, 8);
  size_t runs = 0;
  for (size_t at = 0; at < text.size(); ++runs) {
    const size_t end = cutter.run_end(text, at);
    ASSERT_GT(end, at);
    for (Token token = 0; token < built->size() && end < text.size(); ++token) {
      if (!built->mergeable(token)) continue;
      const std::string_view piece = built->piece(token);
      for (size_t inside = 1; inside < piece.size() && inside <= end; ++inside)
        ASSERT_NE(text.substr(end - inside, piece.size()), piece) << "a piece reaches over the cut at " << end;
    }
    at = end;
  }
  EXPECT_GT(runs, 100u);
}

}  // namespace
}  // namespace facet::tokenizer
