#include "runtime/generate.h"

#include <algorithm>
#include <limits>

#include "support/count_allocations.h"
#include "support/puppets.h"

namespace facet::runtime {
namespace {

using facet::testing::letters;
using facet::testing::puppet_of;
using facet::testing::spelled;
using model::Puppet;

const auto kQuiet = [](const Event&) { return true; };

Sampler greedy(int64_t vocab = facet::testing::kLetters) {
  return Sampler({.temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 0, .logprobs = 0}, {}, vocab);
}

GenerateOptions until_end(int64_t max_tokens = -1) { return {.stop_tokens = {0}, .max_tokens = max_tokens}; }

Sequence sequence_of(model::LanguageModel& model) {
  Result<Sequence> sequence = Sequence::create(model);
  EXPECT_OK(sequence);
  return *std::move(sequence);
}

Result<Generated> say(Sequence& sequence, std::string_view prompt, const GenerateOptions& options = until_end()) {
  Sampler sampler = greedy();
  return sequence.generate(letters(prompt), options, sampler, kQuiet);
}

// What forward() was given, in front of any model.
class Recorder : public model::LanguageModel {
 public:
  explicit Recorder(model::LanguageModel& inner) : inner_(inner) {}
  std::vector<std::string> chunks;  // rows of each call, spelled; "|" before a span, "+" where outputs are wanted
  std::vector<Skip> skips;
  std::string order;  // rows that ran, and behind "?" those that were announced
  Limits limits() const override { return inner_.limits(); }
  Result<SeqId> create_sequence() override { return inner_.create_sequence(); }
  Result<SeqId> fork(SeqId id, int64_t length) override { return inner_.fork(id, length); }
  void release(SeqId id) override { inner_.release(id); }
  int64_t length(SeqId id) const override { return inner_.length(id); }
  int64_t truncate(SeqId id, int64_t length) override { return inner_.truncate(id, length); }
  void commit(SeqId id, int64_t length) override { inner_.commit(id, length); }
  Result<void> save(SeqId id, model::ByteSink& out) const override { return inner_.save(id, out); }
  Result<SeqId> restore(model::ByteReader& in) override { return inner_.restore(in); }
  void prefetch(std::span<const Token> tokens) override { order += "?" + spelled(tokens) + " "; }
  Result<void> forward(const Batch& batch, ResultSink& sink) override {
    FACET_TRY_VOID(inner_.forward(batch, sink));
    order += spelled(batch.tokens) + " ";
    std::string text;
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      for (const RowSpan& span : batch.bidirectional)
        if (span.first_row == static_cast<int32_t>(i)) text += '|';
      text += spelled(batch.tokens.subspan(i, 1));
    }
    chunks.push_back(text + (batch.outputs.empty() ? "" : "+"));
    skips.push_back(batch.skip);
    return {};
  }

 private:
  model::LanguageModel& inner_;
};

TEST(Generate, WritesUntilAStopTokenAndDoesNotRunIt) {
  const auto puppet = puppet_of(R"("answers": [{"say": "hello"}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, "say");
  ASSERT_OK(out);
  EXPECT_EQ(spelled(out->tokens), "hello.");
  EXPECT_EQ(out->finish, Finish::stop_token);
  EXPECT_EQ(spelled(sequence.tokens()), "sayhello");
}

TEST(Generate, ReportsProgressAndEveryToken) {
  const auto puppet = puppet_of(R"("batch_rows": 2, "answers": [{"say": "ok"}])");
  Sequence sequence = sequence_of(*puppet);
  Sampler sampler = greedy();
  std::string seen;
  const Result<Generated> out = sequence.generate(letters("abcde"), until_end(), sampler, [&](const Event& event) {
    seen += event.sampled != nullptr ? spelled({&event.sampled->token, 1}) : std::to_string(event.prompt_done);
    EXPECT_EQ(event.prompt_total, 5);
    return true;
  });
  ASSERT_OK(out);
  EXPECT_EQ(seen, "0245ok.");
}

TEST(Generate, StopsAtTheLengthAskedFor) {
  const auto puppet = puppet_of(R"("answers": [{"say": "hello"}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, "say", until_end(3));
  ASSERT_OK(out);
  EXPECT_EQ(spelled(out->tokens), "hel");
  EXPECT_EQ(out->finish, Finish::length);
}

TEST(Generate, ZeroTokensOnlyReadsThePrompt) {
  const auto puppet = puppet_of(R"("answers": [{"say": "hello"}])");
  Recorder recorder(*puppet);
  Sequence sequence = sequence_of(recorder);
  const Result<Generated> out = say(sequence, "say", until_end(0));
  ASSERT_OK(out);
  EXPECT_TRUE(out->tokens.empty());
  EXPECT_EQ(out->finish, Finish::length);
  EXPECT_EQ(recorder.chunks, (std::vector<std::string>{"say"})) << "no output was asked for";
}

TEST(Generate, TheEndOfTheContextIsAnAnswerOfReasonLength) {
  const auto puppet = puppet_of(R"("context": 6, "answers": [{"say": "x", "repeat": true}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, "abc");
  ASSERT_OK(out);
  EXPECT_EQ(spelled(out->tokens), "xxxx") << "three fit behind the prompt, the fourth is chosen but has no place";
  EXPECT_EQ(out->finish, Finish::length);
  EXPECT_EQ(sequence.tokens().size(), 6u);
}

TEST(Generate, APromptThatFillsTheContextStillGetsOneToken) {
  const auto puppet = puppet_of(R"("context": 3, "answers": [{"say": "x"}])");
  Sequence sequence = sequence_of(*puppet);
  EXPECT_EQ(spelled(say(sequence, "abc")->tokens), "x");
  const Result<Generated> longer = say(sequence, "abcd");
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::exhausted);
  EXPECT_EQ(longer.error().message(),
            "prompt: the prompt does not fit into the context: expected at most 3 tokens, found 4");
}

TEST(Generate, BadPromptsAreRefusedAndChangeNothing) {
  const auto puppet = puppet_of(R"("batch_rows": 4, "answers": [{"say": "x"}])");
  Sequence sequence = sequence_of(*puppet);
  ASSERT_OK(say(sequence, "abc"));
  Sampler sampler = greedy();
  const auto code = [&](std::vector<Token> prompt, std::vector<RowSpan> spans) {
    GenerateOptions options = until_end();
    options.bidirectional = spans;
    const Result<Generated> out = sequence.generate(prompt, options, sampler, kQuiet);
    return out ? "accepted" : name(out.error().code);
  };
  EXPECT_STREQ(code({}, {}), "invalid argument");
  EXPECT_STREQ(code({1, 28}, {}), "invalid argument");
  EXPECT_STREQ(code({1, -1}, {}), "invalid argument");
  EXPECT_STREQ(code(letters("abcdef"), {{1, 5}}), "invalid argument") << "longer than a batch";
  EXPECT_STREQ(code(letters("abcdef"), {{4, 3}}), "invalid argument") << "beyond the end";
  EXPECT_STREQ(code(letters("abcdef"), {{2, 2}, {3, 2}}), "invalid argument") << "overlapping";
  EXPECT_STREQ(code(letters("abcdef"), {{2, 0}}), "invalid argument") << "empty";
  EXPECT_EQ(spelled(sequence.tokens()), "abcx");
}

TEST(Generate, ChunkBordersInsideASpanMoveToItsStart) {
  const auto puppet = puppet_of(R"("batch_rows": 4, "answers": [{"say": ""}])");
  Recorder recorder(*puppet);
  Sequence sequence = sequence_of(recorder);
  const std::vector<RowSpan> spans = {{3, 3}, {6, 2}, {9, 4}};
  GenerateOptions options = until_end();
  options.bidirectional = spans;
  options.skip_work = false;
  ASSERT_OK(say(sequence, "abcdefghijklmn", options));
  EXPECT_EQ(recorder.chunks, (std::vector<std::string>{"abc", "|def", "|ghi", "|jklm", "n+"}));
  EXPECT_EQ(recorder.skips.front(), Skip::off);
}

TEST(Generate, ASpanIsNeverResumedInside) {
  const auto puppet = puppet_of(R"("answers": [{"say": ""}])");
  Recorder recorder(*puppet);
  Sequence sequence = sequence_of(recorder);
  const std::vector<RowSpan> spans = {{2, 3}};
  GenerateOptions options = until_end();
  options.bidirectional = spans;
  ASSERT_OK(say(sequence, "abcde", options));
  ASSERT_OK(say(sequence, "abcde", options));
  EXPECT_EQ(recorder.chunks, (std::vector<std::string>{"ab|cde+", "|cde+"})) << "the last token lies in the span";
}

TEST(Generate, ResumesAtTheLongestCommonPrefix) {
  const auto puppet = puppet_of(R"("answers": [{"after": "b", "say": "one"}, {"say": "two"}])");
  Recorder recorder(*puppet);
  Sequence sequence = sequence_of(recorder);
  ASSERT_OK(say(sequence, "ab"));
  const Result<Generated> more = say(sequence, "abonexy");
  ASSERT_OK(more);
  EXPECT_EQ(more->cached_tokens, 5);
  EXPECT_EQ(spelled(more->tokens), "two.");
  const Result<Generated> again = say(sequence, "ab");
  ASSERT_OK(again);
  EXPECT_EQ(again->cached_tokens, 1) << "the last token runs again: only a row that runs has logits";
  EXPECT_EQ(spelled(again->tokens), "one.");
  EXPECT_EQ(say(sequence, "zz")->cached_tokens, 0);
}

TEST(Generate, CancellingLeavesAValidPrefix) {
  const auto puppet = puppet_of(R"("batch_rows": 2, "answers": [{"say": "hello"}])");
  Sequence sequence = sequence_of(*puppet);
  Sampler sampler = greedy();
  Result<Generated> out = sequence.generate(letters("abcdef"), until_end(), sampler,
                                            [](const Event& event) { return event.prompt_done < 4; });
  ASSERT_OK(out);
  EXPECT_EQ(out->finish, Finish::cancelled);
  EXPECT_EQ(spelled(sequence.tokens()), "abcd");

  int left = 2;
  out = sequence.generate(letters("abcdef"), until_end(), sampler,
                          [&](const Event& event) { return event.sampled == nullptr || --left > 0; });
  ASSERT_OK(out);
  EXPECT_EQ(out->finish, Finish::cancelled);
  EXPECT_EQ(out->cached_tokens, 4);
  EXPECT_EQ(spelled(out->tokens), "he");
  EXPECT_EQ(spelled(sequence.tokens()), "abcdefh") << "a cancelled token is not run";
  EXPECT_EQ(spelled(say(sequence, "abcdef")->tokens), "hello.");
}

TEST(Generate, NumbersThatAreNotFiniteNameThePositionAndSpoilTheCache) {
  const auto puppet = puppet_of(R"("answers": [{"after": "b", "say": ["x", {"broken": "nan"}]}, {"say": "fine"}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, "ab");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, ErrorCode::non_finite);
  EXPECT_EQ(out.error().where, "logits of position 2, token id 0");
  EXPECT_TRUE(sequence.tokens().empty());
  const Result<Generated> next = say(sequence, "abc");
  ASSERT_OK(next);
  EXPECT_EQ(next->cached_tokens, 0) << "keys of a failed answer must not be reused";
  EXPECT_EQ(spelled(next->tokens), "fine.");
}

TEST(Generate, AModelErrorLeavesTheSequenceUsable) {
  const auto puppet =
      puppet_of(R"("answers": [{"after": "b", "say": ["x", {"error": "unplugged"}]}, {"say": "fine"}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, "ab");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().message(), "puppet: unplugged");
  EXPECT_EQ(spelled(sequence.tokens()), "ab");
  const Result<Generated> next = say(sequence, "abcd");
  ASSERT_OK(next);
  EXPECT_EQ(next->cached_tokens, 2);
  EXPECT_EQ(spelled(next->tokens), "fine.");
}

TEST(Generate, TellsTheConstraintEveryTokenThatIsKept) {
  struct NoH : Constraint {
    std::vector<Token> accepted;
    void allow(std::span<uint64_t> mask) override { mask[0] &= ~(uint64_t{1} << letters("h")[0]); }
    std::optional<Token> forced() override { return {}; }
    void accept(Token token) override { accepted.push_back(token); }
    void rollback(int) override {}
  } constraint;
  const auto puppet = puppet_of(R"("answers": [{"say": [{"logits": [["h", 9], ["j", 8]]}, "i"]}])");
  Sequence sequence = sequence_of(*puppet);
  GenerateOptions options = until_end();
  options.constraint = &constraint;
  const Result<Generated> out = say(sequence, "a", options);
  ASSERT_OK(out);
  EXPECT_EQ(spelled(out->tokens), "ji.");
  EXPECT_EQ(constraint.accepted, out->tokens);
}

// --- A cache that has to forget: window 8, room for 24 rows ---

constexpr const char* kTight = R"("context": 200, "batch_rows": 6, "window": 8, "cache_rows": 24,
    "answers": [{"say": "abcdefghijklmnopqrstuvwxyz"}])";
const std::string kPrompt = "thequickbrownfoxjumpsoverthelazydogandrunsaway";

TEST(Generate, ReadsAndWritesFarBeyondTheRoomOfTheWindow) {
  const auto puppet = puppet_of(kTight);
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, kPrompt);
  ASSERT_OK(out);
  EXPECT_EQ(spelled(out->tokens), "abcdefghijklmnopqrstuvwxyz.");
}

TEST(Generate, ResumesAtTheEndOfTheLastPromptThoughTheAnswerFilledTheWindow) {
  const auto puppet = puppet_of(kTight);
  Sequence sequence = sequence_of(*puppet);
  ASSERT_OK(say(sequence, kPrompt, until_end(15)));
  const int64_t run = puppet->rows_run();
  const Result<Generated> next = say(sequence, kPrompt + "xx", until_end(15));
  ASSERT_OK(next);
  EXPECT_EQ(next->cached_tokens, static_cast<int64_t>(kPrompt.size()));
  EXPECT_EQ(puppet->rows_run() - run, 2 + 14);
  // And once more: the fork became the sequence, and a new one was made.
  EXPECT_EQ(say(sequence, kPrompt + "xx", until_end(15))->cached_tokens, static_cast<int64_t>(kPrompt.size()) + 1);
}

TEST(Generate, GivesTheForkUpBeforeItFails) {
  const auto puppet =
      puppet_of(R"("batch_rows": 6, "window": 8, "cache_rows": 14, "answers": [{"say": "abc", "repeat": true}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, kPrompt, until_end(40));
  ASSERT_OK(out);
  EXPECT_EQ(out->tokens.size(), 40u);
  EXPECT_EQ(say(sequence, kPrompt + "xx", until_end(1))->cached_tokens, 0) << "nothing was left to resume from";
}

TEST(Generate, ACacheTooSmallForOneChunkIsAnErrorAndTheSequenceSurvives) {
  const auto puppet = puppet_of(R"("batch_rows": 6, "window": 8, "cache_rows": 10, "answers": [{"say": "abc"}])");
  Sequence sequence = sequence_of(*puppet);
  const Result<Generated> out = say(sequence, kPrompt);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, ErrorCode::exhausted);
  EXPECT_EQ(spelled(sequence.tokens()), "thequi");
  EXPECT_EQ(spelled(say(sequence, "the")->tokens), "abc.");
}

// Everything on that reads the tokens in front.
SamplerOptions penalties() {
  SamplerOptions options{.temperature = 0};
  options.penalties = {.repeat = 1.1f, .frequency = 0.1f, .presence = 0.1f, .last_n = -1};
  options.dry = {.multiplier = 0.1f, .base = 1};  // a loop goes on
  options.bias = {{3, 0.5f}};
  return options;
}

TEST(Generate, PenaltiesCountThePromptAndTheAnswer) {
  // Logits 5 for a, b and c alike: each is taken once it occurred least often.
  const auto puppet =
      puppet_of(R"("answers": [{"say": [{"logits": [["a", 5], ["b", 5], ["c", 5]], "rest": -60}], "repeat": true}])");
  SamplerOptions options{.temperature = 0};
  options.penalties = {.frequency = 1, .last_n = -1};
  const auto answer = [&](std::string_view prompt, Sequence& sequence) {
    Sampler sampler(options, {}, facet::testing::kLetters);
    return spelled(sequence.generate(letters(prompt), until_end(7), sampler, kQuiet)->tokens);
  };
  Sequence sequence = sequence_of(*puppet);
  EXPECT_EQ(answer("aaab", sequence), "cbcbcab");
  EXPECT_EQ(answer("aaab", sequence), "cbcbcab") << "of a prompt that was there already";
  EXPECT_EQ(answer("aaabcb", sequence), "cbcabca") << "and of one that is partly the answer";
  Sequence fresh = sequence_of(*puppet);
  EXPECT_EQ(answer("aaabcb", fresh), "cbcabca");
  options.penalties.last_n = 1;
  EXPECT_EQ(answer("aaab", sequence), "abababa") << "only the last token counts";
}

TEST(Generate, DryBreaksALoop) {
  const auto puppet =
      puppet_of(R"("answers": [{"say": [{"logits": [["a", 5], ["b", 4]], "rest": -60}], "repeat": true}])");
  Sequence sequence = sequence_of(*puppet);
  SamplerOptions options{.temperature = 0};
  options.dry = {.multiplier = 0.8f};
  Sampler sampler(options, {}, facet::testing::kLetters);
  const Result<Generated> out = sequence.generate(letters("x"), until_end(6), sampler, kQuiet);
  ASSERT_OK(out);
  EXPECT_EQ(spelled(out->tokens), "aaaaba") << "2 repeated cost 0.8, 3 cost 1.4: more than b is behind";
}

TEST(Generate, ATokenAllocatesNothingOutsideTheModel) {
  // Marks where the model's own work begins and ends.
  struct Meter : Recorder {
    using Recorder::Recorder;
    int64_t left_at = -1;
    int steps = 0, allocating_steps = 0;
    void prefetch(std::span<const Token>) override {}  // a list of its own would be counted
    Result<void> forward(const Batch& batch, ResultSink& sink) override {
      if (left_at >= 0) {
        ++steps;
        allocating_steps += facet::testing::bytes_allocated() != left_at;
      }
      Result<void> done = Recorder::forward(batch, sink);
      left_at = facet::testing::bytes_allocated();
      return done;
    }
  };
  for (const SamplerOptions& options : {SamplerOptions{.temperature = 0}, penalties()}) {
    const auto puppet = puppet_of(R"("answers": [{"say": "abc", "repeat": true}])");
    Meter meter(*puppet);
    Sequence sequence = sequence_of(meter);
    Sampler sampler(options, {}, facet::testing::kLetters);
    ASSERT_OK(sequence.generate(letters("x"), until_end(300), sampler, kQuiet));
    EXPECT_EQ(meter.steps, 299);
    EXPECT_LE(meter.allocating_steps, 20);  // lists of tokens that double
  }
}

TEST(Generate, AnnouncesTokensBeforeTheyRun) {
  const auto puppet = puppet_of(R"("batch_rows": 2, "answers": [{"say": "ok"}])");
  Recorder recorder(*puppet);
  Sequence sequence = sequence_of(recorder);
  Sampler sampler = greedy();
  const auto listen = [&](const Event& event) {
    if (event.sampled != nullptr) recorder.order += "! ";
    return true;
  };
  ASSERT_OK(sequence.generate(letters("abcde"), until_end(), sampler, listen));
  EXPECT_EQ(recorder.order, "?cd ab ?e cd ? e ?o ! o ?k ! k ?. ! ");
}

TEST(Generate, SequencesGiveTheirRowsBack) {
  const auto puppet = puppet_of(kTight);
  {
    Sequence a = sequence_of(*puppet);
    ASSERT_OK(say(a, "abc"));
    Sequence b = std::move(a);
    Sequence c = sequence_of(*puppet);
    c = std::move(b);
    EXPECT_EQ(spelled(c.tokens()).substr(0, 3), "abc");
    EXPECT_GT(puppet->rows_in_use(), 0);
  }
  EXPECT_EQ(puppet->rows_in_use(), 0);
}

}  // namespace
}  // namespace facet::runtime
