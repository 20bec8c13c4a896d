// llama.cpp, the peer, as tests use it: its programs, built by tools/peer.sh outside the tree, and its logits.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include <sys/wait.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "convert/quantize.h"
#include "kernels/table.h"
#include "support/expect.h"
#include "support/paths.h"
#include "tensor/half.h"
#include "tensor/token.h"

namespace facet::testing {

inline std::filesystem::path peer_program(const std::string& name) {
  return cache_path("peer/llama.cpp/build/bin/" + name);
}

struct Output {
  int status = -1;
  std::string text;  // standard output and standard error
};

// Words are quoted for the shell. in: a file for standard input, or empty.
inline Output run(const std::vector<std::string>& words, const std::filesystem::path& in = {}) {
  std::string line;
  for (const std::string& word : words) line += cat(line.empty() ? "'" : " '", word, "'");
  line += cat(" <", in.empty() ? "/dev/null" : in.string(), " 2>&1");
  Output output;
  std::FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) output.text.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  output.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

inline void run_peer(const std::string& program, const std::vector<std::string>& words) {
  std::vector<std::string> all = {peer_program(program).string()};
  all.insert(all.end(), words.begin(), words.end());
  const Output output = run(all);
  ASSERT_EQ(output.status, 0) << program << ": " << output.text;
}

// The peer's logits of every token, [tokens, vocabulary]: F32 cache, no flash attention, weights as they lie in the
// file. Empty, and a failure, where it cannot load the file.
inline std::vector<float> peer_logits(const std::filesystem::path& model, std::span<const Token> tokens) {
  const TemporaryFolder folder;
  const std::filesystem::path ids = folder.path() / "ids", out = folder.path() / "logits";
  {
    std::ofstream file(ids);
    for (const Token token : tokens) file << token << '\n';
  }
  const Output output = run({peer_program("peer_logits").string(), model.string(), out.string(), "--exact"}, ids);
  EXPECT_EQ(output.status, 0) << model << ": " << output.text;
  if (output.status != 0) return {};
  const Result<MappedFile> file = MappedFile::open(out);
  EXPECT_OK(file);
  std::vector<float> logits(file.ok() ? file->bytes().size() / sizeof(float) : 0);
  if (!logits.empty()) std::memcpy(logits.data(), file->bytes().data(), logits.size() * sizeof(float));
  return logits;
}

// The peer looks GELU up in a table of halves. With it our float arithmetic computes what the peer does but for the
// order of sums.
inline void gelu_of_the_peer(float* y, const float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float gelu = gate[i] <= -10 ? 0 : gate[i];
    if (gate[i] > -10 && gate[i] < 10) {
      const float x = half_to_float(float_to_half(gate[i]));
      gelu = 0.5f * x * (1.0f + std::tanh(0.79788456080286535587989211986876f * x * (1.0f + 0.044715f * x * x)));
      gelu = half_to_float(float_to_half(gelu));
    }
    y[i] = gelu * up[i];
  }
}

// How far logits are from others.
struct Distance {
  double largest = 0;     // |a - b|, divided by the largest |b|
  double root_mean = 0;   // of the squares, divided by that of b
  double divergence = 0;  // mean over rows of KL(b || a), natural units
};

inline Distance distance(std::span<const float> a, std::span<const float> b, size_t width) {
  Distance found;
  if (a.size() != b.size() || a.empty()) return {.largest = INFINITY, .root_mean = INFINITY, .divergence = INFINITY};
  double worst = 0, peak = 0, squares = 0, all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    worst = std::max(worst, difference);
    peak = std::max(peak, std::abs(double{b[i]}));
    squares += difference * difference;
    all += double{b[i]} * double{b[i]};
  }
  const auto log_sum = [](std::span<const float> row) {
    double sum = 0;
    const double top = *std::ranges::max_element(row);
    for (const float z : row) sum += std::exp(z - top);
    return top + std::log(sum);
  };
  for (size_t row = 0; row < a.size() / width; ++row) {
    const auto p = b.subspan(row * width, width), q = a.subspan(row * width, width);
    const double norm_p = log_sum(p), norm_q = log_sum(q);
    for (size_t v = 0; v < width; ++v)
      found.divergence += std::exp(p[v] - norm_p) * ((p[v] - norm_p) - (q[v] - norm_q));
  }
  found.divergence /= static_cast<double>(a.size() / width);
  found.largest = worst / peak;
  found.root_mean = std::sqrt(squares / all);
  return found;
}

inline void print(const std::filesystem::path& file, const Distance& found) {
  std::cout << "  " << file.filename().string() << ": largest " << found.largest << ", root mean square "
            << found.root_mean << ", divergence " << found.divergence << '\n';
}

inline void quantise(const std::filesystem::path& in, const std::filesystem::path& out, convert::FileType type,
                     ThreadPool& pool) {
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(in);
  ASSERT_OK(checkpoint);
  convert::QuantizeOptions options;
  options.recipe.file = type;
  ASSERT_OK(convert::quantize(*checkpoint, out, options, pool));
}

}  // namespace facet::testing

// First line of a test of the peer.
#define FACET_PEER_OR_SKIP()                                                   \
  if (!std::filesystem::exists(::facet::testing::peer_program("peer_logits"))) \
  GTEST_SKIP() << "skipped: the peer is not built; tools/peer.sh builds it"
