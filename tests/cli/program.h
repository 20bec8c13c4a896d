// The program as its users meet it: run as a child, judged by what it prints and by its exit status.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <spawn.h>

#include "base/json.h"
#include "base/strings.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::cli {

using facet::testing::contents;
using facet::testing::source_path;
using Words = std::vector<std::string>;

// Answers of a puppet whose logits never change: what is chosen tells the settings of the sampler apart.
inline constexpr const char* kThreeLetters =
    R"([{"say": [{"logits": [["a", 5], ["b", 4], ["c", 4.5]], "rest": -60}], "repeat": true}])";

struct Outcome {
  int status = -1;
  std::string out, err;
};

class Cli : public ::testing::Test {
 protected:
  // Runs the program with files as its three streams; sink: what takes the place of its standard output.
  Outcome facet(Words words, const std::string& input = "", const Words& variables = {}, const char* sink = nullptr);

  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string write(const std::string& name, const std::string& text) const;
  // A puppet that knows the vocabulary and the chat template of the small model.
  std::string puppet(const std::string& answers) const;
  static std::string small_model() { return source_path("tests/golden/data/gguf/nano-q4_0.gguf").string(); }

  static Json parsed(const std::string& text);
  static std::string text_of(const Json& json, const char* key);

 private:
  // Ours without FACET_…, plus the variables.
  Words environment(const Words& variables) const;
  static pid_t spawn(const posix_spawn_file_actions_t& actions, Words words, Words variables);

  facet::testing::TemporaryFolder folder_;
};

}  // namespace facet::cli
