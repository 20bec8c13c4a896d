// How much a forward pass has to do, counted from its weights and shapes: what its time is set against. Counted are the
// products with weights and those of attention; rows of tables, norms and activations do not count.
#pragma once

#include <cstdint>

#include "model/gemma.h"

namespace facet::engine {

struct Work {
  double weight_bytes = 0;  // read from memory, each matrix once a pass
  double kv_bytes = 0;      // keys and values, each once a pass, layer and sequence
  double operations = 0;    // multiplications and additions

  Work& operator+=(const Work& other);
};

// A pass over `rows` rows of each of `sequences` sequences, the first row at position `first`.
struct PassShape {
  int64_t first = 0, rows = 1, sequences = 1;
  bool wants_logits = true;  // of the last row of each sequence
  Skip skip = Skip::on;
};

// Of experts, those count that rows which choose at random would meet.
Work work_of(const model::Gemma& model, const PassShape& pass);

}  // namespace facet::engine
