// Background: one piece of work beside everything else, on a thread of its own.
#pragma once

#include <functional>
#include <thread>

#include "base/function_ref.h"

namespace facet {

// Move-only. Its end asks the work to stop and waits for it.
class Background {
 public:
  Background() = default;  // no work
  // work is called once, soon; it looks at goes_on() now and then, and returns when that is false. It must not throw.
  // Where the system has no thread to give it is not called: only what can be left out belongs here.
  explicit Background(std::function<void(FunctionRef<bool()> goes_on)> work);

 private:
  std::jthread thread_;
};

}  // namespace facet
