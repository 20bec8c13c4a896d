#include "verify/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace facet::verify {

void Step::compare(const Place& at, double found, const Bounded& expected) {
  ++values;
  const double distance = std::abs(found - expected.value);
  if (distance <= expected.bound) {  // false for NaN
    if (distance > 0) worst = std::max(worst, distance / expected.bound);
    return;
  }
  const double share = distance / expected.bound;
  worst = std::isfinite(share) ? std::max(worst, share) : std::numeric_limits<double>::infinity();
  if (!first)
    first = {.part = {}, .step = name, .at = at, .expected = expected.value, .found = found, .bound = expected.bound};
}

Step& Part::step(std::string_view wanted, StepKind kind) {
  const auto found = std::ranges::find(steps, wanted, &Step::name);
  if (found != steps.end()) return *found;
  steps.push_back({.name = std::string(wanted), .kind = kind, .values = 0, .worst = 0, .first = {}});
  return steps.back();
}

const Step* Part::worst(StepKind kind) const {
  const Step* worst = nullptr;
  for (const Step& step : steps)
    if (step.kind == kind && (worst == nullptr || step.worst > worst->worst)) worst = &step;
  return worst;
}

bool Part::equal() const { return std::ranges::all_of(steps, &Step::equal); }

}  // namespace facet::verify
