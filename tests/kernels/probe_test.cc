// The probes of all tiers: they read what they say they read, and count what they say they do.
#include "kernels/probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"

namespace facet::kernels {

namespace avx512_emulated {
const Probe& probe();
}

namespace {

std::vector<const Probe*> probes() {
  std::vector<const Probe*> all;
  for (const Table& table : usable_tables()) all.push_back(&probe_of(table.isa));
#if defined(FACET_HAVE_EMULATED_AVX512)
  all.push_back(&avx512_emulated::probe());
#endif
  return all;
}

TEST(Probe, ReadsEveryWord) {
  Random random(1);
  std::vector<uint64_t> words(256);
  uint64_t expected = 0;
  for (uint64_t& word : words) {
    word = uint64_t{random.next()} << 32 | random.next();
    expected ^= word;
  }
  std::vector<std::byte> bytes(words.size() * 8);
  std::memcpy(bytes.data(), words.data(), bytes.size());
  for (const Probe* probe : probes())
    EXPECT_EQ(probe->read(bytes.data(), static_cast<int64_t>(bytes.size())), expected);
}

TEST(Probe, CountsItsOperations) {
  for (const Probe* probe : probes())
    for (const auto& multiply : {probe->multiply_q8, probe->multiply_bf16, probe->multiply_f32}) {
      float few = NAN, many = NAN;
      const int64_t operations = multiply(3, &few);
      EXPECT_GT(operations, 0);
      EXPECT_EQ(multiply(9, &many), 3 * operations);
      EXPECT_NE(few, many) << "more rounds change the sums";
    }
}

}  // namespace
}  // namespace facet::kernels
