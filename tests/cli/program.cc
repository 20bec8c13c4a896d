#include "cli/program.h"

#include <fstream>
#include <string_view>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace facet::cli {

Outcome Cli::facet(Words words, const std::string& input, const Words& variables, const char* sink) {
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

std::string Cli::write(const std::string& name, const std::string& text) const {
  std::ofstream(path(name), std::ios::binary) << text;
  return path(name);
}

std::string Cli::puppet(const std::string& answers) const {
  return "puppet:" + write("puppet.json", cat(R"({"puppet": 1, "vocabulary": )", Json(small_model()).dump(),
                                              R"(, "answers": )", answers, "}"));
}

Json Cli::parsed(const std::string& text) {
  Result<Json> json = Json::parse(text, "output");
  if (!json.ok()) {
    ADD_FAILURE() << json.error().message() << "\n" << text;
    return {};
  }
  return *std::move(json);
}

std::string Cli::text_of(const Json& json, const char* key) {
  const Json* member = json.find(key);
  return member != nullptr && member->string() != nullptr ? *member->string() : cat("no text ", key);
}

Words Cli::environment(const Words& variables) const {
  Words all = variables;
  all.push_back("FACET_CACHE=" + path("cache"));
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (!std::string_view(*entry).starts_with("FACET_")) all.emplace_back(*entry);
  return all;
}

pid_t Cli::spawn(const posix_spawn_file_actions_t& actions, Words words, Words variables) {
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

}  // namespace facet::cli
