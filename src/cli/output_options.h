// What commands that write model files have in common.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/progress.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "convert/outputs.h"

namespace facet::cli {

struct OutputOptions {
  bool force = false, sha256 = false;

  void add_to(Command& command);
  convert::Overwrite overwrite() const { return force ? convert::Overwrite::yes : convert::Overwrite::no; }
  // Prints the files that were written: a line each, as sha256sum prints it where asked.
  Result<void> show_written(std::span<const std::filesystem::path> paths) const;
};

// Draws on the terminal; Ctrl-C stops the work.
class WriteProgress : public Progress {
 public:
  bool update(std::string_view phase, int64_t done, int64_t total) override {
    bar_.update(phase, done, total);
    return !Interrupt::requested();
  }

 private:
  Interrupt interrupt_;
  ProgressBar bar_;
};

}  // namespace facet::cli
