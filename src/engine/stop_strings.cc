#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

namespace facet::engine {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  std::erase(strings_, std::string());
}

std::string StopStrings::push(std::string_view text) {
  if (found()) return {};
  held_ += text;
  // The first whole string: the smallest end, then the smallest beginning.
  size_t first = std::string::npos, end = std::string::npos;
  for (const std::string& string : strings_) {
    const size_t at = held_.find(string);
    if (at == std::string::npos || at + string.size() > end || (at + string.size() == end && at >= first)) continue;
    first = at;
    end = at + string.size();
    match_ = string;
  }
  const size_t shown = found() ? first : held_from();
  std::string out = held_.substr(0, shown);
  held_.erase(0, found() ? held_.size() : shown);
  return out;
}

// Where the longest end of the text begins that is the beginning of a stop string.
size_t StopStrings::held_from() const {
  size_t from = held_.size();
  for (const std::string& string : strings_) {
    const size_t most = std::min(held_.size(), string.size() - 1);
    for (size_t length = most; length > 0; --length) {
      if (!std::string_view(held_).ends_with(std::string_view(string).substr(0, length))) continue;
      from = std::min(from, held_.size() - length);
      break;
    }
  }
  return from;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

}  // namespace facet::engine
