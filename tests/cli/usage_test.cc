// Command lines: words, flags, help, and what a wrong one is told.
#include <string>
#include <vector>

#include <sys/stat.h>

#include "base/strings.h"
#include "cli/program.h"

namespace facet::cli {
namespace {

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

TEST_F(Cli, EnvironmentSetsOptions) {
  const std::string model = puppet(R"([{"say": [{"logits": [["a", 1.1], ["b", 1]]}], "repeat": true}])");
  const Words run = {"run", "--raw", "-n", "30", "x"};
  EXPECT_EQ(facet(run, "", {"FACET_MODEL=" + model, "FACET_TEMP=0"}).out, std::string(30, 'a') + "\n");
  const std::string drawn = facet(run, "", {"FACET_MODEL=" + model, "FACET_SEED=3"}).out;
  EXPECT_NE(drawn.find('b'), std::string::npos);
  EXPECT_EQ(facet(run, "", {"FACET_MODEL=" + model, "FACET_SEED=3"}).out, drawn);
  EXPECT_EQ(facet(run, "", {"FACET_MODEL=" + model, "FACET_TEMP=warm"}).status, 2);
}

}  // namespace
}  // namespace facet::cli
