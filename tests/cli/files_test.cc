// Commands on model files: inspect, plan, imatrix, quantize, convert, split, merge.
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "cli/program.h"
#include "tokenizer/small_vocab.h"

namespace facet::cli {
namespace {

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

}  // namespace
}  // namespace facet::cli
