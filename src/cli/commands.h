// The subcommands; each adds itself to the program.
#pragma once

#include "cli/command_line.h"

namespace facet::cli {

void add_run(Program& program);
void add_chat(Program& program);
void add_inspect(Program& program);
void add_plan(Program& program);
void add_tokenize(Program& program);
void add_score(Program& program);
void add_bench(Program& program);
void add_doctor(Program& program);
void add_quantize(Program& program);
void add_imatrix(Program& program);
void add_convert(Program& program);
void add_split(Program& program);
void add_merge(Program& program);
void add_trace(Program& program);
void add_verify(Program& program);
void add_pull(Program& program);
void add_list(Program& program);
void add_show(Program& program);
void add_rm(Program& program);
void add_cache(Program& program);

// The whole program.
int run_program(int argc, char** argv);

}  // namespace facet::cli
