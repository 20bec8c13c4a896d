// Log lines for people, on standard error. The sink is the only global state of facet.
#pragma once

#include <string_view>

namespace facet {

enum class LogLevel { debug, info, warning, error, off };

void set_log_level(LogLevel level);  // default: warning
void log(LogLevel level, std::string_view message);

}  // namespace facet
