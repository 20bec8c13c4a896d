// facet chat.
#include <string>

#include "base/json.h"
#include "base/strings.h"
#include "cli/program.h"

namespace facet::cli {
namespace {

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
