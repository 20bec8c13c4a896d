#include "runtime/repetition.h"

#include <algorithm>
#include <limits>

namespace facet::runtime {
namespace {

// base^n by squaring: the C library's pow differs in the last bit from version to version. May be infinite.
double power(double base, int32_t n) {
  double result = 1;
  for (double square = base; n > 0; n /= 2, square *= square)
    if (n % 2 != 0) result *= square;
  return result;
}

// How many tokens stand behind the last breaker, looking at no more than `most`.
int32_t length_since_break(Breakers* breakers, std::span<const Token> history, int32_t most) {
  if (breakers == nullptr) return most;
  for (int32_t length = 0; length < most; ++length) {
    const size_t place = history.size() - 1 - static_cast<size_t>(length);
    if (breakers->end_in(history.first(place), history[place])) return length;
  }
  return most;
}

}  // namespace

void set_logit(float& logit, double value) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (logit >= -kLargest) logit = static_cast<float>(std::clamp<double>(value, -kLargest, kLargest));
}

std::span<const Token> last(std::span<const Token> tokens, int64_t n) {
  const size_t size = tokens.size();
  return tokens.last(n < 0 ? size : std::min(size, static_cast<size_t>(n)));
}

// The Z-algorithm on the reversed tokens: read from the end, [left, right) repeats what is read first, so what was
// counted there holds here too, and only tokens beyond `right` are compared: each once.
std::span<const int32_t> count_repeats(std::span<const Token> tokens, std::vector<int32_t>& scratch) {
  const size_t n = tokens.size();
  const auto from_end = [&](size_t i) { return tokens[n - 1 - i]; };
  if (scratch.size() < n) scratch.resize(n);  // not assign(): a history that grows by one would allocate every time
  const std::span<int32_t> repeats(scratch.data(), n);
  if (n > 0) repeats[0] = 0;
  size_t left = 0, right = 0;
  for (size_t k = 1; k < n; ++k) {
    size_t length = k < right ? std::min(right - k, static_cast<size_t>(repeats[k - left])) : 0;
    while (k + length < n && from_end(length) == from_end(k + length)) ++length;
    repeats[k] = static_cast<int32_t>(length);
    if (k + length > right) {
      left = k;
      right = k + length;
    }
  }
  return repeats;
}

void penalize(const PenaltyOptions& options, std::span<const Token> history, TokenNumbers& numbers,
              std::span<float> row) {
  for (const Token token : last(history, options.last_n)) numbers.add_one(token);
  for (const Token token : numbers.tokens()) {
    float& logit = row[static_cast<size_t>(token)];
    const double z = logit, repeat = options.repeat;
    const double repeated = z > 0 ? z / repeat : z * repeat;
    set_logit(logit, repeated - numbers.of(token) * static_cast<double>(options.frequency) - options.presence);
  }
  numbers.clear();
}

void penalize(const DryOptions& options, Breakers* breakers, std::span<const Token> history, TokenNumbers& numbers,
              std::vector<int32_t>& scratch, std::span<float> row) {
  const std::span<const Token> window = last(history, options.last_n);
  if (window.size() < 2) return;
  const std::span<const int32_t> repeats = count_repeats(window, scratch);
  // Most rows end here, and a breaker matters no further back than the longest repetition: few texts are looked at.
  const int32_t longest = *std::ranges::max_element(repeats);
  if (longest < options.allowed_length) return;
  const int32_t limit = length_since_break(breakers, history, longest);
  for (size_t k = 1; k < window.size(); ++k) {
    const int32_t length = std::min(repeats[k], limit);
    if (length >= options.allowed_length) numbers.raise(window[window.size() - k], length + 1);  // 0 means none
  }
  for (const Token token : numbers.tokens()) {
    if (breakers != nullptr && breakers->end_in(history, token)) continue;
    float& logit = row[static_cast<size_t>(token)];
    const int32_t beyond = numbers.of(token) - 1 - options.allowed_length;
    set_logit(logit, logit - options.multiplier * power(options.base, beyond));
  }
  numbers.clear();
}

}  // namespace facet::runtime
