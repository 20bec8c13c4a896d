#include "cli/line_editor.h"

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include <editline/readline.h>
#include <unistd.h>

#include "cli/terminal.h"

namespace facet::cli {

LineEditor::LineEditor(std::string history)
    : history_(std::move(history)), interactive_(::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0) {
  if (!interactive_) return;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(history_).parent_path(), ignored);
  using_history();
  read_history(history_.c_str());
}

LineEditor::~LineEditor() {
  if (interactive_) write_history(history_.c_str());
}

std::optional<std::string> LineEditor::line(const char* prompt) {
  std::string text;
  if (!interactive_) {
    if (!std::getline(std::cin, text)) return std::nullopt;
    return text;
  }
  const std::unique_ptr<char, void (*)(void*)> typed(readline(prompt), std::free);
  if (typed == nullptr) {
    if (!Interrupt::requested()) return std::nullopt;
    Interrupt::clear();
    return text;
  }
  text = typed.get();
  if (!text.empty()) add_history(text.c_str());
  return text;
}

}  // namespace facet::cli
