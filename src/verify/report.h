// What a verification finds: for each part of a model its steps, and the first number that lies outside its bound.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace facet::verify {

// A number of the float64 path, and how far from it the fast path's arithmetic may end.
struct Bounded {
  double value = 0, bound = 0;
};

// Where a number stands: a row of the batch, its position in the sequence, a column.
struct Place {
  int64_t row = 0, position = 0, column = 0;
};

struct Difference {
  std::string part, step;  // "layer 3", "ffn_down"
  Place at;
  double expected = 0, found = 0, bound = 0;
};

// Numbers that are rounded once come as near to their bound as roundings do; the others stay far below it.
enum class StepKind : uint8_t { computed, rounded };

// One operation of the forward pass.
struct Step {
  std::string name;
  StepKind kind = StepKind::computed;
  int64_t values = 0;  // that were compared
  double worst = 0;    // largest |found - expected| / bound; infinite where a bound of 0 or a NaN was met
  std::optional<Difference> first;

  bool equal() const { return !first; }
  void compare(const Place& at, double found, const Bounded& expected);
};

// The embedding, a layer, or the head. Steps are in the order of the computation; several batches add to the same ones.
struct Part {
  std::string name;
  std::vector<Step> steps;

  Step& step(std::string_view name, StepKind kind = StepKind::computed);  // the one of this name, made where it is new
  const Step* worst(StepKind kind) const;                                 // nullptr: none of this kind
  bool equal() const;
};

}  // namespace facet::verify
