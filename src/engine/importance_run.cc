#include "engine/importance_run.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/strings.h"
#include "engine/load_gemma.h"
#include "model/tensor_names.h"
#include "ops/importance.h"

namespace facet::engine {
namespace {

// The weights that read an input: gate and up read the same one. Empty: of no interest to quantisers.
std::vector<const char*> weights_of(LinearRole role, bool experts_are_split) {
  namespace t = model::tensors;
  switch (role) {
    case LinearRole::query: return {t::kQuery.gguf};
    case LinearRole::key: return {t::kKey.gguf};
    case LinearRole::value: return {t::kValue.gguf};
    case LinearRole::attention_output: return {t::kAttentionOutput.gguf};
    case LinearRole::ffn_gate: return {t::kFfnGate.gguf};
    case LinearRole::ffn_up: return {t::kFfnUp.gguf};
    case LinearRole::ffn_down: return {t::kFfnDown.gguf};
    case LinearRole::router: return {t::kRouter.gguf};
    case LinearRole::experts_gate_up:
      if (experts_are_split) return {t::kExpertsGate.gguf, t::kExpertsUp.gguf};
      return {t::kExpertsGateUp.gguf};
    case LinearRole::experts_down: return {t::kExpertsDown.gguf};
    case LinearRole::ple_gate: return {t::kPleGate.gguf};
    case LinearRole::ple_projection: return {t::kPleProjection.gguf};
    case LinearRole::ple_context:
    case LinearRole::head:
    case LinearRole::draft_input:
    case LinearRole::draft_output:
    case LinearRole::draft_centroids: return {};  // the one stays BF16; tables have no importance
  }
  return {};
}

class Collector : public ops::Observer {
 public:
  Collector(const Context& context, int64_t experts) : context_(context), experts_(experts) {}

  void tap(std::string_view, int, Mat<float>, std::span<const int32_t>) override {}
  void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
  void linear_input(const ops::LinearInput& input) override {
    if (input.id.layer < 0) return;
    Sums& sums = sums_[{input.id.layer, input.id.role}];
    const bool routed = input.id.role == LinearRole::experts_gate_up || input.id.role == LinearRole::experts_down;
    const size_t groups = routed ? static_cast<size_t>(experts_) : 1, cols = static_cast<size_t>(input.values.cols());
    sums.squares.resize(groups * cols);
    sums.counts.resize(groups);
    const size_t group = static_cast<size_t>(input.group);
    ops::add_squares(context_, std::span(sums.squares).subspan(group * cols, cols), input);
    sums.counts[group] += static_cast<double>(input.count());
  }

  Result<formats::ImportanceMatrix> take(bool experts_are_split) const {
    formats::ImportanceMatrix out;
    for (const auto& [key, sums] : sums_) {
      formats::ImportanceMatrix::Entry entry;
      entry.sums.assign(sums.squares.begin(), sums.squares.end());
      entry.counts.assign(sums.counts.begin(), sums.counts.end());
      for (const char* pattern : weights_of(key.second, experts_are_split)) {
        const std::string name = model::gguf_name(pattern, key.first);
        if (!std::ranges::all_of(entry.sums, [](float sum) { return std::isfinite(sum); }))
          return Error{.code = ErrorCode::non_finite, .what = "input of a linear is not finite", .where = name};
        out.entries.emplace(name, entry);
      }
    }
    return out;
  }

 private:
  struct Sums {
    std::vector<double> squares, counts;
  };

  const Context& context_;
  int64_t experts_;
  std::map<std::pair<int, LinearRole>, Sums> sums_;
};

// One chunk in a sequence of its own, batch by batch.
Result<void> run_chunk(model::Gemma& model, std::span<const Token> tokens) {
  FACET_TRY(const SeqId id, model.create_sequence());
  NoResults sink;
  Result<void> done;
  const size_t most = static_cast<size_t>(model.limits().max_batch_rows);
  std::vector<int32_t> positions;
  for (size_t first = 0; first < tokens.size() && done.ok(); first += most) {
    const std::span<const Token> rows = tokens.subspan(first, std::min(most, tokens.size() - first));
    positions.resize(rows.size());
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(rows.size())};
    done = model.forward({.tokens = rows,
                          .positions = positions,
                          .sequences = {&range, 1},
                          .soft = {},
                          .bidirectional = {},
                          .outputs = {},
                          .skip = Skip::off},
                         sink);
    if (done.ok()) model.commit(id, static_cast<int64_t>(first + rows.size()));
  }
  model.release(id);
  return done;
}

Result<void> check_request(const ModelFiles& files, std::span<const Token> tokens, int64_t chunk) {
  const auto bad = [](std::string what, std::string expected, std::string found) {
    return Error{.code = ErrorCode::invalid_argument,
                 .what = std::move(what),
                 .where = "importance matrix",
                 .expected = std::move(expected),
                 .found = std::move(found)};
  };
  if (!files.checkpoint) return bad("a puppet has no weights", "a model file", files.path);
  if (chunk < 2) return bad("chunks are too short", "two tokens at least", cat(chunk));
  if (tokens.size() < 2) return bad("the text is too short", "two tokens at least", cat(tokens.size()));
  return {};
}

}  // namespace

Result<formats::ImportanceMatrix> collect_importance(const ModelFiles& files, std::span<const Token> tokens,
                                                     int64_t chunk, const LoadOptions& load, PackUse* pack) {
  FACET_TRY_VOID(check_request(files, tokens, chunk));
  chunk = std::min(chunk, static_cast<int64_t>(tokens.size()));
  LoadOptions options = load;
  options.context = chunk;
  ThreadPool pool(threads_or_all(static_cast<int>(options.threads)));
  FACET_TRY(const LoadedGemma loaded, load_gemma(files, options, pool));
  if (pack != nullptr) *pack = loaded.packed.use();
  model::Gemma& model = *loaded.model;
  Collector collector(model.context(), files.config.experts);
  model.set_observer(&collector);

  const std::optional<Token> bos = files.tokenizer->bos();
  const int64_t total = static_cast<int64_t>(tokens.size());
  int64_t chunks = 0;
  for (int64_t first = 0; first + 1 < total; first += chunk, ++chunks) {
    const auto part = tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(std::min(chunk, total - first)));
    std::vector<Token> rows(part.begin(), part.end());
    if (bos && files.tokenizer->adds_bos()) rows.front() = *bos;
    FACET_TRY_VOID(run_chunk(model, rows));
    if (load.progress && !load.progress("observing", std::min(total, first + chunk), total))
      return Error{.code = ErrorCode::cancelled, .what = "was stopped", .where = "importance matrix"};
  }
  const std::string split = model::gguf_name(model::tensors::kExpertsGate.gguf, 0);
  FACET_TRY(formats::ImportanceMatrix out, collector.take(files.checkpoint->find(split) != nullptr));
  out.chunk_count = chunks;
  out.chunk_size = chunk;
  return out;
}

}  // namespace facet::engine
