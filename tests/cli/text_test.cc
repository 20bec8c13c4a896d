// facet tokenize and facet score.
#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/program.h"

namespace facet::cli {
namespace {

TEST_F(Cli, OneTokenCannotBeScored) {
  const Outcome outcome = facet({"score", small_model(), "-f", "/dev/null"});
  EXPECT_EQ(outcome.status, 2) << outcome.out;
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

}  // namespace
}  // namespace facet::cli
