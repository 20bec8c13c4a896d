// facet run: where its text comes from, how it answers, what the flags of sampling do.
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/program.h"

namespace facet::cli {
namespace {

TEST_F(Cli, RunPrintsTheTextAndANewline) {
  const Outcome done = facet({"run", "--raw", puppet(R"([{"after": "hello", "say": "world"}])"), "hello"});
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(done.out, "world\n");
  EXPECT_EQ(done.err, "");
}

TEST_F(Cli, AnAnswerMovesNoCursorOfATerminal) {
  const Words words = {"run", "--raw", puppet(R"([{"say": "a\u001b[2Jb"}])"), "hello"};
  EXPECT_EQ(facet(words).out, "a\x1B[2Jb\n");  // a file holds what was said
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const std::string name = ::ptsname(terminal);
  const int other_end = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);  // keeps what is written until it is read
  EXPECT_EQ(facet(words, "", {}, name.c_str()).status, 0);
  std::string seen;
  pollfd ready = {.fd = terminal, .events = POLLIN, .revents = 0};
  while (!seen.ends_with('\n') && ::poll(&ready, 1, 5000) == 1) {
    char piece[256];
    const ssize_t n = ::read(terminal, piece, sizeof piece);
    if (n <= 0) break;
    seen.append(piece, static_cast<size_t>(n));
  }
  ::close(other_end);
  ::close(terminal);
  EXPECT_EQ(seen, "a\xEF\xBF\xBD[2Jb\r\n");
}

TEST_F(Cli, RunReadsTheTextFromEverywhere) {
  const std::string model = puppet(R"([{"after": "hello", "say": "world"}, {"say": "wrong"}])");
  EXPECT_EQ(facet({"run", "--raw", model, "-p", "hello"}).out, "world\n");
  EXPECT_EQ(facet({"run", "--raw", model}, "hello").out, "world\n");
  EXPECT_EQ(facet({"run", "--raw", model, "-f", write("text", "hello")}).out, "world\n");
  EXPECT_EQ(facet({"run", "--raw", model, "-f", "-"}, "hello").out, "world\n");
  EXPECT_EQ(facet({"run", "--raw", model, "hel", "lo"}).out, "wrong\n");
  EXPECT_EQ(facet({"run", "--raw", model, "-f", "absent.txt"}).status, 3);
}

TEST_F(Cli, RunAnswersInTheChatTemplate) {
  const Outcome done = facet({"run", puppet(R"([{"after": "hi<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
                                                 "say": "hello<turn|>"}])"),
                              "hi"});
  EXPECT_EQ(done.out, "hello\n") << done.err;
}

TEST_F(Cli, RunPrintsJson) {
  const std::string model = puppet(R"([{"say": "abcd"}])");
  const Outcome done = facet({"run", model, "--raw", "x", "--json", "--logprobs", "3", "--stop", "cd", "-s", "7"});
  ASSERT_EQ(done.status, 0) << done.err;
  const Json json = parsed(done.out);
  EXPECT_EQ(text_of(json, "text"), "ab");
  EXPECT_EQ(text_of(json, "finish"), "stop_string");
  EXPECT_EQ(text_of(json, "stop"), "cd");
  EXPECT_EQ(text_of(json, "seed"), "7");
  EXPECT_EQ(text_of(json, "model"), model);
  ASSERT_NE(json.find("usage"), nullptr);
  ASSERT_NE(json.find("ids"), nullptr);
  const Json* rows = json.find("logprobs");
  ASSERT_NE(rows, nullptr);
  EXPECT_EQ(rows->array()->size(), json.find("ids")->array()->size());
  EXPECT_EQ(rows->array()->front().find("top")->array()->size(), 3u);
  EXPECT_EQ(text_of(rows->array()->front(), "text"), "a");
}

TEST_F(Cli, AFailedAnswerEndsItsLineAndHasItsStatus) {
  const Outcome failed = facet({"run", puppet(R"([{"say": ["ab", {"broken": "nan"}]}])"), "--raw", "x"});
  EXPECT_EQ(failed.status, 9);
  EXPECT_EQ(failed.out, "ab\n");
  EXPECT_NE(failed.err, "");
}

TEST_F(Cli, FlagsThatMeanNothingToARequestAreNoted) {
  const std::string model = puppet(R"([{"say": "ha<turn|>"}])");
  const auto notes = [&](Words words) { return facet(std::move(words), "one\n").err; };
  const std::string chat_only = "--system and --think belong to a chat", raw_only = "--special and --no-bos belong to";
  EXPECT_NE(notes({"run", model, "x", "--raw", "--think"}).find(chat_only), std::string::npos);
  EXPECT_NE(notes({"chat", model, "--raw", "--system", "x"}).find(chat_only), std::string::npos);
  EXPECT_NE(notes({"run", model, "x", "--no-bos"}).find(raw_only), std::string::npos);
  EXPECT_NE(notes({"run", model, "x", "--logprobs", "3"}).find("with --json only"), std::string::npos);
  EXPECT_EQ(notes({"run", model, "x", "--json", "--logprobs", "3", "--system", "x"}), "");
}

TEST_F(Cli, SamplingFlagsReachTheSampler) {
  const std::string model = puppet(kThreeLetters);
  const auto answer = [&](const Words& flags, const Words& variables = {}) {
    Words words = {"run", model, "--raw", "-n", "6", "--temp", "0", "-p", "x"};
    words.insert(words.end(), flags.begin(), flags.end());
    const Outcome outcome = facet(words, "", variables);
    return outcome.status == 0 ? outcome.out : outcome.err;
  };
  const auto id = [&](const char* text) {
    const std::string ids = facet({"tokenize", small_model(), "--no-bos", text}).out;  // "[97]"
    return ids.substr(1, ids.find(']') - 1);
  };
  EXPECT_EQ(answer({}), "aaaaaa\n");
  EXPECT_EQ(answer({"-l", id("b") + "+2"}), "bbbbbb\n");
  EXPECT_EQ(answer({"--logit-bias", id("a") + "-1.25e0"}), "cccccc\n");
  EXPECT_EQ(answer({"--logit-bias", id("a") + "-inf", "--logit-bias", id("c") + "=false"}), "bbbbbb\n");
  EXPECT_EQ(answer({"--repeat-penalty", "1.12"}), "acaaaa\n");
  EXPECT_EQ(answer({"--frequency-penalty", "0.4"}), "aacacb\n");
  EXPECT_EQ(answer({"--frequency-penalty", "-0.4"}), "aaaaaa\n");
  EXPECT_EQ(answer({"--presence-penalty", "0.75", "--repeat-last-n", "1"}), "acacac\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.4"}), "aaaaca\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.4", "--dry-allowed-length", "9"}), "aaaaaa\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.4", "--dry-sequence-breaker", "a"}), "aaaaaa\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.4", "--dry-sequence-breaker", "none"}), "aaaaca\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.4", "--dry-penalty-last-n", "2"}), "aaaaaa\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.1", "--dry-base", "9"}), "aaaaca\n");
  EXPECT_EQ(answer({"--dry-multiplier", "0.1"}), "aaaaaa\n");
  EXPECT_EQ(answer({}, {"FACET_FREQUENCY_PENALTY=0.4"}), "aacacb\n");
  EXPECT_EQ(answer({}, {"FACET_LOGIT_BIAS=" + id("b") + "+2"}), "bbbbbb\n");
  EXPECT_NE(answer({"-l", "1000000+1"}).find("logit_bias"), std::string::npos);
  EXPECT_NE(answer({"--dry-sequence-breaker", ""}).find("dry_sequence_breakers"), std::string::npos);
}

TEST_F(Cli, ABreakerMayBeWrittenWithABackslash) {
  const std::string model =
      puppet(R"([{"say": [{"logits": [["a", 5], ["b", 4]], "rest": -60}, {"logits": [["\n", 5], ["b", 4]]}],
                  "repeat": true}])");
  const auto answer = [&](const char* breaker) {
    return facet({"run", model, "--raw", "-n", "8", "--temp", "0", "-p", "x", "--dry-multiplier", "2",
                  "--dry-sequence-breaker", breaker})
        .out;
  };
  EXPECT_EQ(answer("\\n"), "a\na\na\na\n");
  EXPECT_NE(answer("none"), "a\na\na\na\n");
}

TEST_F(Cli, TypicalPLeavesTheLikeliestOut) {
  const std::string model =
      puppet(R"([{"say": [{"logits": [["a", 3], ["b", 2], ["c", 2], ["d", 2], ["e", 2], ["f", 2]], "rest": -60}],
                  "repeat": true}])");
  for (const char* flag : {"--typical", "--typical-p"}) {
    const Outcome typical = facet({"run", model, "--raw", "-n", "40", "-s", "1", "x", flag, "0.6"});
    EXPECT_EQ(typical.status, 0) << typical.err;
    EXPECT_EQ(typical.out.size(), 41u);
    EXPECT_EQ(typical.out.find('a'), std::string::npos) << typical.out;
  }
  EXPECT_NE(facet({"run", model, "--raw", "-n", "40", "-s", "1", "x"}).out.find('a'), std::string::npos);
}

TEST_F(Cli, SettingsWithoutEffectAreNoted) {
  const std::string model = puppet(R"([{"say": "ha"}])");
  const auto notes = [&](const Words& flags) {
    Words words = {"run", model, "--raw", "x"};
    words.insert(words.end(), flags.begin(), flags.end());
    return facet(std::move(words)).err;
  };
  EXPECT_NE(notes({"--temp", "0", "--typical", "0.5"}).find("change nothing"), std::string::npos);
  EXPECT_NE(notes({"--repeat-penalty", "1.1", "--repeat-last-n", "0"}).find("looks at no tokens"), std::string::npos);
  EXPECT_NE(notes({"--dry-base", "2"}).find("without --dry-multiplier"), std::string::npos);
  EXPECT_NE(notes({"--dry-multiplier", "2", "--dry-penalty-last-n", "0"}).find("DRY is off"), std::string::npos);
  EXPECT_EQ(notes({"--temp", "0", "--repeat-penalty", "1.1", "--dry-multiplier", "1", "--dry-base", "2"}), "");
}

}  // namespace
}  // namespace facet::cli
