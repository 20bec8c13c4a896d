// StopStrings: watches streamed text for strings that end an answer. Text that may turn out to be the beginning of one
// is held back, so nobody ever sees a part of a stop string.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace facet::engine {

class StopStrings {
 public:
  // Empty strings are left out.
  explicit StopStrings(std::vector<std::string> strings);

  // Text that can be shown now. After a stop string was found: the text before it, then nothing.
  std::string push(std::string_view text);
  // What was held back, when the answer ended otherwise.
  std::string finish();

  bool found() const { return !match_.empty(); }
  // The string that ended the answer: the one that is whole first, the longest of those that end together. How the text
  // was cut into pushes makes no difference.
  const std::string& match() const { return match_; }

 private:
  size_t held_from() const;

  std::vector<std::string> strings_;
  std::string held_, match_;
};

}  // namespace facet::engine
