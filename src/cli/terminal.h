// The terminal: messages and progress on standard error, results on standard output, and Ctrl-C.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "facet/engine.h"

namespace facet::cli {

// Prints "facet: MESSAGE" on standard error and returns the exit status of its kind.
int report(const Error& error);
// "facet: TEXT" on standard error, printable (base/utf8.h).
void note(std::string_view text);

// What became of packed weights on disk, where there is something to say.
void note(const PackUse& use);

// "2026-07-31", of seconds since 1970, in UTC.
std::string day_of(int64_t seconds);

// Standard output at once, without buffering in between.
void show(std::string_view text);
// Flushes standard output. Errors: io, when anything written to it was lost.
Result<void> close_output();

// A bar on standard error, when that is a terminal; otherwise nothing.
class ProgressBar {
 public:
  ~ProgressBar() { clear(); }
  void update(std::string_view phase, int64_t done, int64_t total);
  void clear();

 private:
  bool drawn_ = false;
  int last_percent_ = -1;
};

// While it lives, Ctrl-C sets a flag instead of ending the program. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  static bool requested();
  static void clear();
};

// Where the default model, packed weights and the history of chats are kept: FACET_CACHE, else XDG_CACHE_HOME/facet,
// else ~/.cache/facet.
std::string cache_folder();
std::filesystem::path pack_folder();  // packed weights: "packed" in there

}  // namespace facet::cli
