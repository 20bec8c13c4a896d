// The program: its subcommands, and what happens when the command line is wrong.
#include <cstdio>
#include <iostream>

#include "base/strings.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr const char* kProgramFooter =
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
bool lacks_command(const Program& program, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return false;
  const std::string word = argv[1];
  std::string names;
  for (const std::string& command : program.commands()) {
    if (command == word) return false;
    names += cat(names.empty() ? "" : ", ", command);
  }
  note(cat("there is no command ", word, "; there are ", names));
  return true;
}

}  // namespace

int run_program(int argc, char** argv) {
  Program program("facet", "facet: run Gemma 4 models on this machine", cat("facet ", version()).c_str(),
                  kProgramFooter);
  add_run(program);
  add_chat(program);
  add_inspect(program);
  add_plan(program);
  add_tokenize(program);
  add_score(program);
  add_quantize(program);
  add_imatrix(program);
  add_convert(program);
  add_split(program);
  add_merge(program);
  add_trace(program);
  add_verify(program);
  add_bench(program);
  add_doctor(program);
  add_pull(program);
  add_list(program);
  add_show(program);
  add_rm(program);
  add_cache(program);
  if (lacks_command(program, argc, argv) || refuses(argc, argv)) return 2;
  const int status = program.run(with_long_flags(argc, argv));
  const Result<void> written = close_output();
  return status == 0 && !written.ok() ? report(written.error()) : status;
}

}  // namespace facet::cli
