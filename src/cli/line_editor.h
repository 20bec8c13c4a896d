// Lines from a person (libedit, with history) or from a pipe.
#pragma once

#include <optional>
#include <string>

namespace facet::cli {

class LineEditor {
 public:
  // history: a file, made with its folder where absent.
  explicit LineEditor(std::string history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // nullopt: the input ended. Ctrl-C gives an empty line.
  std::optional<std::string> line(const char* prompt);

 private:
  std::string history_;
  bool interactive_;
};

}  // namespace facet::cli
