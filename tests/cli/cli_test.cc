// The program as its users meet it: run as a child, judged by what it prints and by its exit status.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/strings.h"
#include "formats/checkpoint.h"
#include "support/expect.h"
#include "support/paths.h"
#include "tokenizer/small_vocab.h"

extern char** environ;

namespace facet::cli {
namespace {

using facet::testing::source_path;
using Words = std::vector<std::string>;

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Outcome {
  int status = -1;
  std::string out, err;
};

class Cli : public ::testing::Test {
 protected:
  // Runs the program with files as its three streams.
  Outcome facet(Words words, const std::string& input = "", const Words& variables = {}, const char* sink = nullptr) {
    const auto file = [&](const char* name) { return (folder_.path() / name).string(); };
    std::ofstream(file("in"), std::ios::binary) << input;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, file("in").c_str(), O_RDONLY, 0);
    const std::string out = sink != nullptr ? sink : file("out");
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, file("err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    words.insert(words.begin(), FACET_PROGRAM);
    const pid_t child = spawn(actions, words, environment(variables));
    posix_spawn_file_actions_destroy(&actions);
    int status = -1;
    if (child <= 0 || ::waitpid(child, &status, 0) != child) return {};
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), contents(file("out")),
            contents(file("err"))};
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }
  // A puppet that knows the vocabulary and the chat template of the small model.
  std::string puppet(const std::string& answers) const {
    return "puppet:" + write("puppet.json", cat(R"({"puppet": 1, "vocabulary": )", Json(small_model()).dump(),
                                                R"(, "answers": )", answers, "}"));
  }
  static std::string small_model() { return source_path("tests/golden/data/gguf/nano-q4_0.gguf").string(); }

  static Json parsed(const std::string& text) {
    Result<Json> json = Json::parse(text, "output");
    if (!json.ok()) {
      ADD_FAILURE() << json.error().message() << "\n" << text;
      return {};
    }
    return *std::move(json);
  }
  static std::string text_of(const Json& json, const char* key) {
    const Json* member = json.find(key);
    return member != nullptr && member->string() != nullptr ? *member->string() : cat("no text ", key);
  }

 private:
  // Ours without FACET_…, plus the variables.
  Words environment(const Words& variables) const {
    Words all = variables;
    all.push_back("FACET_CACHE=" + path("cache"));
    for (char** entry = environ; *entry != nullptr; ++entry)
      if (!std::string_view(*entry).starts_with("FACET_")) all.emplace_back(*entry);
    return all;
  }
  static pid_t spawn(const posix_spawn_file_actions_t& actions, Words words, Words variables) {
    const auto pointers = [](Words& strings) {
      std::vector<char*> all;
      for (std::string& string : strings) all.push_back(string.data());
      all.push_back(nullptr);
      return all;
    };
    pid_t child = -1;
    const int error =
        ::posix_spawn(&child, FACET_PROGRAM, &actions, nullptr, pointers(words).data(), pointers(variables).data());
    return error == 0 ? child : -1;
  }

  facet::testing::TemporaryFolder folder_;
};

TEST_F(Cli, LostOutputIsAnError) {
  const std::string model = puppet(R"([{"say": "three"}])");
  for (const Words& words :
       {Words{"run", model, "--raw", "x"}, Words{"tokenize", small_model(), "x"}, Words{"doctor"}}) {
    const Outcome outcome = facet(words, "", {}, "/dev/full");
    EXPECT_EQ(outcome.status, 7) << words.front();
    EXPECT_NE(outcome.err.find("output was lost"), std::string::npos) << words.front();
  }
}

TEST_F(Cli, TextMayLookLikeARefusedFlag) {
  const Outcome outcome = facet({"run", puppet(R"([{"say": "three"}])"), "--raw", "-p", "-fa"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "three\n");
}

TEST_F(Cli, StopTakesOneTextAndLeavesTheWords) {
  const Outcome outcome = facet({"run", "--stop", "re", puppet(R"([{"say": "three"}])"), "--raw", "x"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "th\n");
}

TEST_F(Cli, AnUnknownCommandIsNamed) {
  const Outcome outcome = facet({"frobnicate"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("no command frobnicate"), std::string::npos);
}

TEST_F(Cli, APipeIsNoModelAndDoesNotHang) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  const Outcome outcome = facet({"run", path("pipe"), "x"});
  EXPECT_EQ(outcome.status, 7);
  EXPECT_NE(outcome.err.find("not a regular file"), std::string::npos);
}

TEST_F(Cli, NumbersOutOfRangeAreRefusedBeforeTheModelIsLoaded) {
  for (const Words& flag : {Words{"--temp", "-1"},
                            Words{"--top-p", "7"},
                            Words{"--top-k", "-1"},
                            Words{"--seed", "-1"},
                            Words{"-n", "-7"},
                            Words{"--temp", "nan"},
                            Words{"--typical", "1.5"},
                            Words{"--repeat-penalty", "0"},
                            Words{"--frequency-penalty", "inf"},
                            Words{"--presence-penalty", "nan"},
                            Words{"--repeat-last-n", "-2"},
                            Words{"--dry-multiplier", "-1"},
                            Words{"--dry-base", "0.5"},
                            Words{"--dry-allowed-length", "-1"},
                            Words{"--dry-penalty-last-n", "-2"},
                            Words{"-l", "15"},
                            Words{"-l", "15+x"},
                            Words{"--logit-bias", "+1"},
                            Words{"--logit-bias", "15+inf"},
                            Words{"--logit-bias", "15--1"},
                            Words{"--logit-bias", "15=true"},
                            Words{"--logit-bias", "x+1"}}) {
    const Outcome outcome = facet({"run", "no-such-model.gguf", "x", flag[0], flag[1]});
    EXPECT_EQ(outcome.status, 2) << flag[0];
  }
}

TEST_F(Cli, OneTokenCannotBeScored) {
  const Outcome outcome = facet({"score", small_model(), "-f", "/dev/null"});
  EXPECT_EQ(outcome.status, 2) << outcome.out;
}

TEST_F(Cli, HelpOfEveryCommandHasAnExample) {
  for (const char* command : {"run", "chat", "inspect", "tokenize", "score", "trace", "verify", "bench", "doctor",
                              "pull", "list", "show", "rm"}) {
    const Outcome help = facet({command, "--help"});
    EXPECT_EQ(help.status, 0) << command;
    EXPECT_NE(help.out.find("Example"), std::string::npos) << command;
    EXPECT_NE(facet({"--help"}).out.find(command), std::string::npos) << command;
  }
}

TEST_F(Cli, FlagsOfOtherEnginesAreRefusedWithTheReason) {
  for (const char* flag : {"-ngl", "--gpu-layers=99", "-fa", "--mlock", "-ctk", "--rope-scaling", "-cnv"}) {
    const Outcome refused = facet({"run", small_model(), flag, "hello"});
    EXPECT_EQ(refused.status, 2) << flag;
    EXPECT_NE(refused.err.find(cat("facet: ", flag, ": ")), std::string::npos) << refused.err;
    EXPECT_EQ(refused.out, "") << flag;
  }
  EXPECT_NE(facet({"run", "-ngl", "9"}).err.find("GPU"), std::string::npos);
}

TEST_F(Cli, WrongUsageHasStatus2) {
  EXPECT_EQ(facet({}).status, 2);
  EXPECT_EQ(facet({"fly"}).status, 2);
  EXPECT_EQ(facet({"run", "--no-such-flag", small_model(), "x"}).status, 2);
  EXPECT_EQ(facet({"run", small_model(), "-n", "many", "x"}).status, 2);
  EXPECT_EQ(facet({"run", small_model(), "--temp", "-1", "x"}).status, 2);
  EXPECT_EQ(facet({"run", small_model(), "-p", "x", "y"}).status, 2);
  const Outcome none = facet({"run"});
  EXPECT_EQ(none.status, 2);
  EXPECT_NE(none.err.find("no model is named"), std::string::npos) << none.err;
}

TEST_F(Cli, AMissingModelHasStatus3AndIsNamed) {
  for (const char* command : {"run", "chat", "inspect", "tokenize", "score"}) {
    const Outcome missing = facet({command, "-m", "absent.gguf"}, "x");
    EXPECT_EQ(missing.status, 3) << command << ": " << missing.err;
    EXPECT_NE(missing.err.find("absent.gguf"), std::string::npos) << command;
  }
}

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

// Logits that never change: what is chosen tells the penalties apart.
constexpr const char* kThreeLetters =
    R"([{"say": [{"logits": [["a", 5], ["b", 4], ["c", 4.5]], "rest": -60}], "repeat": true}])";

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

TEST_F(Cli, ChatSettingsReachTheSampler) {
  const Outcome done = facet({"chat", puppet(kThreeLetters), "--raw", "-n", "6", "--temp", "0"},
                             "x\n/set frequency_penalty 0.4\n/reset\nx\n/set frequency_penalty default\n"
                             "/set dry_multiplier 0.4\n/reset\nx\n/set\n/set dry_sequence_breaker a\n/reset\nx\n"
                             "/set logit_bias 1x\n/set speed 3\n/exit\n");
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(done.out.find("aaaaaa\naacacb\naaaaca\ntemp 0, "), 0u) << done.out;
  EXPECT_TRUE(done.out.ends_with("\naaaaaa\n")) << done.out;
  EXPECT_NE(done.out.find("dry_multiplier 0.4, dry_base default"), std::string::npos) << done.out;
  EXPECT_NE(done.err.find("value of logit_bias cannot be read"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("dry_penalty_last_n, seed, logit_bias, dry_sequence_breaker, predict or think"),
            std::string::npos)
      << done.err;
}

TEST_F(Cli, EnvironmentSetsOptions) {
  const std::string model = puppet(R"([{"say": [{"logits": [["a", 1.1], ["b", 1]]}], "repeat": true}])");
  const Words run = {"run", "--raw", "-n", "30", "x"};
  EXPECT_EQ(facet(run, "", {"FACET_MODEL=" + model, "FACET_TEMP=0"}).out, std::string(30, 'a') + "\n");
  const std::string drawn = facet(run, "", {"FACET_MODEL=" + model, "FACET_SEED=3"}).out;
  EXPECT_NE(drawn.find('b'), std::string::npos);
  EXPECT_EQ(facet(run, "", {"FACET_MODEL=" + model, "FACET_SEED=3"}).out, drawn);
  EXPECT_EQ(facet(run, "", {"FACET_MODEL=" + model, "FACET_TEMP=warm"}).status, 2);
}

TEST_F(Cli, TokenizesTextAndBack) {
  const std::string model = small_model();
  const Outcome ids = facet({"tokenize", model, "<bos>hello"});
  ASSERT_EQ(ids.status, 0) << ids.err;
  EXPECT_EQ(ids.out.substr(0, 4), "[2, ");
  EXPECT_EQ(facet({"tokenize", model, "--ids", ids.out}).out.find("<bos>"), 0u);
  const std::string bare = facet({"tokenize", model, "--no-bos", "hello"}).out;
  EXPECT_EQ(facet({"tokenize", model, "--ids", bare}).out, "hello");
  EXPECT_NE(facet({"tokenize", model, "--no-bos", "--no-special", "<bos>"}).out,
            facet({"tokenize", model, "--no-bos", "<bos>"}).out);
  EXPECT_EQ(facet({"tokenize", model, "--jsonl", "--no-bos"}, "\"hello\"\n\"\"\n").out, bare + "[]\n");
  EXPECT_EQ(facet({"tokenize", model, "--jsonl"}, "hello\n").status, 4);
  EXPECT_EQ(facet({"tokenize", model, "--ids", "99999999"}).status, 2);
}

TEST_F(Cli, TokenizeAddsOneBosToATextThatHasOne) {
  EXPECT_EQ(facet({"tokenize", small_model(), "<bos>hello"}).out, facet({"tokenize", small_model(), "hello"}).out);
}

TEST_F(Cli, ScoresAText) {
  const Outcome done = facet({"score", small_model(), "-c", "64", "-p", "hello", "--json"});
  ASSERT_EQ(done.status, 0) << done.err;
  const Json json = parsed(done.out);
  const Json::Array& rows = *json.find("logprobs")->array();
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(text_of(rows[1], "text"), "h");
  EXPECT_NEAR(json.find("perplexity")->number(), std::exp(-json.find("logprob_sum")->number() / 5), 1e-6 * 1e4);
  EXPECT_NE(facet({"score", small_model(), "-c", "64", "-p", "hello", "--quiet"}).out.find("6 tokens, perplexity"),
            std::string::npos);
}

TEST_F(Cli, InspectsAGgufFile) {
  const Outcome done = facet({"inspect", small_model(), "--json", "--tensors"});
  ASSERT_EQ(done.status, 0) << done.err;
  const Json json = parsed(done.out);
  EXPECT_EQ(text_of(json, "architecture"), "gemma4");
  for (const char* key : {"parameters", "file_bytes", "layers", "types", "context", "kv_bytes", "tensors", "remarks"})
    EXPECT_NE(json.find(key), nullptr) << key;
}

TEST_F(Cli, PlansWhatAModelWillTake) {
  const Outcome outcome = facet({"plan", small_model(), "-c", "300", "--parallel", "2", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const Json json = parsed(outcome.out);
  const auto number = [&](const char* key) {
    const Json* value = json.find(key);
    return value != nullptr && value->integer() != nullptr ? *value->integer() : -1;
  };
  EXPECT_EQ(number("context"), 300);
  EXPECT_EQ(number("sequences"), 2);
  int64_t sum = 0;
  for (const char* key : {"weight_bytes", "kv_sliding_bytes", "kv_full_bytes", "scratch_bytes", "logit_bytes",
                          "answer_bytes", "vocabulary_bytes", "program_bytes"}) {
    EXPECT_GT(number(key), 0) << key;
    sum += number(key);
  }
  EXPECT_EQ(number("total_bytes"), sum);
  EXPECT_GE(number("largest_context"), 300);

  const Json shown = parsed(facet({"inspect", small_model(), "-c", "300", "--json"}).out);
  EXPECT_EQ(*shown.find("weight_bytes")->integer(), number("weight_bytes"));
  EXPECT_EQ(2 * *shown.find("kv_bytes")->integer(), number("kv_sliding_bytes") + number("kv_full_bytes"));
  const std::string table = facet({"plan", small_model(), "-c", "300"}).out;
  for (const char* row : {"weights", "sliding cache", "full cache", "total", "tables", "available", "largest context"})
    EXPECT_NE(table.find(row), std::string::npos) << row;
}

TEST_F(Cli, APlanThatDoesNotFitHasStatus6AndNamesOneThatDoes) {
  const Words huge = {"plan", small_model(), "-c", "16000000", "--parallel", "4096", "--kv", "f32", "--json"};
  const Outcome outcome = facet(huge);
  EXPECT_EQ(outcome.status, 6);
  EXPECT_NE(outcome.err.find("does not fit in memory; -c "), std::string::npos) << outcome.err;
  const Json json = parsed(outcome.out);
  EXPECT_FALSE(*json.find("fits")->boolean());
  const std::string context = cat(*json.find("largest_context")->integer());
  EXPECT_EQ(*json.find("would_fit")->array()->front().string(), cat("-c ", context));
  EXPECT_EQ(facet({"plan", small_model(), "-c", context, "--parallel", "4096", "--kv", "f32"}).status, 0);
}

TEST_F(Cli, PlansThatMakeNoSenseAreRefused) {
  EXPECT_EQ(facet({"plan"}).status, 2);
  EXPECT_EQ(facet({"plan", small_model(), "text"}).status, 2);
  EXPECT_EQ(facet({"plan", small_model(), "-b", "0"}).status, 2);
  EXPECT_EQ(facet({"plan", small_model(), "--parallel", "0"}).status, 2);
  EXPECT_EQ(facet({"plan", small_model(), "--quant", "Q9"}).status, 2);
  EXPECT_EQ(facet({"plan", puppet("[]")}).status, 2);
  EXPECT_EQ(facet({"plan", path("nothing.gguf")}).status, 3);
  EXPECT_EQ(facet({"plan", write("text.gguf", "no model")}).status, 4);
}

TEST_F(Cli, ANameInAFileMovesNoCursor) {
  std::string bytes = contents(small_model());
  const std::string_view name = "token_embd.weight";
  const size_t place = bytes.find(name);
  ASSERT_NE(place, bytes.npos);
  bytes[place] = '\x1B';
  write("escape.gguf", bytes);
  const Outcome listed = facet({"inspect", path("escape.gguf"), "--tensors"});
  ASSERT_EQ(listed.status, 0) << listed.err;
  EXPECT_NE(listed.out.find("\xEF\xBF\xBDoken_embd.weight"), std::string::npos);
  EXPECT_EQ(listed.out.find('\x1B'), std::string::npos);
  const size_t key = bytes.find("general.architecture");
  ASSERT_NE(key, bytes.npos);
  bytes.replace(bytes.find("gemma4", key), 6, "\x1B[2Jmm");
  write("escape.gguf", bytes);
  const Outcome refused = facet({"inspect", path("escape.gguf")});
  EXPECT_EQ(refused.status, 5) << refused.err;
  EXPECT_NE(refused.err.find("\xEF\xBF\xBD[2Jmm"), std::string::npos) << refused.err;
  EXPECT_EQ(refused.err.find('\x1B'), std::string::npos);
}

TEST_F(Cli, InspectsAFolder) {
  const std::filesystem::path source = source_path("tests/golden/data/text/tiny-e");
  for (const char* name : {"generation_config.json", "model.safetensors"})
    std::filesystem::copy_file(source / name, path(name));
  constexpr std::string_view kKeys[] = {"\"vocab_size\": ", "\"vocab_size_per_layer_input\": "};
  std::string config = contents(source / "config.json");
  for (const std::string_view key : kKeys) ASSERT_NE(config.find(key), std::string::npos);
  write("config.json", config);
  const std::string folder = std::filesystem::path(path("x")).parent_path().string();
  const Outcome without = facet({"inspect", folder, "--json"});
  ASSERT_EQ(without.status, 0) << without.err;
  EXPECT_EQ(text_of(parsed(without.out), "tokenizer"), "none");
  EXPECT_NE(without.out.find("model has no tokenizer"), std::string::npos) << without.out;
  EXPECT_EQ(facet({"run", folder, "x"}).status, 3);
  // No vocabulary is as small as the one of this model; inspect reads no weights that could contradict.
  for (const std::string_view key : kKeys)
    config.replace(config.find(key), key.size(), cat(key, "512, \"was ", key.substr(1)));
  write("config.json", config);
  write("tokenizer.json", tokenizer::testing::words().json().dump());
  const Outcome done = facet({"inspect", folder, "--json"});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(text_of(parsed(done.out), "path"), folder);
  EXPECT_NE(parsed(done.out).find("width"), nullptr);
}

TEST_F(Cli, QuantizesWithImportanceAndRunsTheResult) {
  const std::string model = source_path("tests/golden/data/gguf/moe-micro-q4_k_m.gguf").string();
  write("text.txt", "the quick brown fox jumps over the lazy dog and runs away\n");
  const Outcome floats = facet({"quantize", model, path("f32.gguf"), "f32", "--allow-requantize"});
  ASSERT_EQ(floats.status, 0) << floats.err;
  const Outcome collected = facet({"imatrix", path("f32.gguf"), "-f", path("text.txt"), "-o", path("imatrix.gguf")});
  ASSERT_EQ(collected.status, 0) << collected.err;
  const Outcome made = facet({"quantize", path("f32.gguf"), path("q.gguf"), "q4_k_m", "--imatrix", path("imatrix.gguf"),
                              "--tensor-type", "attn_q=q8_0", "--json"});
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_NE(parsed(made.out).find("types")->find("Q8_0"), nullptr) << made.out;
  EXPECT_EQ(facet({"run", path("q.gguf"), "--raw", "the", "-n", "2", "-c", "64"}).status, 0);
  const Outcome again = facet({"quantize", path("f32.gguf"), path("q.gguf"), "q4_0"});
  EXPECT_EQ(again.status, 2);
  EXPECT_NE(again.err.find("--force"), std::string::npos) << again.err;
  EXPECT_EQ(facet({"quantize", path("f32.gguf"), path("q.gguf"), "q4_0", "--force"}).status, 0);
  const Outcome type = facet({"quantize", path("f32.gguf"), path("x.gguf"), "q9"});
  EXPECT_EQ(type.status, 2);
  EXPECT_NE(type.err.find("Q4_K_M"), std::string::npos) << type.err;
}

TEST_F(Cli, ConvertsSplitsAndMerges) {
  const std::string folder = source_path("tests/golden/data/text/tiny-e").string(), file = path("e.gguf");
  const Outcome converted = facet({"convert", folder, file, "--sha256"});
  ASSERT_EQ(converted.status, 0) << converted.err;
  ASSERT_GT(converted.out.size(), 66u);
  EXPECT_EQ(converted.out.find_first_not_of("0123456789abcdef"), 64u) << converted.out;
  EXPECT_EQ(converted.out.substr(64), cat("  ", file, "\n"));
  EXPECT_NE(converted.err.find("without a vocabulary"), std::string::npos) << converted.err;
  const Outcome again = facet({"convert", folder, file});
  EXPECT_EQ(again.status, 2);
  EXPECT_NE(again.err.find("--force"), std::string::npos) << again.err;
  EXPECT_EQ(facet({"convert", folder, file, "--force", "--type", "f32"}).status, 0);

  const Outcome split = facet({"split", file, path("part"), "--max-size", "500K"});
  ASSERT_EQ(split.status, 0) << split.err;
  const std::string first = split.out.substr(0, split.out.find('\n'));
  ASSERT_EQ(facet({"merge", first, path("whole.gguf")}).status, 0);
  EXPECT_EQ(contents(path("whole.gguf")), contents(file));
  EXPECT_EQ(facet({"convert", path("whole.gguf"), path("back"), "--type", "BF16"}).status, 0);
  EXPECT_TRUE(std::filesystem::exists(path("back") + "/config.json"));
}

TEST_F(Cli, ConversionsThatMakeNoSenseAreWrongUsage) {
  const std::string file = small_model();
  for (const Words& words :
       {Words{"convert", file, path("x.gguf")}, Words{"convert", file, path("x"), "--type", "q4_0"},
        Words{"convert", file, path("x"), "--split-max-size", "much"}, Words{"split", file, path("x")},
        Words{"split", file, path("x"), "--max-size", "0"}, Words{"split", file, path("x"), "--max-size", "9e99G"},
        Words{"merge", file, path("x.gguf")}, Words{"merge", file}}) {
    const Outcome outcome = facet(words);
    EXPECT_EQ(outcome.status, 2) << words.front() << ' ' << outcome.err;
    EXPECT_FALSE(outcome.err.empty());
  }
  EXPECT_FALSE(std::filesystem::exists(path("x")));
}

TEST_F(Cli, ScoreComparesWholeDistributions) {
  const std::string model = source_path("tests/golden/data/gguf/nano-q4_0.gguf").string();
  const std::vector<std::string> score = {"score",     model,           "-p", "the quick brown fox",
                                          "--kl-base", path("base.kl"), "-c", "64"};
  const Outcome written = facet(score);
  ASSERT_EQ(written.status, 0) << written.err;
  EXPECT_NE(written.err.find("wrote "), std::string::npos) << written.err;
  std::vector<std::string> exact = score;
  exact.push_back("--json");
  exact.push_back("--exact");
  const Outcome compared = facet(exact);
  ASSERT_EQ(compared.status, 0) << compared.err;
  const Json json = parsed(compared.out);
  EXPECT_GT(json.find("kl_mean")->number(), 0) << "int8 activations are not exact";
  EXPECT_LT(json.find("kl_mean")->number(), 0.2);
  const Outcome other = facet({"score", model, "-p", "another text", "--kl-base", path("base.kl"), "-c", "64"});
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.err.find("another text"), std::string::npos) << other.err;
}

// --- bench ---

TEST_F(Cli, BenchPrintsJson) {
  const Outcome done = facet({"bench", small_model(), "-p", "40", "-n", "3", "-d", "64,0", "--parallel", "2,1", "-r",
                              "2", "--kv", "bf16,int8", "-t", "2", "--no-skip", "--json"});
  ASSERT_EQ(done.status, 0) << done.err;
  const Json json = parsed(done.out);
  const std::vector<std::string> tests = {"pp40", "tg3 x 2", "tg3", "pp40 @ d64", "tg3 x 2 @ d64", "tg3 @ d64"};
  ASSERT_EQ(json.array()->size(), 2 * tests.size());
  for (size_t i = 0; i < json.array()->size(); ++i) {
    const Json& row = (*json.array())[i];
    EXPECT_EQ(text_of(row, "test"), tests[i % tests.size()]);
    EXPECT_EQ(text_of(row, "kv"), i < tests.size() ? "bf16" : "int8");
    EXPECT_EQ(row.find("seconds")->array()->size(), 2u);
    EXPECT_EQ(*row.find("threads")->integer(), 2);
    EXPECT_FALSE(*row.find("skip")->boolean());
    for (const char* key : {"tokens_per_s", "tokens_per_s_min", "tokens_per_s_max", "load_seconds",
                            "weight_bytes_per_token", "kv_bytes_per_token", "operations_per_token", "gb_per_s", "gops",
                            "machine_read_gb_per_s", "machine_int8_gops", "bound_by_memory", "bound_by_arithmetic"}) {
      ASSERT_NE(row.find(key), nullptr) << key;
      EXPECT_GT(row.find(key)->number(), 0) << key;
    }
    EXPECT_LE(row.find("tokens_per_s_min")->number(), row.find("tokens_per_s_max")->number());
  }
}

TEST_F(Cli, BenchPrintsTablesAndCsv) {
  const Words short_run = {"bench", small_model(), "-p", "0", "-n", "1,2", "-r", "1", "--no-warmup", "--sampler"};
  const auto lines = [&](const Words& form) {
    Words words = short_run;
    words.insert(words.end(), form.begin(), form.end());
    const Outcome done = facet(words);
    EXPECT_EQ(done.status, 0) << done.err;
    std::vector<std::string> all;
    std::istringstream in(done.out);
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  };
  const std::vector<std::string> csv = lines({"--csv"}), same = lines({"-o", "csv"});
  ASSERT_EQ(csv.size(), 3u);
  EXPECT_EQ(csv[0], same[0]);
  EXPECT_EQ(csv[0].find("model,description,"), 0u) << csv[0];
  for (const std::string& line : csv) EXPECT_EQ(std::ranges::count(line, ','), std::ranges::count(csv[0], ',')) << line;
  EXPECT_NE(csv[1].find(",tg1,write,1,0,1,1,"), std::string::npos) << csv[1];
  EXPECT_NE(csv[2].find(",tg2,write,2,0,1,1,"), std::string::npos) << csv[2];
  const std::vector<std::string> table = lines({}), rows = lines({"-o", "jsonl"});
  ASSERT_EQ(table.size(), 6u);  // the model, an empty line, two of the header, two rows
  for (size_t i = 2; i < table.size(); ++i) EXPECT_EQ(table[i].size(), table[2].size()) << table[i];
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(text_of(parsed(rows[1]), "test"), "tg2");
}

TEST_F(Cli, BenchRefusesWhatMakesNoSense) {
  const std::string model = small_model();
  for (const Words& flags : {Words{"-p", "0", "-n", "0"},
                             Words{"-p", "many"},
                             Words{"-p", "-1"},
                             Words{"-p", "5,,6"},
                             Words{"-p", ""},
                             Words{"-p", "99999999999"},
                             Words{"-p", "9999999k"},
                             Words{"-p", "9223372036854775807k"},
                             Words{"-n", "1x"},
                             Words{"--depth", "k"},
                             Words{"--parallel", "0"},
                             Words{"--parallel", "9", "-b", "8"},
                             Words{"-r", "0"},
                             Words{"--kv", "q9"},
                             Words{"--kv", ""},
                             Words{"-t", "-2"},
                             Words{"-o", "xml"},
                             Words{"--json", "--csv"},
                             Words{"and", "text"},
                             Words{"-ctk", "f16"}}) {
    Words words = {"bench", model, "-r", "1"};
    if (flags.front() == "-r") words = {"bench", model};
    words.insert(words.end(), flags.begin(), flags.end());
    const Outcome refused = facet(words);
    EXPECT_EQ(refused.status, 2) << flags.front() << ' ' << refused.err;
    EXPECT_EQ(refused.out, "") << flags.front();
    EXPECT_NE(refused.err, "") << flags.front();
  }
  EXPECT_EQ(facet({"bench", puppet(R"([{"say": "x"}])")}).status, 2);
  EXPECT_EQ(facet({"bench", "absent.gguf"}).status, 3);
}

TEST_F(Cli, BenchSaysWhatContextDoesNotFitAndWhatGoesBeyondTraining) {
  const Outcome large = facet({"bench", small_model(), "-p", "0", "-n", "1", "-d", "16000k", "--parallel", "512"});
  EXPECT_EQ(large.status, 6) << large.err;
  EXPECT_NE(large.err.find("does not fit in memory"), std::string::npos) << large.err;
  const Outcome beyond =
      facet({"bench", small_model(), "-p", "2100", "-n", "0", "-r", "1", "--no-warmup", "-b", "512"});
  EXPECT_EQ(beyond.status, 0) << beyond.err;
  EXPECT_NE(beyond.err.find("trained for 2048 positions; 2100 go beyond"), std::string::npos) << beyond.err;
}

TEST_F(Cli, DoctorPrintsJson) {
  const Outcome done = facet({"doctor", "--json"});
  ASSERT_EQ(done.status, 0) << done.err;
  const Json json = parsed(done.out);
  for (const char* key : {"processor_tiers", "tier", "threads", "memory_available_bytes", "cache_folder"})
    EXPECT_NE(json.find(key), nullptr) << key;
  EXPECT_EQ(text_of(json, "cache_folder"), path("cache"));
}

TEST_F(Cli, DoctorKnowsTheDiskOfACacheThatIsNotThereAndCountsPastBrokenLinks) {
  const auto number = [](const Json& json, const char* key) {
    const Json* member = json.find(key);
    return member != nullptr && member->integer() != nullptr ? *member->integer() : int64_t{-1};
  };
  const Outcome absent = facet({"doctor", "--json"}, "", {"FACET_CACHE=no/such/folder"});
  ASSERT_EQ(absent.status, 0) << absent.err;
  EXPECT_GT(number(parsed(absent.out), "disk_free_bytes"), 0) << absent.out;

  const std::string files = path("files");
  std::filesystem::create_directories(files + "/deep");
  std::filesystem::create_symlink("nowhere", files + "/broken");
  std::filesystem::create_symlink("deep/ten", files + "/again");
  std::ofstream(files + "/deep/ten") << "0123456789";
  const Outcome counted = facet({"doctor", "--json"}, "", {"FACET_CACHE=" + files});
  ASSERT_EQ(counted.status, 0) << counted.err;
  EXPECT_EQ(number(parsed(counted.out), "cache_bytes"), 10) << counted.out;
}

TEST_F(Cli, TraceHasStatus1WhenATapFailsAndNamesTheFirst) {
  const std::string golden = source_path("tests/golden/data/text/tiny-e").string();
  const Outcome passed = facet({"trace", golden, "--golden", golden});
  EXPECT_EQ(passed.status, 0) << passed.out << passed.err;
  EXPECT_EQ(passed.out.find("FAIL"), std::string::npos);
  const Outcome failed = facet({"trace", golden, "--golden", golden, "--tolerance", "1e-9"});
  EXPECT_EQ(failed.status, 1);
  EXPECT_EQ(failed.out.find("first failing tap:\nFAIL "), 0u) << failed.out.substr(0, 200);
}

TEST_F(Cli, VerifySaysThatAFileIsEqualAndHowNear) {
  const Outcome text = facet({"verify", small_model(), "-t", "2"});
  EXPECT_EQ(text.status, 0) << text.out << text.err;
  EXPECT_NE(text.out.find("equal  embedding: "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("equal  layer 0: "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("\nequal within the arithmetic's bound: "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("Q4_0"), std::string::npos) << text.out;
  const Outcome outcome = facet({"verify", small_model(), "--json", "--isa", "scalar", "--act", "f32", "--kv", "f16",
                                 "--quant", "Q2_K", "--full"});
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const Json json = parsed(outcome.out);
  EXPECT_TRUE(*json.find("equal")->boolean());
  EXPECT_EQ(*json.find("isa")->string(), "scalar");
  EXPECT_EQ(*json.find("kv")->string(), "f16");
  EXPECT_TRUE(json.find("first_difference")->is_null());
  EXPECT_EQ(facet({"verify", small_model(), "--kv", "f31"}).status, 2);
  EXPECT_EQ(facet({"verify", small_model(), small_model()}).status, 2);
}

TEST_F(Cli, VerifyHasStatus1WhereANumberIsNoneAndNamesIt) {
  const auto golden = source_path("tests/golden/data/text/tiny-e");
  const std::string folder = path("damaged");
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(golden / "config.json", folder + "/config.json");
  std::filesystem::copy_file(golden / "model.safetensors", folder + "/model.safetensors");
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(folder);
  ASSERT_TRUE(checkpoint.ok());
  const auto tensor = std::ranges::find_if(checkpoint->tensors(), [](const formats::TensorInfo& info) {
    return info.name.ends_with("layers.2.mlp.down_proj.weight");
  });
  ASSERT_NE(tensor, checkpoint->tensors().end());
  const float nan = std::nanf("");
  std::fstream file(folder + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(tensor->offset).write(reinterpret_cast<const char*>(&nan), sizeof nan);
  file.close();
  const Outcome text = facet({"verify", folder});
  EXPECT_EQ(text.status, 1);
  EXPECT_NE(text.out.find("DIFFERS  layer 2: "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("first difference: layer 2, ffn_down, row 0 (position 0), column 0: expected "),
            std::string::npos)
      << text.out;
  const Outcome outcome = facet({"verify", folder, "--json"});
  EXPECT_EQ(outcome.status, 1);
  const Json json = parsed(outcome.out);
  EXPECT_EQ(*json.find("first_difference")->find("step")->string(), "ffn_down");
}

TEST_F(Cli, ChatConverses) {
  const std::string saved = path("saved.json");
  const std::string model =
      puppet(R"([{"after": "one<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", "say": "ha<turn|>"},
                                       {"say": "bo<turn|>"}])");
  const std::string script = cat("one\n/help\n/regen\n/save ", saved, "\n/reset\n/regen\n/load ", saved,
                                 "\n/regen\n/set temp 0.5\n/set\n/set temp warm\n/fly\ntwo\n/exit\nnever\n");
  const Outcome done = facet({"chat", model}, script);
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(done.out.find("ha\n"), 0u) << done.out;
  EXPECT_NE(done.out.find("/exit          leave (Ctrl-D too)\nCtrl-C stops an answer.\nha\nha\ntemp 0.5, "),
            std::string::npos)
      << done.out;
  EXPECT_NE(done.out.find("\nbo\n"), std::string::npos) << done.out;
  EXPECT_NE(done.err.find("there is no answer to make again"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("value of temp cannot be read"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("there is no command /fly"), std::string::npos) << done.err;
  const Json json = parsed(contents(saved));
  ASSERT_NE(json.find("messages"), nullptr);
  ASSERT_EQ(json.find("messages")->array()->size(), 2u);
  EXPECT_EQ(text_of(json.find("messages")->array()->back(), "text"), "ha");
}

TEST_F(Cli, ChatSurvivesAFailedAnswer) {
  const std::string model =
      puppet(R"([{"after": "bad<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", "say": [{"broken": "nan"}]},
                                       {"say": "bo<turn|>"}])");
  const Outcome done = facet({"chat", model}, "bad\ngood\n");
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.out, "bo\n");
}

}  // namespace
}  // namespace facet::cli
