#include <csignal>
#include <exception>
#include <new>

#include "cli/commands.h"
#include "cli/terminal.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of its writer, not the end of the program
  try {
    return facet::cli::run_program(argc, argv);
  } catch (const std::bad_alloc&) {
    return facet::cli::report({.code = facet::ErrorCode::exhausted, .what = "memory is exhausted"});
  } catch (const std::exception& error) {  // of the standard library; facet throws nothing
    return facet::cli::report({.code = facet::ErrorCode::io, .what = error.what(), .where = "unexpected"});
  }
}
