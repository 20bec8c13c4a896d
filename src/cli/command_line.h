// The command line: a program, its commands, their options. A thin face of CLI11, whose headers command_line.cc alone
// reads: they cost every file that does half a minute of compilation under the sanitizers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "facet/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace facet::cli {

// The numbers that an option takes, and what is said of others.
struct Numbers {
  bool (*fit)(double);
  const char* otherwise;
};

// A declared option, made stricter. What a value must not be is said when the command line is read.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& required();
  Option& type_name(const char* name);  // in the help
  Option& between(int64_t least, int64_t most);
  Option& one_of(std::vector<std::string> values);
  Option& one_of_in_any_case(std::vector<std::string> values);
  Option& among(const Numbers& numbers);
  // reason(text): why a text will not do; empty where it will.
  Option& check(std::function<std::string(const std::string&)> reason);
  // Repeated, it takes one value each time.
  Option& one_at_a_time();

 private:
  CLI::Option* option_;
};

// One command. Targets outlive the program.
class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  // "-c,--ctx-size" can also be set by FACET_CTX_SIZE. T: bool, the integers, floats and strings that commands use,
  // their std::optional, and std::vector of strings.
  template <class T>
  Option option(const std::string& names, T& target, const std::string& help);
  Option flag(const std::string& names, bool& target, const std::string& help);
  // What the environment should not decide.
  Option flag_typed_only(const std::string& names, bool& target, const std::string& help);
  // Words without a name: one, or all that are left.
  Option word(const char* name, std::string& target, const char* help);
  Option words(std::vector<std::string>& target, const char* help);
  void footer(const std::string& text);

 private:
  CLI::App* app_;
};

class Program {
 public:
  Program(const char* name, const char* about, const char* version, const char* footer);
  ~Program();

  // A command of type C: void C::add_to(Command&) declares its options, Result<int> C::run() does its work and returns
  // the exit status; an error is reported, and its code is the status.
  template <class C>
  void add(const char* name, const char* about) {
    const auto command = std::make_shared<C>();
    command->add_to(add_command(name, about, [command] { return command->run(); }));
  }

  std::vector<std::string> commands() const;
  // Reads the command line (words[0] is the program) and runs its command; the exit status, 2 for wrong usage.
  int run(const std::vector<std::string>& words);

 private:
  Command& add_command(const char* name, const char* about, std::function<Result<int>()> run);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace facet::cli
