// The public API: requests to puppets, whose every token is known, and to a small real model.
#include "facet/engine.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>

#include "base/json.h"
#include "base/strings.h"
#include "formats/checkpoint.h"
#include "support/count_allocations.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet {
namespace {

std::string small_model() { return testing::source_path("tests/golden/data/gguf/nano-q4_0.gguf").string(); }

// The usual options for a test, and one change to them.
LoadOptions options(const std::function<void(LoadOptions&)>& change = {}) {
  LoadOptions made;
  made.context = 256;
  made.threads = 1;
  if (change) change(made);
  return made;
}

// A puppet in the vocabulary of the small model, which spells letter by letter.
class EngineTest : public ::testing::Test {
 protected:
  // members: those of the script besides "puppet" and "vocabulary".
  Engine puppet(const std::string& members) {
    const std::string path = cat((folder_.path() / "puppet").string(), ++count_, ".json");
    std::ofstream(path) << cat(R"({"puppet": 1, "vocabulary": )", Json(small_model()).dump(), ", ", members, "}");
    Result<Engine> engine = Engine::load("puppet:" + path, options());
    if (!engine.ok()) ADD_FAILURE() << engine.error().message(), std::abort();
    return *std::move(engine);
  }
  static Engine real(const LoadOptions& load = options()) {
    Result<Engine> engine = Engine::load(small_model(), load);
    if (!engine.ok()) ADD_FAILURE() << engine.error().message(), std::abort();
    return *std::move(engine);
  }
  static Request text(std::string words) {
    Request request;
    request.text = std::move(words);
    return request;
  }

  testing::TemporaryFolder folder_;
  int count_ = 0;
};

TEST_F(EngineTest, ContinuesRawText) {
  Engine engine = puppet(R"("answers": [{"after": "hello", "say": "world"}])");
  std::string streamed;
  std::vector<int32_t> tokens;
  const Result<Answer> answer = engine.generate(text("hello"), [&](const Chunk& chunk) {
    streamed += chunk.text;
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    return true;
  });
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "world");
  EXPECT_EQ(streamed, answer->text);
  EXPECT_EQ(tokens, answer->tokens);
  EXPECT_EQ(answer->finish, FinishReason::stop_token);
  EXPECT_FALSE(answer->stop.empty());
  EXPECT_EQ(engine.detokenize(answer->tokens, false), "world");
}

TEST_F(EngineTest, AnswersAChatInItsTemplate) {
  Engine engine = puppet(
      R"("answers": [{"after": "hi<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", "say": "hello<turn|>"}])");
  ASSERT_TRUE(engine.info().has_chat_template);
  Request request;
  request.messages = {{Role::user, "hi"}};
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "hello");
  EXPECT_EQ(answer->stop, "<turn|>");
  const Result<std::vector<int32_t>> rendered = engine.render(request.messages, Thinking::off);
  ASSERT_OK(rendered);
  EXPECT_EQ(answer->prompt, *rendered);
}

TEST_F(EngineTest, StopsAtATokenOfTheRequest) {
  Engine engine = puppet(R"("answers": [{"say": "abcd"}])");
  Request request = text("x");
  request.sampling.stop_tokens = engine.tokenize("c", false);
  ASSERT_EQ(request.sampling.stop_tokens.size(), 1u);
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "ab");
  EXPECT_EQ(answer->finish, FinishReason::stop_token);
  EXPECT_EQ(answer->stop, "c");
}

TEST_F(EngineTest, StopsBeforeAString) {
  Engine engine = puppet(R"("answers": [{"say": "abcdefg"}])");
  Request request = text("x");
  request.sampling.stop_strings = {"de"};
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "abc");
  EXPECT_EQ(answer->finish, FinishReason::stop_string);
  EXPECT_EQ(answer->stop, "de");
}

TEST_F(EngineTest, ShowsTheBeginningOfAStopStringThatNeverCame) {
  Engine engine = puppet(R"("answers": [{"say": "abcd"}])");
  Request request = text("x");
  request.sampling.stop_strings = {"de"};
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "abcd");
}

TEST_F(EngineTest, EndsAtTheLength) {
  Engine engine = puppet(R"("answers": [{"say": "abcdefg"}])");
  Request request = text("x");
  request.max_tokens = 3;
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "abc");
  EXPECT_EQ(answer->finish, FinishReason::length);
  EXPECT_EQ(answer->usage.generated_tokens, 3);
}

TEST_F(EngineTest, EndsWhereTheContextIsFull) {
  Engine engine = puppet(R"("context": 8, "answers": [{"say": "a", "repeat": true}])");
  const Result<Answer> answer = engine.generate(text("xy"));
  ASSERT_OK(answer);
  EXPECT_EQ(answer->finish, FinishReason::length);
  EXPECT_GE(answer->tokens.size(), 5u);
  EXPECT_LE(answer->tokens.size(), 6u);
}

TEST_F(EngineTest, KeepsWhatWasSaidWhenTheCallbackCancels) {
  Engine engine = puppet(R"("answers": [{"say": "abcdefg"}])");
  int chunks = 0;
  const Result<Answer> answer =
      engine.generate(text("x"), [&](const Chunk& chunk) { return chunk.tokens.empty() || ++chunks < 2; });
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "ab");
  EXPECT_EQ(answer->finish, FinishReason::cancelled);
}

// Whatever was held back belongs to the answer, but nobody listens any more.
TEST_F(EngineTest, DoesNotCallTheCallbackAgainAfterItCancelled) {
  Engine engine = puppet(R"("answers": [{"say": "abcdefg"}])");
  for (const int wanted : {1, 2, 3, 5}) {
    Request request = text("x");
    request.sampling.stop_strings = {"cdz"};
    int calls = 0;
    const Result<Answer> answer = engine.generate(request, [&](const Chunk&) { return ++calls < wanted; });
    ASSERT_OK(answer);
    EXPECT_EQ(answer->finish, FinishReason::cancelled);
    EXPECT_EQ(calls, wanted);
    EXPECT_EQ(engine.detokenize(answer->tokens, false), answer->text);
  }
}

TEST_F(EngineTest, ReportsNumbersThatAreNotFinite) {
  Engine engine = puppet(R"("answers": [{"say": ["a", {"broken": "nan"}]}])");
  const Result<Answer> answer = engine.generate(text("x"));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::non_finite);
}

TEST_F(EngineTest, WorksOnAfterAFailure) {
  Engine engine = puppet(R"("answers": [{"after": "bad", "say": ["a", {"broken": "infinite"}]}, {"say": "fine"}])");
  ASSERT_FALSE(engine.generate(text("bad")).ok());
  const Result<Answer> answer = engine.generate(text("good"));
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, "fine");
}

TEST_F(EngineTest, RefusesAPromptLongerThanTheContext) {
  Engine engine = puppet(R"("context": 4, "answers": [{"say": "a"}])");
  const Result<Answer> answer = engine.generate(text("abcdefgh"));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::exhausted);
}

TEST_F(EngineTest, ReusesTheCommonPrefix) {
  Engine engine = puppet(R"("answers": [{"say": "a"}])");
  const Result<Answer> first = engine.generate(text("hello"));
  ASSERT_OK(first);
  EXPECT_EQ(first->usage.cached_tokens, 0);
  const Result<Answer> second = engine.generate(text("hellow"));
  ASSERT_OK(second);
  EXPECT_EQ(second->usage.cached_tokens, static_cast<int64_t>(first->prompt.size()));
  EXPECT_EQ(second->usage.prompt_tokens, static_cast<int64_t>(first->prompt.size()) + 1);
}

TEST_F(EngineTest, GivesARowOfLogprobsForEveryToken) {
  Engine engine = puppet(R"("answers": [{"say": [{"logits": [["b", 2], ["c", 1]], "rest": -60}, "d"]}])");
  Request request = text("x");
  request.sampling.temperature = 0;
  request.sampling.logprobs = 2;
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  ASSERT_EQ(answer->logprobs.size(), answer->tokens.size());
  const std::vector<TokenLogprob>& row = answer->logprobs.front();
  ASSERT_EQ(row.size(), 3u);
  EXPECT_EQ(row[0].bytes, "b");
  EXPECT_EQ(row[1].bytes, "b");
  EXPECT_EQ(row[2].bytes, "c");
  EXPECT_NEAR(row[0].logprob, -std::log1p(std::exp(-1.0f)), 1e-5);
  EXPECT_NEAR(row[1].logprob - row[2].logprob, 1, 1e-5);
}

TEST_F(EngineTest, DrawsTheSameWithTheSameSeed) {
  Engine engine =
      puppet(R"("answers": [{"say": [{"logits": [["a", 1], ["b", 1], ["c", 1], ["d", 1]]}], "repeat": true}])");
  Request request = text("x");
  request.max_tokens = 40;
  const Result<Answer> first = engine.generate(request);
  ASSERT_OK(first);
  request.sampling.seed = first->seed;
  const Result<Answer> again = engine.generate(request);
  ASSERT_OK(again);
  EXPECT_EQ(again->tokens, first->tokens);
  request.sampling.seed = first->seed + 1;
  const Result<Answer> other = engine.generate(request);
  ASSERT_OK(other);
  EXPECT_NE(other->tokens, first->tokens);
}

TEST_F(EngineTest, BiasesAndPenaltiesChangeWhatIsChosen) {
  Engine engine =
      puppet(R"("answers": [{"say": [{"logits": [["a", 5], ["b", 4], ["c", 4.5]], "rest": -60}], "repeat": true}])");
  const int32_t a = engine.tokenize("a", false)[0], b = engine.tokenize("b", false)[0];
  Request request = text("x");
  request.max_tokens = 6;
  request.sampling.temperature = 0;
  const auto answer = [&](const std::function<void(Sampling&)>& change, std::string prompt = "x") {
    Request changed = request;
    changed.text = std::move(prompt);
    change(changed.sampling);
    const Result<Answer> made = engine.generate(changed);
    return made.ok() ? made->text : made.error().message();
  };
  EXPECT_EQ(answer([](Sampling&) {}), "aaaaaa");
  EXPECT_EQ(answer([&](Sampling& s) { s.logit_bias = {{b, 2}}; }), "bbbbbb");
  EXPECT_EQ(answer([&](Sampling& s) { s.logit_bias = {{a, -std::numeric_limits<float>::infinity()}}; }), "cccccc");
  EXPECT_EQ(answer([](Sampling& s) { s.repeat_penalty = 1.12f; }), "acaaaa") << "all three divided, then as before";
  EXPECT_EQ(answer([](Sampling& s) { s.frequency_penalty = 0.4f; }), "aacacb");
  EXPECT_EQ(answer([](Sampling& s) { s.frequency_penalty = 0.4f; }), "aacacb") << "of a prompt that is in the cache";
  EXPECT_EQ(answer([](Sampling& s) { s.frequency_penalty = 0.4f; }, "xaac"), "acbacb") << "the prompt counts";
  EXPECT_EQ(answer([](Sampling& s) { s.presence_penalty = 0.75f, s.repeat_last_n = 1; }), "acacac");
  EXPECT_EQ(answer([](Sampling& s) { s.dry_multiplier = 0.4f; }), "aaaaca");
  EXPECT_EQ(answer([](Sampling& s) { s.dry_multiplier = 0.4f, s.dry_sequence_breakers = {"a"}; }), "aaaaaa");
  EXPECT_EQ(answer([](Sampling& s) {
              s.dry_multiplier = 0.4f, s.dry_sequence_breakers = {"aa", "b"};
            }),
            "aaaaaa")
      << "the second of two tokens ends it";
}

TEST_F(EngineTest, ABiasDoesNotFreeReservedTokens) {
  Engine engine = puppet(R"("answers": [{"say": "ab", "repeat": true}])");
  Request request = text("x");
  request.max_tokens = 3;
  request.sampling.temperature = 0;
  for (int32_t token = 0; token < engine.info().vocab_size; ++token)
    if (const std::string piece = engine.detokenize(std::vector<int32_t>{token}, true);
        piece == "<pad>" || piece == "<bos>")
      request.sampling.logit_bias.push_back({token, 1000});
  ASSERT_EQ(request.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(engine.generate(request)->text, "aba");
}

TEST_F(EngineTest, RefusesSamplingOptionsByName) {
  Engine engine = puppet(R"("answers": [{"say": "ab"}])");
  const auto refused = [&](const char* name, const std::function<void(Sampling&)>& change) {
    Request request = text("x");
    change(request.sampling);
    const Result<Answer> answer = engine.generate(request);
    ASSERT_FALSE(answer) << name;
    EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(answer.error().where, name);
  };
  refused("typical_p", [](Sampling& s) { s.typical_p = -1; });
  refused("repeat_penalty", [](Sampling& s) { s.repeat_penalty = 0; });
  refused("repeat_last_n", [](Sampling& s) { s.repeat_last_n = -2; });
  refused("frequency_penalty", [](Sampling& s) { s.frequency_penalty = std::nanf(""); });
  refused("presence_penalty", [](Sampling& s) { s.presence_penalty = std::nanf(""); });
  refused("dry_multiplier", [](Sampling& s) { s.dry_multiplier = -1; });
  refused("dry_base", [](Sampling& s) { s.dry_base = 0; });
  refused("dry_allowed_length", [](Sampling& s) { s.dry_allowed_length = -1; });
  refused("dry_penalty_last_n", [](Sampling& s) { s.dry_penalty_last_n = -2; });
  refused("dry_sequence_breakers", [](Sampling& s) { s.dry_sequence_breakers = {""}; });
  refused("logit_bias", [&](Sampling& s) { s.logit_bias = {{static_cast<int32_t>(engine.info().vocab_size), 1}}; });
}

TEST_F(EngineTest, RefusesALengthBelowNoLimit) {
  Engine engine = puppet(R"("answers": [{"say": "a"}])");
  Request request = text("x");
  request.max_tokens = -2;
  const Result<Answer> answer = engine.generate(request);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(answer.error().message().find("-2"), std::string::npos) << answer.error().message();
}

TEST_F(EngineTest, RefusesSeveralPromptsAndNone) {
  Engine engine = puppet(R"("answers": [{"say": "a"}])");
  Request both = text("x");
  both.tokens = {5};
  for (const Request& request : {both, Request()}) {
    const Result<Answer> answer = engine.generate(request);
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
  }
  Request outside;
  outside.tokens = {1 << 30};
  EXPECT_FALSE(engine.generate(outside).ok());
}

TEST_F(EngineTest, PutsOneBosInFrontOfRawText) {
  Engine engine = puppet(R"("answers": [{"say": "a"}])");
  const Result<std::vector<int32_t>> with = engine.prompt("ab", true, true),
                                     spelled = engine.prompt("<bos>ab", true, true),
                                     without = engine.prompt("ab", true, false);
  ASSERT_OK(with);
  ASSERT_OK(spelled);
  ASSERT_OK(without);
  EXPECT_EQ(with->size(), without->size() + 1);
  EXPECT_EQ(*with, *spelled);
}

TEST_F(EngineTest, KeepsTwoEnginesApart) {
  Engine one = puppet(R"("answers": [{"say": "one"}])"), two = puppet(R"("answers": [{"say": "two"}])");
  Engine model = real();
  const Result<Answer> first = one.generate(text("x")), second = two.generate(text("x"));
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_EQ(first->text + second->text, "onetwo");
  Request request = text("hello");
  request.sampling.temperature = 0;
  request.max_tokens = 4;
  const Result<Answer> a = model.generate(request);
  Engine twin = real();
  const Result<Answer> b = twin.generate(request);
  ASSERT_OK(a);
  ASSERT_OK(b);
  EXPECT_EQ(a->tokens, b->tokens);
}

TEST_F(EngineTest, ScoresTokensAsItWouldHaveChosenThem) {
  Engine engine = real(options([](LoadOptions& o) { o.exact = true; }));
  Request request = text("hello");
  request.sampling.temperature = 0;
  request.sampling.logprobs = 1;
  request.sampling.ignore_stop_tokens = true;
  request.sampling.allow_reserved = true;
  request.max_tokens = 5;
  const Result<Answer> answer = engine.generate(request);
  ASSERT_OK(answer);
  ASSERT_EQ(answer->tokens.size(), 5u);
  std::vector<int32_t> all = answer->prompt;
  all.insert(all.end(), answer->tokens.begin(), answer->tokens.end());
  const Result<Score> score = engine.score(all);
  ASSERT_OK(score);
  ASSERT_EQ(score->logprobs.size(), all.size() - 1);
  for (size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(score->logprobs[answer->prompt.size() - 1 + i], answer->logprobs[i].front().logprob, 1e-4) << i;
  double sum = 0;
  for (const float value : score->logprobs) sum += value;
  EXPECT_NEAR(score->perplexity, std::exp(-sum / static_cast<double>(score->logprobs.size())),
              1e-6 * score->perplexity);
}

TEST_F(EngineTest, StopsAScoreThatTheCallerDoesNotWant) {
  Engine engine = real();
  const Result<Score> score =
      engine.score(engine.tokenize("hello", false), [](std::string_view, int64_t, int64_t) { return false; });
  ASSERT_FALSE(score.ok());
  EXPECT_EQ(score.error().code, ErrorCode::cancelled);
}

TEST_F(EngineTest, EmbedsTheLastTokenAndTheMean) {
  Engine engine = real();
  const std::vector<int32_t> tokens = engine.tokenize("ab", false);
  ASSERT_EQ(tokens.size(), 2u);
  const Result<Engine::Embedding> one = engine.embed({tokens.data(), 1}), both = engine.embed(tokens);
  ASSERT_OK(one);
  ASSERT_OK(both);
  ASSERT_EQ(both->last.size(), static_cast<size_t>(engine.info().width));
  EXPECT_EQ(one->last, one->mean);
  for (size_t i = 0; i < both->last.size(); ++i)
    EXPECT_NEAR(both->mean[i], (one->last[i] + both->last[i]) / 2, 1e-2 * (1 + std::fabs(both->mean[i])));
}

// The small model with the weight of its last norm, which every hidden state passes, turned into NaN.
TEST_F(EngineTest, EmbedsNothingThatIsNotFinite) {
  const std::string broken = (folder_.path() / "broken.gguf").string();
  {
    const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(small_model());
    ASSERT_OK(checkpoint);
    const formats::TensorInfo* norm = checkpoint->find("output_norm.weight");
    ASSERT_NE(norm, nullptr);
    std::ifstream in(small_model(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const std::string_view weight = as_text(checkpoint->bytes(*norm));
    const size_t at = bytes.find(weight);
    ASSERT_NE(at, std::string::npos);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(bytes.data() + at, &nan, sizeof nan);
    std::ofstream(broken, std::ios::binary) << bytes;
  }
  Result<Engine> engine = Engine::load(broken, options());
  ASSERT_OK(engine);
  const Result<Engine::Embedding> embedding = engine->embed(engine->tokenize("ab", false));
  ASSERT_FALSE(embedding.ok());
  EXPECT_EQ(embedding.error().code, ErrorCode::non_finite);
  EXPECT_NE(embedding.error().message().find("token 0"), std::string::npos) << embedding.error().message();
}

TEST_F(EngineTest, RefusesOptionsThatMeanNothingForPuppetsToo) {
  const std::string path = (folder_.path() / "script.json").string();
  std::ofstream(path) << cat(R"({"puppet": 1, "vocabulary": )", Json(small_model()).dump(),
                             R"(, "answers": [{"say": "a"}]})");
  const auto code = [&](const std::function<void(LoadOptions&)>& change) {
    const Result<Engine> engine = Engine::load("puppet:" + path, options(change));
    return engine.ok() ? std::optional<ErrorCode>() : engine.error().code;
  };
  EXPECT_EQ(code([](LoadOptions&) {}), std::nullopt);
  EXPECT_EQ(code([](LoadOptions& o) { o.isa = "mmx"; }), ErrorCode::invalid_argument);
  EXPECT_EQ(code([](LoadOptions& o) { o.kv_type = "q4_0"; }), ErrorCode::invalid_argument);
}

// Every allocation of a request fails once: an Error each time, and the engine answers as before.
TEST_F(EngineTest, SurvivesMemoryThatRunsOutAnywhere) {
  Request request = text("hello");
  request.sampling.temperature = 0;
  request.sampling.logprobs = 2;
  request.sampling.stop_strings = {"never"};
  request.sampling.repeat_penalty = 1.05f;
  request.sampling.dry_multiplier = 0.5f;
  request.sampling.logit_bias = {{5, 0.25f}};
  request.max_tokens = 6;
  Engine engine = real();
  const Result<Answer> expected = engine.generate(request);
  ASSERT_OK(expected);
  int failures = 0;
  for (int64_t nth = 1;; ++nth) {
    Request other = request;  // of another prefix, so that cache and fork are given up and made again
    other.text = nth % 2 == 0 ? "hello you" : "help";
    bool came = false;
    {
      const testing::FailingAllocation failing(nth);
      const Result<Answer> answer = engine.generate(other, [](const Chunk&) { return true; });
      came = failing.came();
      if (!answer.ok()) {
        ASSERT_TRUE(came) << answer.error().message();
        EXPECT_EQ(answer.error().code, ErrorCode::exhausted) << answer.error().message();
        ++failures;
      }
    }
    if (!came) break;
    const Result<Answer> again = engine.generate(request);
    ASSERT_OK(again);
    ASSERT_EQ(again->tokens, expected->tokens) << nth;
  }
  EXPECT_GT(failures, 20);
}

TEST_F(EngineTest, SurvivesMemoryThatRunsOutWhileItScores) {
  Engine engine = real();
  const std::vector<int32_t> tokens = engine.tokenize("hello", false);
  const Result<Score> expected = engine.score(tokens);
  ASSERT_OK(expected);
  for (int64_t nth = 1;; ++nth) {
    bool came = false;
    for (const bool embeds : {false, true}) {
      const testing::FailingAllocation failing(nth);
      const ErrorCode code = ErrorCode::exhausted;
      if (embeds) {
        const Result<Engine::Embedding> embedding = engine.embed(tokens);
        EXPECT_TRUE(embedding.ok() || embedding.error().code == code);
      } else {
        const Result<Score> score = engine.score(tokens);
        EXPECT_TRUE(score.ok() || score.error().code == code);
      }
      came = came || failing.came();
    }
    if (!came) break;
    const Result<Score> again = engine.score(tokens);
    ASSERT_OK(again);
    ASSERT_EQ(again->logprobs, expected->logprobs) << nth;
  }
}

TEST(EngineLoad, SurvivesMemoryThatRunsOutAnywhere) {
  const std::string path = small_model();
  const LoadOptions usual = options();
  int failures = 0;
  for (int64_t nth = 1;; nth += 1 + nth / 50) {  // the vocabulary alone takes thousands
    const testing::FailingAllocation failing(nth);
    const Result<Engine> engine = Engine::load(path, usual);
    if (!failing.came()) break;
    failures += engine.ok() ? 0 : 1;
    EXPECT_TRUE(engine.ok() || engine.error().code == ErrorCode::exhausted) << engine.error().message();
  }
  EXPECT_GT(failures, 100);
}

TEST(EngineLoad, RefusesOptionsOutOfRangeAndFilesThatAreNotThere) {
  const auto code = [](const std::string& path, const std::function<void(LoadOptions&)>& change = {}) {
    const Result<Engine> engine = Engine::load(path, options(change));
    return engine.ok() ? std::optional<ErrorCode>() : engine.error().code;
  };
  EXPECT_EQ(code(small_model(), [](LoadOptions& o) { o.threads = -1; }), ErrorCode::invalid_argument);
  EXPECT_EQ(code(small_model(), [](LoadOptions& o) { o.isa = "mmx"; }), ErrorCode::invalid_argument);
  EXPECT_EQ(code(small_model(), [](LoadOptions& o) { o.kv_type = "q4_0"; }), ErrorCode::invalid_argument);
  EXPECT_EQ(code(small_model(), [](LoadOptions& o) { o.batch_rows = 0; }), ErrorCode::invalid_argument);
  EXPECT_EQ(code("absent.gguf"), ErrorCode::not_found);
  EXPECT_EQ(code("puppet:absent.json"), ErrorCode::not_found);
}

}  // namespace
}  // namespace facet
