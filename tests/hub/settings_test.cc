#include "hub/settings.h"

#include <fstream>
#include <map>

#include "support/expect.h"
#include "support/paths.h"

namespace facet::hub {
namespace {

using Environment = std::map<std::string, std::string>;

Result<Settings> read(const Environment& environment) {
  return read_settings([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::nullopt : std::optional(found->second);
  });
}

TEST(Settings, TheCacheIsWhereTheFirstVariableSays) {
  Environment environment = {{"HOME", "/home/me"}};
  const auto cache = [&] { return read(environment)->cache.string(); };
  EXPECT_EQ(cache(), "/home/me/.cache/huggingface/hub");
  environment["XDG_CACHE_HOME"] = "/xdg";
  EXPECT_EQ(cache(), "/xdg/huggingface/hub");
  environment["HF_HOME"] = "/hf";
  EXPECT_EQ(cache(), "/hf/hub");
  environment["HUGGINGFACE_HUB_CACHE"] = "/old";
  EXPECT_EQ(cache(), "/old");
  environment["HF_HUB_CACHE"] = "~/models";
  EXPECT_EQ(cache(), "/home/me/models");
  environment["LLAMA_CACHE"] = "/llama";
  EXPECT_EQ(cache(), "/llama");
  environment["LLAMA_CACHE"] = "";  // set to nothing is not set
  EXPECT_EQ(cache(), "/home/me/models");
  EXPECT_FALSE(read({})->cache.empty());  // the account's home
}

TEST(Settings, TheServerIsTheHubOrAMirror) {
  EXPECT_EQ(read({{"HOME", "/"}})->endpoint, "https://huggingface.co");
  EXPECT_EQ(read({{"HOME", "/"}, {"HF_ENDPOINT", "https://mirror/path//"}})->endpoint, "https://mirror/path");
  EXPECT_EQ(read({{"HOME", "/"}, {"HF_ENDPOINT", "https://a"}, {"MODEL_ENDPOINT", "http://b/"}})->endpoint, "http://b");
  const Result<Settings> wrong = read({{"HOME", "/"}, {"MODEL_ENDPOINT", "mirror"}});
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().where, "MODEL_ENDPOINT");
}

TEST(Settings, TheTokenIsGivenOrInAFile) {
  const facet::testing::TemporaryFolder folder;
  const std::string home = folder.path().string();
  const auto write = [&](const char* name, const std::string& text) {
    std::filesystem::create_directories((folder.path() / name).parent_path());
    std::ofstream(folder.path() / name) << text;
  };
  EXPECT_EQ(read({{"HOME", home}})->token, "");
  write(".cache/huggingface/token", "hf_file\n");
  EXPECT_EQ(read({{"HOME", home}})->token, "hf_file");
  EXPECT_EQ(read({{"HOME", home}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}})->token, "");
  write("hf/token", "  hf_home  ");
  EXPECT_EQ(read({{"HOME", home}, {"HF_HOME", home + "/hf"}})->token, "hf_home");
  write("own", "hf_own");
  EXPECT_EQ(read({{"HOME", home}, {"HF_TOKEN_PATH", "~/own"}})->token, "hf_own");
  EXPECT_EQ(read({{"HOME", home}, {"HUGGING_FACE_HUB_TOKEN", "hf_old"}})->token, "hf_old");
  EXPECT_EQ(read({{"HOME", home}, {"HF_TOKEN", "hf_new"}, {"HUGGING_FACE_HUB_TOKEN", "hf_old"}})->token, "hf_new");
  write("own", "hf_a\r\nX-Injected: 1");
  const Result<Settings> injected = read({{"HOME", home}, {"HF_TOKEN_PATH", "~/own"}});
  ASSERT_FALSE(injected.ok());
  EXPECT_EQ(injected.error().message().find("hf_a"), std::string::npos);
  EXPECT_FALSE(check_token(std::string(5000, 'x'), "token").ok());
}

TEST(Settings, SwitchesAndTimes) {
  const auto with = [](const char* name, const char* value) { return read({{"HOME", "/"}, {name, value}}); };
  EXPECT_FALSE(read({{"HOME", "/"}})->offline);
  for (const char* on : {"1", "on", "Yes", "TRUE"}) EXPECT_TRUE(with("HF_HUB_OFFLINE", on)->offline) << on;
  EXPECT_FALSE(with("HF_HUB_OFFLINE", "0")->offline);
  EXPECT_TRUE(with("TRANSFORMERS_OFFLINE", "1")->offline);
  EXPECT_TRUE(with("HOME", "/")->symlinks);
  EXPECT_FALSE(with("HF_HUB_DISABLE_SYMLINKS", "1")->symlinks);
  EXPECT_EQ(with("SSL_CERT_FILE", "/ca")->certificates, "/ca");
  EXPECT_EQ(with("FACET_RETRY_SECONDS", "0.5")->retry_seconds, 0.5);
  EXPECT_EQ(with("FACET_STALL_SECONDS", "7")->stall_seconds, 7);
  for (const char* wrong : {"-1", "x", "1 s", "99999"}) EXPECT_FALSE(with("FACET_RETRY_SECONDS", wrong).ok()) << wrong;
  EXPECT_FALSE(with("FACET_STALL_SECONDS", "0").ok());
}

}  // namespace
}  // namespace facet::hub
