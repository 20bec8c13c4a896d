#include "cli/terminal.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include <unistd.h>

#include "base/strings.h"
#include "base/utf8.h"
#include "engine/error_table.h"
#include "engine/memory_plan.h"

namespace facet::cli {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);
struct sigaction before;

void on_interrupt(int) { interrupted = true; }

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

int report(const Error& error) {
  note(error.message());
  return engine::exit_status(error.code);
}

void note(std::string_view text) {
  const std::string line = cat("facet: ", printable(text), "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void note(const PackUse& use) {
  if (use.written_bytes > 0)
    note(cat("kept packed weights in ", use.file, " (", engine::readable_bytes(use.written_bytes),
             "), so that the model starts faster; --no-cache does not, facet cache clear removes them"));
  if (!use.problem.empty())
    note(cat(use.problem, use.file.empty() ? "; packed weights are not kept (--no-cache says so without this note)"
                                           : "; weights were packed again"));
}

std::string day_of(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  char text[16];
  if (::gmtime_r(&time, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%d", &parts) == 0) return "?";
  return text;
}

void show(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

Result<void> close_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  return Error{.code = ErrorCode::io, .what = "output was lost: it cannot be written", .where = "standard output"};
}

void ProgressBar::update(std::string_view phase, int64_t done, int64_t total) {
  if (total <= 0 || ::isatty(STDERR_FILENO) == 0) return;
  const int percent = static_cast<int>(100 * done / total);
  if (percent == last_percent_) return;
  last_percent_ = percent;
  constexpr int kWidth = 30;
  std::string bar(static_cast<size_t>(percent * kWidth / 100), '#');
  bar.resize(kWidth, '.');
  const std::string line = cat("\r\033[K", phase, " [", bar, "] ", percent, " %");
  std::fwrite(line.data(), 1, line.size(), stderr);
  drawn_ = true;
  if (done >= total) clear();
}

void ProgressBar::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  drawn_ = false;
  last_percent_ = -1;
}

Interrupt::Interrupt() {
  interrupted = false;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &before);
}

Interrupt::~Interrupt() { sigaction(SIGINT, &before, nullptr); }

bool Interrupt::requested() { return interrupted; }
void Interrupt::clear() { interrupted = false; }

std::string cache_folder() {
  if (const std::string own = environment("FACET_CACHE"); !own.empty()) return own;
  if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty())
    return (std::filesystem::path(xdg) / "facet").string();
  const std::string home = environment("HOME");
  return (std::filesystem::path(home.empty() ? "/" : home) / ".cache" / "facet").string();
}

std::filesystem::path pack_folder() { return std::filesystem::path(cache_folder()) / "packed"; }

}  // namespace facet::cli
