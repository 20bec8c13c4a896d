// The line on standard error that shows how far a download is, where that is a terminal; and how Ctrl-C reaches it.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/progress.h"

namespace facet::cli {

// "[####......] 42 %, 1.4 GiB of 3.2 GiB, 45.0 MiB/s, 0:41 left". Needs an Interrupt that lives as long.
class DownloadLine : public Progress {
 public:
  ~DownloadLine() override { clear(); }
  // A total of 0 is a phase without an end: waiting, asking. False after Ctrl-C.
  bool update(std::string_view phase, int64_t done, int64_t total) override;
  void clear();

 private:
  struct Mark {
    Clock::time_point time;
    int64_t done = 0;
  };
  void wait_for(std::string_view phase);
  void draw(std::string_view phase, int64_t done, int64_t total);

  std::string waiting_for_;
  Mark drawn_at_, older_, newer_;  // the rate is measured from `older_`, 3 to 6 seconds ago
  bool drawn_ = false;
};

// "0:41", "1:02:03".
std::string clock_text(int64_t seconds);

}  // namespace facet::cli
