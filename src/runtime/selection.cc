#include "runtime/selection.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "runtime/exponential.h"

namespace facet::runtime {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kWordBits = 64;
constexpr uint64_t kAllBits = ~uint64_t{0};

// Calls visit(id, logit) for the set, ascending.
template <class Visit>
void for_each(std::span<const float> logits, const TokenSet& set, Visit visit) {
  FACET_CHECK(set.size() * kWordBits >= logits.size());
  for (size_t word = 0; word < set.size(); ++word) {
    const size_t base = word * kWordBits;
    if (set[word] == kAllBits) {  // nearly always: no bit fiddling
      for (size_t i = base; i < base + kWordBits; ++i) visit(static_cast<Token>(i), logits[i]);
      continue;
    }
    for (uint64_t bits = set[word]; bits != 0; bits &= bits - 1) {
      const size_t i = base + static_cast<size_t>(std::countr_zero(bits));
      visit(static_cast<Token>(i), logits[i]);
    }
  }
}

void shrink_to(size_t n, std::vector<Candidate>& candidates) {
  if (candidates.size() <= n) return;
  std::ranges::nth_element(candidates, candidates.begin() + static_cast<ptrdiff_t>(n), better);
  candidates.resize(n);
}

}  // namespace

std::optional<Token> first_non_finite(std::span<const float> logits) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const auto bad = [](float x) { return !(x <= kLargest); };  // NaN compares false
  size_t count = 0;
  for (const float x : logits) count += bad(x) ? 1 : 0;  // no early exit: a vector loop
  if (count == 0) return std::nullopt;
  return static_cast<Token>(std::ranges::find_if(logits, bad) - logits.begin());
}

std::optional<Candidate> best(std::span<const float> logits, const TokenSet& set) {
  Candidate found{-1, -kInfinity};
  for_each(logits, set, [&](Token token, float logit) {
    if (logit > found.logit) found = {token, logit};
  });
  if (found.token < 0) return std::nullopt;
  return found;
}

void keep_best(std::span<const float> logits, const TokenSet& set, size_t n, std::vector<Candidate>& out) {
  out.clear();
  if (n == 0) return;
  n = std::min(n, logits.size());
  // Whatever beats the threshold is collected; a full buffer is cut to its n best, whose worst is the new threshold. A
  // later token equal to it loses by its id, so the comparison may be strict.
  const size_t room = n + std::max<size_t>(n, 1024);
  float threshold = -kInfinity;
  for_each(logits, set, [&](Token token, float logit) {
    if (!(logit > threshold)) return;
    out.push_back({token, logit});
    if (out.size() < room) return;
    shrink_to(n, out);
    threshold = std::ranges::max_element(out, better)->logit;
  });
  shrink_to(n, out);
  std::ranges::sort(out, better);
}

void keep_all(std::span<const float> logits, const TokenSet& set, std::vector<Candidate>& out) {
  out.clear();
  for_each(logits, set, [&](Token token, float logit) {
    if (logit > -kInfinity) out.push_back({token, logit});
  });
}

double total_weight(std::span<const float> logits, const TokenSet& set, float max, double scale) {
  double sums[4] = {};
  for (size_t word = 0; word < set.size(); ++word) {
    if (set[word] == 0) continue;
    const size_t base = word * kWordBits, count = std::min(kWordBits, logits.size() - base);
    double x[kWordBits];
    std::fill(std::begin(x), std::end(x), -std::numeric_limits<double>::infinity());
    for (size_t i = 0; i < count; ++i)
      if ((set[word] >> i & 1) != 0) x[i] = (static_cast<double>(logits[base + i]) - max) * scale;
    for (double& value : x) value = exp_nonpositive(value);
    for (size_t i = 0; i < kWordBits; i += 4)
      for (size_t j = 0; j < 4; ++j) sums[j] += x[i + j];
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace facet::runtime
