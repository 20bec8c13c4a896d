#include "engine/work_count.h"

#include <algorithm>
#include <cmath>

#include "kernels/kv_layout.h"

namespace facet::engine {
namespace {

class Counter {
 public:
  Counter(const model::Gemma& model, const PassShape& pass)
      : config_(model.text().config()), kv_(model.cache().options()), pass_(pass), rows_(pass.rows * pass.sequences) {}

  Work count(const model::Plan& plan, const model::Weights& weights) {
    kept_ = pass_.wants_logits ? pass_.sequences : 0;
    const bool cuts = pass_.skip == Skip::on && kept_ < rows_;
    product(weights.ple_context_before, rows_);
    product(weights.ple_context_after, cuts ? kept_ : rows_);
    for (const model::LayerPlan& layer : plan.layers) {
      const model::LayerWeights& w = weights.layers[static_cast<size_t>(layer.index)];
      product(w.key, rows_);
      product(w.value, rows_);
      if (layer.last_storing && cuts) rows_ = kept_;
      if (rows_ == 0) return work_;
      attention(layer, w);
      feed_forward(w);
    }
    product(weights.head, kept_);
    return work_;
  }

 private:
  // All rows meet all groups.
  void product(const Linear& linear, int64_t rows) {
    if (rows == 0 || linear.weight.data.empty()) return;
    const Weight& w = linear.weight;
    work_.weight_bytes += static_cast<double>(w.data.size());
    work_.operations += 2.0 * static_cast<double>(rows * w.rows * w.cols);
  }

  // Each row meets some of the groups.
  void routed(const Linear& linear) {
    if (linear.weight.data.empty()) return;
    const Weight& w = linear.weight;
    const double share = static_cast<double>(config_.experts_used) / static_cast<double>(config_.experts);
    const double met = 1 - std::pow(1 - share, static_cast<double>(rows_));
    work_.weight_bytes += met * static_cast<double>(w.data.size());
    work_.operations += 2.0 * static_cast<double>(rows_ * config_.experts_used * w.rows * w.cols);
  }

  void attention(const model::LayerPlan& layer, const model::LayerWeights& w) {
    product(w.query, rows_);
    product(w.attention_output, rows_);
    const int64_t of_sequence = rows_ / pass_.sequences, end = pass_.first + pass_.rows;
    const int64_t window = layer.full ? end : config_.window;
    double seen = 0;
    for (int64_t position = end - of_sequence; position < end; ++position)
      seen += static_cast<double>(std::min(position + 1, window));
    const double sequences = static_cast<double>(pass_.sequences);
    work_.operations += sequences * seen * 4 * static_cast<double>(config_.heads * layer.head_dim);
    const int64_t keys = std::min(end, window - 1 + of_sequence);
    const DType k = layer.full ? kv_.full_k : kv_.sliding_k, v = layer.full ? kv_.full_v : kv_.sliding_v;
    const int64_t block = kernels::kv_block_bytes(k, layer.head_dim) + kernels::kv_block_bytes(v, layer.head_dim);
    work_.kv_bytes += sequences * static_cast<double>(keys * layer.kv_heads * block / kernels::kKvBlockKeys);
  }

  void feed_forward(const model::LayerWeights& w) {
    for (const Linear* linear : {&w.ffn_gate, &w.ffn_up, &w.ffn_down, &w.router, &w.ple_gate, &w.ple_projection})
      product(*linear, rows_);
    routed(w.experts_gate_up);
    routed(w.experts_down);
  }

  const model::Config& config_;
  const model::KvOptions& kv_;
  PassShape pass_;
  int64_t rows_, kept_ = 0;  // rows that still run; rows whose logits are wanted
  Work work_;
};

}  // namespace

Work& Work::operator+=(const Work& other) {
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  operations += other.operations;
  return *this;
}

Work work_of(const model::Gemma& model, const PassShape& pass) {
  return Counter(model, pass).count(model.text().plan(), model.text().weights());
}

}  // namespace facet::engine
