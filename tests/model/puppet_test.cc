#include "model/puppet.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "support/puppets.h"

namespace facet::model {
namespace {

using facet::testing::Kept;
using facet::testing::kLetters;
using facet::testing::letters;
using facet::testing::puppet_of;
using facet::testing::script_of;
using facet::testing::spelled;

// Runs text on a sequence; outputs at the last row (or at every one).
enum class At { last, every, nowhere };
Result<Kept> run(Puppet& puppet, SeqId id, std::string_view text, At at = At::last, Want want = Want::logits,
                 std::vector<RowSpan> spans = {}) {
  const std::vector<Token> tokens = letters(text);
  std::vector<int32_t> positions;
  std::vector<OutputRow> outputs;
  for (size_t i = 0; i < tokens.size(); ++i) {
    positions.push_back(static_cast<int32_t>(puppet.length(id)) + static_cast<int32_t>(i));
    if (at == At::every || (at == At::last && i + 1 == tokens.size()))
      outputs.push_back({.row = static_cast<int32_t>(i), .want = want, .token = 1});
  }
  const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(tokens.size())};
  Kept kept;
  FACET_TRY_VOID(puppet.forward({.tokens = tokens,
                                 .positions = positions,
                                 .sequences = {&range, 1},
                                 .soft = {},
                                 .bidirectional = spans,
                                 .outputs = outputs},
                                kept));
  return kept;
}

Token best(const std::vector<float>& logits) {
  return static_cast<Token>(std::ranges::max_element(logits) - logits.begin());
}

// What the puppet answers to a text, greedily, up to n tokens.
std::string answer(Puppet& puppet, SeqId id, std::string_view text, int n) {
  std::string said;
  std::string next(text);
  for (int i = 0; i < n; ++i) {
    const Result<Kept> kept = run(puppet, id, next);
    if (!kept) return said + "!" + kept.error().message();
    const Token token = best(kept->all_logits.at(0));
    next = spelled({&token, 1});
    said += next;
  }
  return said;
}

SeqId fresh(Puppet& puppet) {
  Result<SeqId> id = puppet.create_sequence();
  EXPECT_OK(id);
  return *id;
}

struct Memory : ByteSink, ByteReader {
  std::vector<std::byte> bytes;
  size_t at = 0;
  Result<void> write(Bytes part) override {
    bytes.insert(bytes.end(), part.begin(), part.end());
    return {};
  }
  Result<void> read(std::span<std::byte> out) override {
    if (out.size() > bytes.size() - at) return Error{.code = ErrorCode::corrupt, .what = "the end"};
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), out.size(), out.begin());
    at += out.size();
    return {};
  }
};

TEST(Puppet, SaysWhatTheFirstFittingAnswerSaysThenEnds) {
  const auto puppet = puppet_of(R"("answers": [{"after": "how", "say": "so"}, {"after": [23, 8, 25], "say": ["b", 3]},
                                              {"say": "eh", "repeat": true}])");
  EXPECT_EQ(answer(*puppet, fresh(*puppet), "tell me how", 5), "so...");
  EXPECT_EQ(answer(*puppet, fresh(*puppet), "why", 3), "bc.");
  EXPECT_EQ(answer(*puppet, fresh(*puppet), "x", 5), "ehehe");
}

TEST(Puppet, WithoutAFittingAnswerItEndsAtOnce) {
  const auto puppet = puppet_of(R"("end": "z", "answers": [{"after": "how", "say": "so"}])");
  EXPECT_EQ(answer(*puppet, fresh(*puppet), "what", 2), "zz");
}

TEST(Puppet, AnAnswerStartsAnewWhereNewTextWasRead) {
  const auto puppet = puppet_of(R"("answers": [{"after": "hi", "say": "hello"}, {"say": "bye"}])");
  const SeqId id = fresh(*puppet);
  EXPECT_EQ(answer(*puppet, id, "hi", 4), "hell");
  EXPECT_EQ(answer(*puppet, id, "so long", 4), "bye.");
}

TEST(Puppet, ScriptedLogitsComeAsWritten) {
  const auto puppet = puppet_of(R"("answers": [{"say": [{"logits": [["b", 2.5], [3, -1]], "rest": -7},
      {"values": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27.5]}, "a"]}])");
  const SeqId id = fresh(*puppet);
  std::vector<float> expected(kLetters, -7);
  expected[2] = 2.5f;
  expected[3] = -1;
  EXPECT_EQ(run(*puppet, id, "x")->all_logits.at(0), expected);
  EXPECT_EQ(run(*puppet, id, "b")->all_logits.at(0).at(27), 27.5f);
  const std::vector<float> said = run(*puppet, id, "a")->all_logits.at(0);
  EXPECT_EQ(said[1], 30);
  EXPECT_EQ(said[2], -30);
}

TEST(Puppet, BreaksWhereToldTo) {
  const auto puppet =
      puppet_of(R"("answers": [{"say": ["a", {"broken": "nan"}, {"broken": "infinite"}, {"error": "unplugged"}]}])");
  const SeqId id = fresh(*puppet);
  EXPECT_EQ(best(run(*puppet, id, "x")->all_logits.at(0)), 1);
  EXPECT_TRUE(std::isnan(run(*puppet, id, "a")->all_logits.at(0).at(5)));
  EXPECT_TRUE(std::isinf(run(*puppet, id, "a")->all_logits.at(0).at(5)));
  const Result<Kept> failed = run(*puppet, id, "a");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_EQ(failed.error().message(), "puppet: unplugged");
  EXPECT_EQ(puppet->length(id), 3) << "a failed call changes no length";
}

TEST(Puppet, IsAsSlowAsTold) {
  double slept = 0;
  const auto puppet = puppet_of(
      R"("delay": {"prompt_row_ms": 2, "token_ms": 10}, "answers": [{"say": ["a", {"token": "b", "ms": 100}]}])",
      [&](double ms) { slept += ms; });
  const SeqId id = fresh(*puppet);
  ASSERT_OK(run(*puppet, id, "abc"));
  EXPECT_EQ(slept, 2 * 2 + 10);
  ASSERT_OK(run(*puppet, id, "a"));
  EXPECT_EQ(slept, 14 + 110);
}

TEST(Puppet, HiddenStatesDependOnTheTokenAndLogprobsOnTheScript) {
  const auto puppet = puppet_of(R"("width": 8, "answers": [{"say": [{"logits": [["a", 1]], "rest": 0}]}])");
  const Result<Kept> hidden = run(*puppet, fresh(*puppet), "aba", At::every, Want::hidden);
  ASSERT_OK(hidden);
  EXPECT_EQ(hidden->all_hidden.at(0), hidden->all_hidden.at(2));
  EXPECT_NE(hidden->all_hidden.at(0), hidden->all_hidden.at(1));
  for (const float x : hidden->all_hidden.at(0)) EXPECT_LE(std::fabs(x), 1);
  EXPECT_NEAR(run(*puppet, fresh(*puppet), "x", At::last, Want::logprob)->all_logprobs.at(0),
              1 - std::log(std::exp(1.0) + kLetters - 1), 1e-6);
}

TEST(Puppet, RefusesBatchesThatARealModelCouldNotRun) {
  const auto small = puppet_of(R"("batch_rows": 4, "context": 6, "answers": [])");
  const SeqId id = fresh(*small);
  ASSERT_OK(run(*small, id, "abc"));
  EXPECT_EQ(run(*small, id, "abcde").error().code, ErrorCode::invalid_argument) << "rows";
  EXPECT_EQ(run(*small, id, "abcd").error().code, ErrorCode::exhausted) << "context";
  EXPECT_EQ(run(*small, id, "ab", At::last, Want::hidden).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(run(*small, id, "ab", At::last, Want::logits, {{1, 2}}).error().code, ErrorCode::invalid_argument)
      << "span";

  const auto refused = [&](Token token, int32_t position, SeqId sequence, int32_t rows, int32_t output) {
    const SeqRange range{.sequence = sequence, .first_row = 0, .rows = rows};
    const OutputRow wanted{.row = output};
    Kept kept;
    const Result<void> result = small->forward({.tokens = {&token, 1},
                                                .positions = {&position, 1},
                                                .sequences = {&range, 1},
                                                .soft = {},
                                                .bidirectional = {},
                                                .outputs = {&wanted, 1}},
                                               kept);
    return !result && result.error().code == ErrorCode::invalid_argument;
  };
  EXPECT_FALSE(refused(1, 3, id, 1, 0)) << "a good batch";
  EXPECT_TRUE(refused(kLetters, 4, id, 1, 0)) << "token";
  EXPECT_TRUE(refused(1, 5, id, 1, 0)) << "position";
  EXPECT_TRUE(refused(1, 4, id + 1, 1, 0)) << "sequence";
  EXPECT_TRUE(refused(1, 4, id, 2, 0)) << "rows of the sequence";
  EXPECT_TRUE(refused(1, 4, id, 1, 1)) << "output";
  EXPECT_EQ(small->length(id), 4);
}

TEST(Puppet, ForksAndTruncatesLikeACache) {
  const auto puppet = puppet_of(R"("answers": [{"say": "abcdef"}])");
  const SeqId id = fresh(*puppet);
  EXPECT_EQ(answer(*puppet, id, "xy", 4), "abcd");  // holds x y a b c
  const Result<SeqId> fork = puppet->fork(id, 4);   // x y a b
  ASSERT_OK(fork);
  EXPECT_EQ(puppet->rows_in_use(), 5);
  EXPECT_EQ(answer(*puppet, *fork, "c", 2), "de") << "knows where in the answer it is";
  EXPECT_EQ(puppet->truncate(id, 3), 3);
  EXPECT_EQ(answer(*puppet, id, "b", 2), "cd");
  EXPECT_EQ(puppet->fork(id, 99).error().code, ErrorCode::invalid_argument);
  puppet->release(id);
  puppet->release(*fork);
  EXPECT_EQ(puppet->rows_in_use(), 0);
}

TEST(Puppet, CommittedFrontsCannotBeResumed) {
  const auto puppet = puppet_of(R"("window": 4, "answers": [])");
  const SeqId id = fresh(*puppet);
  ASSERT_OK(run(*puppet, id, "abcdefghij"));
  puppet->commit(id, 8);
  EXPECT_EQ(puppet->rows_in_use(), 10 - 5);
  EXPECT_EQ(puppet->fork(id, 7).error().code, ErrorCode::invalid_argument);
  EXPECT_OK(puppet->fork(id, 8));
  EXPECT_EQ(puppet->truncate(id, 9), 9);
  EXPECT_EQ(puppet->truncate(id, 7), 0) << "row 4 is gone";
}

TEST(Puppet, SpansAreNoResumePoints) {
  const auto puppet = puppet_of(R"("answers": [])");
  const SeqId id = fresh(*puppet);
  ASSERT_OK(run(*puppet, id, "ab", At::nowhere));
  ASSERT_OK(run(*puppet, id, "cdefg", At::last, Want::logits, {{1, 3}}));  // positions 3, 4, 5
  EXPECT_FALSE(puppet->fork(id, 4));
  EXPECT_OK(puppet->fork(id, 3));
  EXPECT_EQ(puppet->truncate(id, 6), 6);
  EXPECT_EQ(puppet->truncate(id, 5), 3);
}

TEST(Puppet, TheRoomOfTheCacheIsAsGiven) {
  const auto puppet = puppet_of(R"("cache_rows": 5, "answers": [])");
  const SeqId a = fresh(*puppet), b = fresh(*puppet);
  ASSERT_OK(run(*puppet, a, "abc"));
  EXPECT_EQ(run(*puppet, b, "abc").error().code, ErrorCode::exhausted);
  EXPECT_EQ(puppet->length(b), 0);
  puppet->release(a);
  EXPECT_OK(run(*puppet, b, "abc"));
}

TEST(Puppet, RestoresWhatItSaved) {
  const char* script = R"("window": 3, "answers": [{"say": "abcdef"}])";
  const auto puppet = puppet_of(script), other = puppet_of(script);
  const SeqId id = fresh(*puppet);
  EXPECT_EQ(answer(*puppet, id, "xy", 4), "abcd");
  puppet->commit(id, 5);
  Memory memory;
  ASSERT_OK(puppet->save(id, memory));
  const Result<SeqId> restored = other->restore(memory);
  ASSERT_OK(restored);
  EXPECT_EQ(other->length(*restored), 5);
  EXPECT_EQ(other->rows_in_use(), puppet->rows_in_use());
  EXPECT_EQ(answer(*other, *restored, "d", 2), "ef");
}

TEST(Puppet, SavedBytesThatWereDamagedAreErrorsNeverCrashes) {
  const auto puppet = puppet_of(R"("window": 3, "context": 64, "answers": [{"say": "abcdef"}])");
  const SeqId id = fresh(*puppet);
  ASSERT_OK(run(*puppet, id, "xyz", At::last, Want::logits, {{1, 2}}));
  Memory whole;
  ASSERT_OK(puppet->save(id, whole));
  for (size_t n = 0; n < whole.bytes.size(); ++n) {
    Memory cut;
    cut.bytes.assign(whole.bytes.begin(), whole.bytes.begin() + static_cast<ptrdiff_t>(n));
    EXPECT_FALSE(puppet->restore(cut)) << n;
  }
  for (size_t bit = 0; bit < whole.bytes.size() * 8; ++bit) {  // whatever is accepted must work
    Memory flipped;
    flipped.bytes = whole.bytes;
    flipped.bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    const Result<SeqId> restored = puppet->restore(flipped);
    if (!restored) continue;
    if (puppet->length(*restored) < 60) EXPECT_OK(run(*puppet, *restored, "ab"));
    puppet->release(*restored);
  }
}

TEST(Puppet, RandomProgramsEqualAFreshRun) {
  // The place in the script depends on where outputs were asked for, so the model of what is right records that too.
  const auto puppet =
      puppet_of(R"("window": 5, "answers": [{"after": "a", "say": "bcd", "repeat": true}, {"say": "xyz"}])");
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  struct Mirror {
    SeqId id;
    std::vector<std::pair<std::string, At>> calls;  // one row each
  };
  std::vector<Mirror> live = {{fresh(*puppet), {}}};
  for (int step = 0; step < 2000; ++step) {
    Mirror& m = live[static_cast<size_t>(below(static_cast<int>(live.size())))];
    const int64_t length = static_cast<int64_t>(m.calls.size());
    switch (below(5)) {
      case 0:
        if (const int64_t kept = puppet->truncate(m.id, below(static_cast<int>(length) + 1)); kept >= 0)
          m.calls.resize(static_cast<size_t>(kept));
        break;
      case 1: puppet->commit(m.id, below(static_cast<int>(length) + 1)); break;
      case 2:
        if (live.size() < 6) {
          const int64_t at = below(static_cast<int>(length) + 1);
          if (const Result<SeqId> fork = puppet->fork(m.id, at))
            live.push_back({*fork, {m.calls.begin(), m.calls.begin() + at}});
        } else {
          puppet->release(live.back().id);
          live.pop_back();
        }
        break;
      default: {
        const char letter[] = {static_cast<char>('a' + below(3)), 0};
        const At at = below(2) == 0 ? At::last : At::nowhere;
        const Result<Kept> got = run(*puppet, m.id, letter, at);
        ASSERT_OK(got);
        m.calls.emplace_back(letter, at);
        if (at == At::nowhere) break;
        const auto clean = puppet_of(R"("answers": [{"after": "a", "say": "bcd", "repeat": true}, {"say": "xyz"}])");
        const SeqId id = fresh(*clean);
        Result<Kept> expected = Kept();
        for (const auto& call : m.calls) expected = run(*clean, id, call.first, call.second);
        ASSERT_OK(expected);
        ASSERT_EQ(got->all_logits, expected->all_logits) << "step " << step;
      }
    }
  }
}

// --- The file ---

std::string complaint(std::string_view members) {
  const Result<PuppetScript> script = script_of(members);
  return script ? "accepted" : script.error().message();
}

TEST(PuppetScript, MistakesAreNamed) {
  EXPECT_EQ(complaint(R"("answers": [])"), "accepted");
  EXPECT_EQ(complaint(R"("context": 5)"), "test.json: member is missing: expected answers, found none");
  EXPECT_EQ(complaint(R"("answers": {})"),
            "test.json: answers: has the wrong kind: expected an array, found an object");
  EXPECT_EQ(complaint(R"("answers": [{}])"), "test.json: answers[0]: member is missing: expected say, found none");
  EXPECT_EQ(complaint(R"("answers": [{"say": "a", "says": 1}])"),
            "test.json: answers[0]: unknown member: expected [after, say, repeat], found says");
  EXPECT_EQ(complaint(R"("answers": [{"say": [28]}])"),
            "test.json: answers[0]: say[0]: token is not in the vocabulary: expected 0 to 27, found 28");
  EXPECT_EQ(complaint(R"("answers": [{"say": [{"token": "ab"}]}])"),
            "test.json: answers[0]: say[0]: token: \"ab\" is not one token: expected 1 token, found 2");
  EXPECT_EQ(complaint(R"("answers": [{"say": [{"logits": [["a", 1], [1, 2]]}]}])"),
            "test.json: answers[0]: say[0]: logits[1]: token given twice: expected each token once, found 1");
  EXPECT_EQ(complaint(R"("answers": [{"say": [{"values": [1, 2]}]}])"),
            "test.json: answers[0]: say[0]: values: has the wrong length: expected 28, found 2");
  EXPECT_EQ(complaint(R"("context": 0, "answers": [])"),
            "test.json: context: out of range: expected 1 to 16777216, found 0");
}

TEST(PuppetScript, EveryKindOfNonsenseIsRefused) {
  for (const char* members : {R"("answers": [7])",
                              R"("answers": [{"say": {}}])",
                              R"("answers": [{"say": [null]}])",
                              R"("answers": [{"say": [1.5]}])",
                              R"("answers": [{"say": [{"token": 1, "broken": "nan"}]}])",
                              R"("answers": [{"say": [{"broken": "yes"}]}])",
                              R"("answers": [{"say": [{"error": ""}]}])",
                              R"("answers": [{"say": [{"token": 1, "rest": 1}]}])",
                              R"("answers": [{"say": [{"token": 1, "ms": -1}]}])",
                              R"("answers": [{"say": [{"token": 1, "ms": 1e9}]}])",
                              R"("answers": [{"say": [{"logits": [[1, 1e300]]}]}])",
                              R"("answers": [{"say": [{"logits": [[1]]}]}])",
                              R"("answers": [{"say": [{"logits": 3}]}])",
                              R"("answers": [{"say": "", "repeat": true}])",
                              R"("answers": [{"say": "a", "repeat": 1}])",
                              R"("answers": [{"say": "a", "after": 3}])",
                              R"("answers": [], "end": "ab")",
                              R"("answers": [], "end": -1)",
                              R"("answers": [], "delay": 3)",
                              R"("answers": [], "delay": {"token_ms": "x"})",
                              R"("answers": [], "delay": {"speed": 1})",
                              R"("answers": [], "batch_rows": "many")",
                              R"("answers": [], "window": -1)",
                              R"("answers": [], "size": "huge")",
                              R"("answers": [], "colour": 1)"})
    EXPECT_NE(complaint(members), "accepted") << members;
}

TEST(PuppetScript, SaysWhichFilesItNeeds) {
  const auto files = [](std::string_view text) {
    const Result<Json> json = Json::parse(text, "p.json");
    EXPECT_OK(json);
    return puppet_files(*json, "p.json");
  };
  const Result<PuppetFiles> good = files(R"({"puppet": 1, "vocabulary": "v.gguf", "size": "large", "answers": []})");
  ASSERT_OK(good);
  EXPECT_EQ(good->vocabulary, "v.gguf");
  EXPECT_EQ(good->large_model, true);
  EXPECT_EQ(files(R"({"puppet": 2, "vocabulary": "v"})").error().code, ErrorCode::unsupported);
  EXPECT_EQ(files(R"({"vocabulary": "v"})").error().code, ErrorCode::unsupported);
  EXPECT_FALSE(files(R"({"puppet": 1})"));
  EXPECT_FALSE(files(R"({"puppet": 1, "vocabulary": ""})"));
  EXPECT_FALSE(files(R"([1])"));
}

}  // namespace
}  // namespace facet::model
