// Random numbers whose sequence is part of facet's behaviour: the same seed gives the same answer on every machine.
// PCG32 (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms", 2014), XSH-RR variant.
#pragma once

#include <cstdint>

namespace facet {

class Random {
 public:
  explicit Random(uint64_t seed) {
    next();
    state_ += seed;
    next();
  }

  uint32_t next() {
    const uint64_t old = state_;
    state_ = old * 6364136223846793005u + 1442695040888963407u;
    const uint32_t shifted = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
    const uint32_t rotation = static_cast<uint32_t>(old >> 59);
    return (shifted >> rotation) | (shifted << ((32 - rotation) & 31));
  }

  // Uniform in [0, 1), 53 bits.
  double uniform() {
    const uint64_t high = next() >> 5, low = next() >> 6;
    return static_cast<double>(high * 67108864 + low) * (1.0 / 9007199254740992.0);
  }

  // Uniform in 0…bound-1, without bias. Requires bound > 0.
  uint32_t below(uint32_t bound) {
    const uint32_t threshold = (0u - bound) % bound;
    for (;;)
      if (const uint32_t value = next(); value >= threshold) return value % bound;
  }

 private:
  uint64_t state_ = 0;
};

}  // namespace facet
