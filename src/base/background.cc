#include "base/background.h"

#include <stop_token>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/strings.h"

namespace facet {

Background::Background(std::function<void(FunctionRef<bool()> goes_on)> work) {
  try {
    thread_ = std::jthread([work = std::move(work)](const std::stop_token& stop) {
      const auto goes_on = [&stop] { return !stop.stop_requested(); };
      work(goes_on);
    });
  } catch (const std::system_error& error) {
    log(LogLevel::warning, cat("no thread for work in the background: ", error.what()));
  }
}

}  // namespace facet
