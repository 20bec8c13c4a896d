#include "runtime/selection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace facet::runtime {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr size_t kWordBits = 64;
static_assert(kWordBits == kLogitBlock);
constexpr uint64_t kAllBits = ~uint64_t{0};

bool is_bad(float x) { return !(x <= kLargest); }  // NaN compares false

// Calls visit(id, logit) for the tokens of the set in block b, ascending.
template <class Visit>
void for_each(Logits& logits, const TokenSet& set, size_t b, Visit visit) {
  if (set[b] == 0) return;
  const std::span<const float> block = logits.block(static_cast<int64_t>(b));
  const size_t first = b * kWordBits;
  if (set[b] == kAllBits) {  // nearly always: no bit fiddling
    for (size_t i = 0; i < kWordBits; ++i) visit(static_cast<Token>(first + i), block[i]);
    return;
  }
  for (uint64_t bits = set[b]; bits != 0; bits &= bits - 1) {
    const size_t i = static_cast<size_t>(std::countr_zero(bits));
    visit(static_cast<Token>(first + i), block[i]);
  }
}

// Floats as integers of the same order.
int32_t key_of(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
float of_key(int32_t key) { return std::bit_cast<float>(key < 0 ? key ^ 0x7fffffff : key); }

// A number that `wanted` or somewhat more of the bounds below `above` are not below; -kLargest where fewer are left.
// Halves the range of what it can be: counting is quick, sorting is not.
float floor_of(std::span<const float> bounds, float above, size_t wanted) {
  const auto count_from = [&](float from) {
    int32_t count = 0;
    for (const float bound : bounds) count += (bound >= from ? 1 : 0) & (bound < above ? 1 : 0);
    return static_cast<size_t>(count);
  };
  int32_t low = key_of(-kLargest), high = key_of(above);  // enough from low on, not enough from high on
  if (count_from(of_key(low)) <= wanted) return -kLargest;
  while (int64_t{high} - low > 1) {
    const int32_t middle = static_cast<int32_t>((int64_t{low} + high) / 2);
    const size_t count = count_from(of_key(middle));
    if (count >= wanted) low = middle;
    if (count < wanted) high = middle;
    if (count >= wanted && count <= wanted + wanted / 4) break;
  }
  return of_key(low);
}

// Visits blocks, those with large bounds first, until no other can hold anything that counts: in rounds, within each
// by ascending id. worst(): what a value must reach to count, once as much was found as is wanted.
template <class Worst, class Visit>
void visit_from_the_top(std::span<const float> bounds, size_t wanted, Worst worst, Visit visit) {
  for (float above = kInfinity;;) {
    const std::optional<float> reached = worst();
    if (reached && *reached >= above) return;
    const float from = reached ? *reached : floor_of(bounds, above, wanted);
    for (size_t b = 0; b < bounds.size(); ++b)
      if (bounds[b] >= from && bounds[b] < above) visit(b);
    if (reached || from == -kLargest) return;
    above = from;
    wanted *= 4;
  }
}

void shrink_to(size_t n, std::vector<Candidate>& candidates) {
  if (candidates.size() <= n) return;
  std::ranges::nth_element(candidates, candidates.begin() + static_cast<ptrdiff_t>(n), better);
  candidates.resize(n);
}

}  // namespace

std::optional<Candidate> first_non_finite(Logits& logits) {
  const std::span<const float> bounds = logits.bounds();
  size_t count = 0;
  for (const float bound : bounds) count += is_bad(bound) ? 1 : 0;  // no early exit: a vector loop
  for (size_t b = 0; count > 0 && b < bounds.size(); ++b) {
    if (!is_bad(bounds[b])) continue;
    const std::span<const float> block = logits.block(static_cast<int64_t>(b));
    const auto bad = std::ranges::find_if(block, is_bad);
    if (bad != block.end())
      return Candidate{static_cast<Token>(b * kWordBits + static_cast<size_t>(bad - block.begin())), *bad};
  }
  return std::nullopt;
}

std::optional<Candidate> best(Logits& logits, const TokenSet& set) {
  const std::span<const float> bounds = logits.bounds();
  FACET_CHECK(set.size() == bounds.size());
  Candidate found{-1, -kInfinity};
  const auto worst = [&] { return found.token < 0 ? std::nullopt : std::optional(found.logit); };
  visit_from_the_top(bounds, 1, worst, [&](size_t b) {
    for_each(logits, set, b, [&](Token token, float logit) {
      if (logit > -kInfinity && better({token, logit}, found)) found = {token, logit};
    });
  });
  if (found.token < 0) return std::nullopt;
  return found;
}

void keep_best(Logits& logits, const TokenSet& set, size_t n, std::vector<Candidate>& out) {
  const std::span<const float> bounds = logits.bounds();
  FACET_CHECK(set.size() == bounds.size());
  out.clear();
  if (n == 0) return;
  n = std::min(n, static_cast<size_t>(logits.size()));
  // Whatever beats the worst of the best is collected; a full buffer is cut to its n best.
  const size_t room = n + std::max<size_t>(n, 256);
  Candidate worst{-1, -kInfinity};
  const auto cut = [&] {
    if (out.size() < n) return;
    shrink_to(n, out);
    worst = *std::ranges::max_element(out, better);
  };
  const auto reached = [&]() -> std::optional<float> {
    cut();
    return out.size() == n ? std::optional(worst.logit) : std::nullopt;
  };
  visit_from_the_top(bounds, n, reached, [&](size_t b) {
    for_each(logits, set, b, [&](Token token, float logit) {
      if (!(logit > -kInfinity) || logit < worst.logit || !better({token, logit}, worst)) return;
      out.push_back({token, logit});
      if (out.size() == room) cut();
    });
  });
  shrink_to(n, out);
  std::ranges::sort(out, better);
}

void keep_from(Logits& logits, const TokenSet& set, double lowest, std::vector<Candidate>& out) {
  const std::span<const float> bounds = logits.bounds();
  FACET_CHECK(set.size() == bounds.size());
  out.clear();
  for (size_t b = 0; b < bounds.size(); ++b) {
    if (static_cast<double>(bounds[b]) < lowest) continue;
    for_each(logits, set, b, [&](Token token, float logit) {
      if (logit > -kInfinity && static_cast<double>(logit) >= lowest) out.push_back({token, logit});
    });
  }
}

}  // namespace facet::runtime
