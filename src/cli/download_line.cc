#include "cli/download_line.h"

#include <algorithm>
#include <cstdio>

#include <unistd.h>

#include "base/strings.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"

namespace facet::cli {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kRateSpan = std::chrono::seconds(3);

std::string two_digits(int64_t number) { return cat(number < 10 ? "0" : "", number); }

}  // namespace

std::string clock_text(int64_t seconds) {
  const int64_t hours = seconds / 3600, minutes = seconds / 60 % 60;
  const std::string tail = cat(":", two_digits(seconds % 60));
  return hours > 0 ? cat(hours, ":", two_digits(minutes), tail) : cat(minutes, tail);
}

bool DownloadLine::update(std::string_view phase, int64_t done, int64_t total) {
  if (total <= 0) {
    wait_for(phase);
  } else if (::isatty(STDERR_FILENO) != 0) {
    draw(phase, done, total);
  }
  return !Interrupt::requested();
}

void DownloadLine::wait_for(std::string_view phase) {
  if (waiting_for_ == phase) return;
  waiting_for_ = phase;
  if (phase.starts_with("waiting")) {  // may last; people without a terminal want to know, too
    clear();
    note(phase);
  }
}

void DownloadLine::draw(std::string_view phase, int64_t done, int64_t total) {
  const Mark now{Clock::now(), done};
  if (older_.time == Clock::time_point()) older_ = newer_ = now;
  if (drawn_ && now.time - drawn_at_.time < kRedraw && done < total) return;
  if (now.time - newer_.time > kRateSpan) {
    older_ = newer_;
    newer_ = now;
  }
  drawn_at_ = now;
  const double span = seconds_between(older_.time, now.time);
  const double rate = span > 0.5 ? static_cast<double>(std::max<int64_t>(done - older_.done, 0)) / span : 0;
  constexpr int64_t kWidth = 20;
  std::string bar(static_cast<size_t>(std::clamp<int64_t>(done * kWidth / total, 0, kWidth)), '#');
  bar.resize(kWidth, '.');
  std::string line = cat("\r\033[K", phase, " [", bar, "] ", 100 * done / total, " %, ", engine::readable_bytes(done),
                         " of ", engine::readable_bytes(total));
  if (rate > 0) {
    const auto left = static_cast<int64_t>(static_cast<double>(total - done) / rate);
    line += cat(", ", engine::readable_bytes(static_cast<int64_t>(rate)), "/s, ", clock_text(left), " left");
  }
  std::fwrite(line.data(), 1, line.size(), stderr);
  drawn_ = true;
}

void DownloadLine::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

}  // namespace facet::cli
