#include "cli/command_line.h"

#include <cctype>
#include <deque>
#include <optional>

#include <CLI/CLI.hpp>

#include "cli/terminal.h"

namespace facet::cli {
namespace {

std::string environment_name(const std::string& flag_names) {
  const size_t dashes = flag_names.rfind("--");
  std::string name = "FACET_";
  for (const char c : flag_names.substr(dashes == std::string::npos ? 0 : dashes + 2)) {
    if (c == ',') break;
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

}  // namespace

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::type_name(const char* name) {
  option_->type_name(name);
  return *this;
}

Option& Option::between(int64_t least, int64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option& Option::one_of(std::vector<std::string> values) {
  option_->check(CLI::IsMember(std::move(values)));
  return *this;
}

Option& Option::one_of_in_any_case(std::vector<std::string> values) {
  option_->check(CLI::IsMember(std::move(values), CLI::ignore_case));
  return *this;
}

Option& Option::among(const Numbers& numbers) {
  return check([numbers](const std::string& text) {
    double value = 0;
    return CLI::detail::lexical_cast(text, value) && numbers.fit(value) ? std::string()
                                                                        : std::string(numbers.otherwise);
  });
}

Option& Option::check(std::function<std::string(const std::string&)> reason) {
  option_->check(CLI::Validator(std::move(reason), ""));
  return *this;
}

Option& Option::one_at_a_time() {
  option_->allow_extra_args(false);
  return *this;
}

template <class T>
Option Command::option(const std::string& names, T& target, const std::string& help) {
  return Option(app_->add_option(names, target, help)->envname(environment_name(names)));
}
template Option Command::option(const std::string&, bool&, const std::string&);
template Option Command::option(const std::string&, int&, const std::string&);
template Option Command::option(const std::string&, int64_t&, const std::string&);
template Option Command::option(const std::string&, float&, const std::string&);
template Option Command::option(const std::string&, double&, const std::string&);
template Option Command::option(const std::string&, std::string&, const std::string&);
template Option Command::option(const std::string&, std::optional<int>&, const std::string&);
template Option Command::option(const std::string&, std::optional<int64_t>&, const std::string&);
template Option Command::option(const std::string&, std::optional<uint64_t>&, const std::string&);
template Option Command::option(const std::string&, std::optional<float>&, const std::string&);
template Option Command::option(const std::string&, std::optional<double>&, const std::string&);
template Option Command::option(const std::string&, std::optional<std::string>&, const std::string&);
template Option Command::option(const std::string&, std::vector<std::string>&, const std::string&);

Option Command::flag(const std::string& names, bool& target, const std::string& help) {
  return Option(app_->add_flag(names, target, help)->envname(environment_name(names)));
}

Option Command::flag_typed_only(const std::string& names, bool& target, const std::string& help) {
  return Option(app_->add_flag(names, target, help));
}

Option Command::word(const char* name, std::string& target, const char* help) {
  return Option(app_->add_option(name, target, help));
}

Option Command::words(std::vector<std::string>& target, const char* help) {
  return Option(app_->add_option("words", target, help));
}

void Command::footer(const std::string& text) { app_->footer(text); }

struct Program::State {
  CLI::App app;
  std::deque<Command> commands;
  int status = 0;
};

Program::Program(const char* name, const char* about, const char* version, const char* footer)
    : state_(std::make_unique<State>()) {
  state_->app.name(name);
  state_->app.description(about);
  state_->app.set_version_flag("--version", version);
  state_->app.set_help_all_flag("--help-all", "help of all subcommands");
  state_->app.footer(footer);
  state_->app.require_subcommand(1);
}

Program::~Program() = default;

Command& Program::add_command(const char* name, const char* about, std::function<Result<int>()> run) {
  CLI::App* const app = state_->app.add_subcommand(name, about);
  app->callback([run = std::move(run), status = &state_->status] {
    const Result<int> result = run();
    *status = result.ok() ? *result : report(result.error());
  });
  return state_->commands.emplace_back(app);
}

std::vector<std::string> Program::commands() const {
  std::vector<std::string> names;
  for (const CLI::App* command : state_->app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

int Program::run(const std::vector<std::string>& words) {
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  try {  // CLI11 reports by throwing
    state_->app.parse(static_cast<int>(pointers.size()), pointers.data());
  } catch (const CLI::ParseError& error) {
    return state_->app.exit(error) == 0 ? 0 : 2;
  }
  return state_->status;
}

}  // namespace facet::cli
