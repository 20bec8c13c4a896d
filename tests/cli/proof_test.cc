// What facet says of a machine and of a file: doctor, trace, verify.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>

#include "base/json.h"
#include "cli/program.h"
#include "formats/checkpoint.h"

namespace facet::cli {
namespace {

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

}  // namespace
}  // namespace facet::cli
