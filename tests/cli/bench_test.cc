// facet bench.
#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/program.h"

namespace facet::cli {
namespace {

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

}  // namespace
}  // namespace facet::cli
