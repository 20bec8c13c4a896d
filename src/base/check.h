// Checks of our own promises. A failed check is a bug in facet, never the fault of outside data.
#pragma once

namespace facet {

// Prints the place and the condition, then aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace facet

// Always on.
#define FACET_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::facet::check_failed(#condition, __FILE__, __LINE__))

// For inner loops: on in debug and sanitizer builds.
#ifdef NDEBUG
#define FACET_DCHECK(condition) void(0)
#else
#define FACET_DCHECK(condition) FACET_CHECK(condition)
#endif
