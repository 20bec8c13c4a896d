// The operations of the paper in double, by plain loops, each with the bound of its float32 twin. docs/verify.md
// derives the bounds; u is the relative rounding of one float operation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/table.h"
#include "model/config.h"
#include "tensor/dtype.h"
#include "verify/record.h"
#include "verify/report.h"
#include "verify/source.h"

namespace facet::verify {

inline constexpr double kU = 0x1p-24;
// What is lost where numbers leave the normal range: subnormals may count as zero.
inline constexpr double kTiny = 0x1p-126;
// Products of roundings, (1 + u)^n - 1 <= n u (1 + 0.01) for every n that occurs here.
inline constexpr double kHigherOrder = 1.01;

// y = x / rms(x) ⊙ w (w empty: no weight).
std::vector<Bounded> norm(std::span<const float> x, std::span<const double> w, double eps);

// gelu_tanh(gate) * up.
Bounded gelu_times(double gate, double up);

// cap * tanh(x / cap).
Bounded softcap(double x, double cap);

// softmax of all of x.
std::vector<Bounded> softmax(std::span<const float> x);

// Turns pairs (j, j + n / 2) of a head by position * frequency[j], in place.
void rotate(std::span<Bounded> head, int64_t position, std::span<const double> frequencies);
// theta^(-2 j / head_dim) for the pairs that turn, 0 for the others; divisors are those of a GGUF file, or empty.
std::vector<double> rope_frequencies(const model::RopeConfig& rope, int64_t head_dim, std::span<const double> divisors);

// How far rounding to a float type moves x.
double rounding_bound(DType type, double x);

// Whether heads stored in this type are turned by Hadamard matrices (docs/attention.md, Int8).
constexpr bool is_turned(DType type) { return type == DType::i8; }
// x ← H x, block by block, of the definition; the bounds are those of the float butterflies.
void turn(std::span<Bounded> head);
// What the fast path turned back is turned forth again; the bounds grow by what turning it back rounded.
void turn_forth(std::span<double> found, std::span<Bounded> expected);

// A head of a key or value as the cache holds it: turned where its type is, and rounded to it.
std::vector<Bounded> stored_head(DType type, std::span<const float> head);

// Whether the rounded forms of row i are those of its float form.
void compare_forms(Step& step, const CopiedOperand& operand, int64_t i, const Place& at);

// --- products ---

// How the fast path adds one up (docs/row-law.md): by columns; by pairs of columns, the odd one first; or in integers
// inside a block and by blocks.
enum class Chain : uint8_t { columns, pairs, blocks };

// The rows that a product reads, exactly: codes times scales, bf16, or floats.
struct ProductInput {
  Chain chain = Chain::columns;
  int64_t rows = 0, cols = 0;
  std::vector<double> values;
  std::vector<double> magnitudes;  // Σ |x| of each row

  std::span<const double> row(int64_t i) const {
    return std::span(values).subspan(static_cast<size_t>(i * cols), static_cast<size_t>(cols));
  }
};
ProductInput product_input(const CopiedOperand& operand, kernels::Form form);

// Σ w[k] x[k].
Bounded product(const SourceRow& w, const ProductInput& x, int64_t row);

}  // namespace facet::verify
