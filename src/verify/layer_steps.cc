// The steps that layers are made of: each compares one result of the fast path, number by number.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/attention.h"
#include "verify/attention.h"
#include "verify/layer.h"

namespace facet::verify {

namespace names = model::tensors;

std::vector<int64_t> rows_to_check(int64_t rows, int64_t cols, Rows which) {
  constexpr int64_t kSmall = int64_t{1} << 18;  // values of a linear that is computed whole
  constexpr int64_t kPanel = kernels::kPanelRows;
  std::vector<int64_t> out;
  if (which == Rows::all || rows * cols <= kSmall || rows <= kPanel * kPanel) {
    for (int64_t row = 0; row < rows; ++row) out.push_back(row);
    return out;
  }
  for (int64_t panel = 0; panel * kPanel < rows; ++panel) {
    const int64_t in_panel = (5 * panel + panel / kPanel) % kPanel;  // 5 and 16 have no common factor
    out.push_back(std::min(rows - 1, panel * kPanel + in_panel));
  }
  return out;
}

Place PartCheck::place(int64_t row, int64_t column) const {
  return {.row = row, .position = batch_.positions[static_cast<size_t>(row)], .column = column};
}

kernels::Form PartCheck::form_of(DType type) const {
  const kernels::PanelType* panel = setup_.kernels.panel(type);
  FACET_CHECK(panel != nullptr);
  return setup_.arithmetic == Arithmetic::fast ? panel->fast_form : kernels::kFormF32;
}

std::vector<double> PartCheck::frequencies(int index) const {
  const model::LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  if (!layer.full) return rope_frequencies(config_.rope_sliding, layer.head_dim, {});
  std::vector<double> divisors;
  if (setup_.source.has(names::kRopeFactors, -1)) divisors = setup_.source.vector(names::kRopeFactors, -1);
  return rope_frequencies(config_.rope_full, layer.head_dim, divisors);
}

// y = norm(x) ⊙ w
void PartCheck::expect_norm(std::string_view name, const Copied<float>& y, const Copied<float>& x,
                            std::span<const double> w) {
  Step& step = part_.step(name);
  for (int64_t i = 0; i < y.rows; ++i) {
    const std::vector<Bounded> expected = norm(x.row(i), w, config_.norm_eps);
    for (size_t j = 0; j < expected.size(); ++j)
      step.compare(place(i, static_cast<int64_t>(j)), static_cast<double>(y.row(i)[j]), expected[j]);
  }
}

void PartCheck::expect_same(std::string_view name, const Copied<float>& y, const Copied<float>& x) {
  Step& step = part_.step(name);
  for (int64_t i = 0; i < y.rows; ++i)
    for (size_t j = 0; j < static_cast<size_t>(y.cols); ++j)
      step.compare(place(i, static_cast<int64_t>(j)), static_cast<double>(y.row(i)[j]),
                   {static_cast<double>(x.row(i)[j]), 0});
}

// Each head: y = rope(norm(x) ⊙ w), either of the two where asked for.
void PartCheck::expect_heads(std::string_view name, const Copied<float>& y, const Copied<float>& x,
                             std::span<const double> w, bool normed, const std::vector<double>* turns,
                             int64_t head_dim) {
  Step& step = part_.step(name);
  const size_t d = static_cast<size_t>(head_dim);
  for (int64_t i = 0; i < y.rows; ++i)
    for (size_t first = 0; first < static_cast<size_t>(y.cols); first += d) {
      const std::span<const float> head = x.row(i).subspan(first, d);
      std::vector<Bounded> expected;
      if (normed) {
        expected = norm(head, w, config_.norm_eps);
      } else {
        for (const float value : head) expected.push_back({static_cast<double>(value), 0});
      }
      if (turns != nullptr) rotate(expected, batch_.positions[static_cast<size_t>(i)], *turns);
      for (size_t j = 0; j < d; ++j)
        step.compare(place(i, static_cast<int64_t>(first + j)), static_cast<double>(y.row(i)[first + j]), expected[j]);
    }
}

// y = (h + norm(x) ⊙ w) * scale; scale_error: what the product with the scale rounds, relative.
void PartCheck::expect_joined(std::string_view name, const Copied<float>& y, const Copied<float>& h,
                              const Copied<float>& x, std::span<const double> w, double scale, double scale_error) {
  Step& step = part_.step(name);
  for (int64_t i = 0; i < y.rows; ++i) {
    const std::vector<Bounded> normed = norm(x.row(i), w, config_.norm_eps);
    for (size_t j = 0; j < normed.size(); ++j) {
      const double sum = static_cast<double>(h.row(i)[j]) + normed[j].value;
      const double bound = kU * std::abs(sum) + kHigherOrder * normed[j].bound;
      step.compare(place(i, static_cast<int64_t>(j)), static_cast<double>(y.row(i)[j]),
                   {sum * scale, std::abs(scale) * (bound + scale_error * (std::abs(sum) + bound)) + kTiny});
    }
  }
}

// y = gelu(gate) ⊙ up, of up its columns from up_column on. rows: batch row of each row.
void PartCheck::expect_gelu(std::string_view name, const CopiedOperand& y, const Copied<float>& gate,
                            const Copied<float>& up, int64_t up_column, std::span<const int32_t> rows) {
  Step& step = part_.step(name);
  for (int64_t i = 0; i < y.f32.rows; ++i)
    for (int64_t j = 0; j < y.f32.cols; ++j) {
      const double g = static_cast<double>(gate.row(i)[static_cast<size_t>(j)]);
      const double u = static_cast<double>(up.row(i)[static_cast<size_t>(up_column + j)]);
      step.compare(place(rows[static_cast<size_t>(i)], j), static_cast<double>(y.f32.row(i)[static_cast<size_t>(j)]),
                   gelu_times(g, u));
    }
}

void PartCheck::expect_forms(std::string_view name, const CopiedOperand& operand, std::span<const int32_t> rows) {
  if (operand.codes.values.empty() && operand.bf16.values.empty()) return;
  Step& step = part_.step(name, StepKind::rounded);
  for (int64_t i = 0; i < operand.f32.rows; ++i)
    compare_forms(step, operand, i, place(rows.empty() ? i : rows[static_cast<size_t>(i)]));
}

// y = W x, of W its rows from first_row on.
void PartCheck::expect_product(std::string_view name, const SourceMatrix& w, const CopiedLinear& linear,
                               int64_t first_row) {
  const ProductInput x = product_input(linear.input, form_of(w.type()));
  const std::vector<int64_t> rows = rows_to_check(linear.output.cols, w.cols(), setup_.rows);
  std::vector<Bounded> expected(rows.size() * static_cast<size_t>(x.rows));
  std::vector<SourceRow> scratch(static_cast<size_t>(setup_.pool.n_threads()));
  setup_.pool.parallel(static_cast<int64_t>(rows.size()), [&](int64_t at, int thread) {
    SourceRow& row = scratch[static_cast<size_t>(thread)];
    w.read(row, first_row + rows[static_cast<size_t>(at)]);
    for (int64_t i = 0; i < x.rows; ++i) expected[static_cast<size_t>(at * x.rows + i)] = product(row, x, i);
  });
  Step& step = part_.step(name);
  for (int64_t i = 0; i < x.rows; ++i)
    for (size_t at = 0; at < rows.size(); ++at)
      step.compare(place(linear.rows[static_cast<size_t>(i)], first_row + rows[at]),
                   static_cast<double>(linear.output.row(i)[static_cast<size_t>(rows[at])]),
                   expected[at * static_cast<size_t>(x.rows) + static_cast<size_t>(i)]);
}

void PartCheck::expect_product(LinearRole role, std::string_view name, int layer) {
  expect_product(name, setup_.source.linear(role, layer), record_.linear(role));
  setup_.source.release(role, layer);
}

DType PartCheck::k_type(int index) const {
  return config_.layers[static_cast<size_t>(index)].full ? setup_.kv.full_k : setup_.kv.sliding_k;
}
DType PartCheck::v_type(int index) const {
  return config_.layers[static_cast<size_t>(index)].full ? setup_.kv.full_v : setup_.kv.sliding_v;
}

// What stands in the cache at the batch's positions is its keys and values, in the form of the storage type.
void PartCheck::stored(int index) {
  const model::LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  const size_t d = static_cast<size_t>(layer.head_dim);
  std::vector<float> k(d), v(d);
  Step& step = part_.step("stored", StepKind::rounded);
  for (const SeqRange& range : batch_.sequences)
    for (int64_t i = range.first_row; i < range.first_row + range.rows; ++i) {
      const int64_t position = batch_.positions[static_cast<size_t>(i)];
      const KvView view = setup_.cache.view(index, range.sequence, position + 1);
      for (int64_t head = 0; head < layer.kv_heads; ++head) {
        ops::read_stored_kv(k, v, view, head, position);
        const size_t first = static_cast<size_t>(head) * d;
        const std::vector<Bounded> key = stored_head(k_type(index), record_.tap("k").row(i).subspan(first, d));
        const std::vector<Bounded> value = stored_head(v_type(index), record_.tap("v").row(i).subspan(first, d));
        for (size_t j = 0; j < d; ++j) {
          const Place at = place(i, static_cast<int64_t>(first + j));
          step.compare(at, static_cast<double>(k[j]), key[j]);
          step.compare(at, static_cast<double>(v[j]), value[j]);
        }
      }
    }
}

// Of a layer that reads: its own keys and values, or its donor's; from position `begin` to the last row of the range.
StoredKv PartCheck::read_stored(int index, const SeqRange& range, int64_t kv_head, int64_t begin) const {
  const model::LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  const int64_t end = batch_.positions[static_cast<size_t>(range.first_row)] + range.rows;
  const KvView view = setup_.cache.view(layer.shares_kv ? layer.donor : index, range.sequence, end);
  StoredKv stored{.begin = begin, .d = layer.head_dim, .k = {}, .v = {}};
  std::vector<float> k(static_cast<size_t>(stored.d)), v(k.size());
  for (int64_t position = begin; position < end; ++position) {
    ops::read_stored_kv(k, v, view, kv_head, position);
    stored.k.insert(stored.k.end(), k.begin(), k.end());
    stored.v.insert(stored.v.end(), v.begin(), v.end());
  }
  return stored;
}

AttentionForms PartCheck::attention_forms(int index) const {
  const bool fast = setup_.arithmetic == Arithmetic::fast;
  const kernels::KvType &k = *setup_.kernels.kv(k_type(index)), &v = *setup_.kernels.kv(v_type(index));
  AttentionForms forms;
  if (fast && k.scores_bf16 != nullptr) forms.queries = Factors::bf16;
  if (fast && v.accumulate_bf16 != nullptr) forms.probabilities = Factors::bf16;
  if (k.type == DType::i8) forms.queries = Factors::codes;  // in both arithmetics
  if (v.type == DType::i8) forms.probabilities = Factors::codes;
  return forms;
}

// The keys that a row sees: all up to its own, in sliding layers the last `window` of them.
void PartCheck::attend(int index) {
  const model::LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  const int64_t d = layer.head_dim, queries = config_.heads / layer.kv_heads;
  const auto first_seen = [&](int64_t position) {
    return layer.full ? 0 : std::max<int64_t>(0, position - config_.window + 1);
  };
  const AttentionForms forms = attention_forms(index);
  const Copied<float>&q = record_.tap("q"), &out = record_.linear(LinearRole::attention_output).input.f32;
  Step& step = part_.step("attention");
  for (const SeqRange& range : batch_.sequences) {
    const int64_t first = batch_.positions[static_cast<size_t>(range.first_row)];
    for (int64_t kv_head = 0; kv_head < layer.kv_heads; ++kv_head) {
      const StoredKv stored = read_stored(index, range, kv_head, first_seen(first));
      const int64_t heads = range.rows * queries;
      std::vector<Bounded> expected(static_cast<size_t>(heads * d));
      std::vector<double> found(expected.size());
      setup_.pool.parallel(heads, [&](int64_t i, int) {
        const int64_t row = range.first_row + i / queries, position = batch_.positions[static_cast<size_t>(row)];
        const size_t head = static_cast<size_t>((kv_head * queries + i % queries) * d), width = static_cast<size_t>(d);
        const std::span<Bounded> sums = std::span(expected).subspan(static_cast<size_t>(i) * width, width);
        const std::span<double> result = std::span(found).subspan(static_cast<size_t>(i) * width, width);
        verify::attend(sums, q.row(row).subspan(head, width), stored, first_seen(position), position + 1,
                       config_.attention_scale, forms);
        std::ranges::copy(out.row(row).subspan(head, width), result.begin());
        if (is_turned(v_type(index))) turn_forth(result, sums);
      });
      for (int64_t i = 0; i < heads; ++i)
        for (int64_t j = 0; j < d; ++j)
          step.compare(place(range.first_row + i / queries, (kv_head * queries + i % queries) * d + j),
                       found[static_cast<size_t>(i * d + j)], expected[static_cast<size_t>(i * d + j)]);
    }
  }
}

}  // namespace facet::verify
