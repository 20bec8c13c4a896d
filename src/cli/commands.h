// The subcommands. Each adds itself to the program; what it returned is the exit status.
#pragma once

#include <CLI/CLI.hpp>

namespace facet::cli {

// status outlives the parse.
void add_run(CLI::App& program, int& status);
void add_chat(CLI::App& program, int& status);
void add_inspect(CLI::App& program, int& status);
void add_plan(CLI::App& program, int& status);
void add_tokenize(CLI::App& program, int& status);
void add_score(CLI::App& program, int& status);
void add_bench(CLI::App& program, int& status);
void add_doctor(CLI::App& program, int& status);
void add_quantize(CLI::App& program, int& status);
void add_imatrix(CLI::App& program, int& status);
void add_convert(CLI::App& program, int& status);
void add_split(CLI::App& program, int& status);
void add_merge(CLI::App& program, int& status);
void add_trace(CLI::App& program, int& status);
void add_verify(CLI::App& program, int& status);
void add_pull(CLI::App& program, int& status);
void add_list(CLI::App& program, int& status);
void add_show(CLI::App& program, int& status);
void add_rm(CLI::App& program, int& status);

// The whole program.
int run_program(int argc, char** argv);

}  // namespace facet::cli
