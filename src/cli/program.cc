// The program: its subcommands, and what happens when the command line is wrong.
#include <cstdio>
#include <iostream>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr const char* kFooter =
    R"(Exit status: 0 success; 1 a comparison failed (trace, verify); 2 wrong usage; 3 not found; 4 corrupt file; 5 unsupported;
6 memory or context does not suffice; 7 input or output failed; 8 unavailable; 9 numbers are not finite; 130 interrupted.

Every option can be set by an environment variable: --ctx-size by FACET_CTX_SIZE.

Examples:
  facet pull ggml-org/gemma-4-E2B-it-GGUF
  facet run -hf ggml-org/gemma-4-E2B-it-GGUF "Why is the sky blue?"
  facet run model.gguf "The sky is blue because"
  facet chat model.gguf
  facet inspect model.gguf)";

// Flags of other engines get their reason instead of being read as short flags with a value (-fa is not -f a). The
// value of an option that takes a text may look like one.
bool refuses(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") return false;
    if (takes_text(argument)) {
      ++i;
      continue;
    }
    if (const std::optional<std::string_view> reason = refusal(argument)) {
      note(cat(argument, ": ", *reason));
      return true;
    }
  }
  return false;
}

// A first word that is no command.
bool lacks_command(const CLI::App& program, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return false;
  const std::string word = argv[1];
  std::string names;
  for (const CLI::App* command : program.get_subcommands(nullptr)) {
    if (command->get_name() == word) return false;
    names += cat(names.empty() ? "" : ", ", command->get_name());
  }
  note(cat("there is no command ", word, "; there are ", names));
  return true;
}

}  // namespace

int run_program(int argc, char** argv) {
  CLI::App program("facet: run Gemma 4 models on this machine", "facet");
  program.set_version_flag("--version", "facet 0.1.0");
  program.set_help_all_flag("--help-all", "help of all subcommands");
  program.footer(kFooter);
  program.require_subcommand(1);
  int status = 0;
  add_run(program, status);
  add_chat(program, status);
  add_inspect(program, status);
  add_plan(program, status);
  add_tokenize(program, status);
  add_score(program, status);
  add_quantize(program, status);
  add_imatrix(program, status);
  add_convert(program, status);
  add_split(program, status);
  add_merge(program, status);
  add_trace(program, status);
  add_verify(program, status);
  add_bench(program, status);
  add_doctor(program, status);
  add_pull(program, status);
  add_list(program, status);
  add_show(program, status);
  add_rm(program, status);
  if (lacks_command(program, argc, argv) || refuses(argc, argv)) return 2;
  try {  // CLI11 reports by throwing
    const std::vector<std::string> words = with_long_flags(argc, argv);
    std::vector<const char*> pointers;
    for (const std::string& word : words) pointers.push_back(word.c_str());
    program.parse(static_cast<int>(pointers.size()), pointers.data());
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  const Result<void> written = close_output();
  return status == 0 && !written.ok() ? report(written.error()) : status;
}

}  // namespace facet::cli
