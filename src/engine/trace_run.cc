#include "engine/trace_run.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "engine/tap_collector.h"
#include "ops/elementwise.h"

namespace facet::engine {
namespace {

constexpr int64_t kMaxRows = 512;
constexpr int64_t kMaxContext = 4096;

// Keeps the last row of logits.
class LastLogits : public ResultSink {
 public:
  void logits(int32_t, std::span<const float> values) override { values_.assign(values.begin(), values.end()); }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}
  std::vector<float> take() { return std::move(values_); }
  const std::vector<float>& values() const { return values_; }

 private:
  std::vector<float> values_;
};

Token best(std::span<const float> logits, const GoldenTensor* suppressed) {
  size_t best = logits.size();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (suppressed != nullptr &&
        std::ranges::find(suppressed->integers, static_cast<int64_t>(i)) != suppressed->integers.end())
      continue;
    if (best == logits.size() || logits[i] > logits[best]) best = i;
  }
  return static_cast<Token>(best);
}

}  // namespace

bool TraceRun::Inputs::is_image(int64_t i) const {
  if (types.empty() || i < 0 || i >= size()) return false;
  return types[static_cast<size_t>(i)] == 1 || types[static_cast<size_t>(i)] == 2;
}

Result<std::unique_ptr<TraceRun>> TraceRun::load(const std::filesystem::path& path, const TraceOptions& options) {
  FACET_TRY(formats::Checkpoint checkpoint, formats::Checkpoint::open(path));
  std::unique_ptr<TraceRun> run(new TraceRun(std::move(checkpoint), options));  // private constructor
  FACET_TRY(model::Config config, model::read_config(run->checkpoint_));
  if (options.change_config) options.change_config(config);
  model::GemmaOptions gemma{.arithmetic = options.arithmetic, .pool = &run->pool_, .max_batch_rows = kMaxRows};
  const kernels::Table* table = options.isa ? kernels::table_of(*options.isa) : &kernels::best_table();
  if (table == nullptr)
    return Error{.code = ErrorCode::unsupported,
                 .what = cat("this processor cannot run the tier ", kernels::name(*options.isa))};
  run->kernels_ = *table;
  if (options.change_kernels) options.change_kernels(run->kernels_);
  gemma.kernels = &run->kernels_;
  gemma.kv.sliding_k = gemma.kv.sliding_v = gemma.kv.full_k = gemma.kv.full_v = options.kv;
  gemma.kv.context = std::min(config.context, kMaxContext);
  FACET_TRY(run->model_, model::Gemma::load(run->checkpoint_, config, gemma));
  if (options.change_model) options.change_model(*run->model_);
  return run;
}

Result<TraceRun::Inputs> TraceRun::inputs_of(const GoldenCase& golden) const {
  const GoldenTensor* ids = golden.find("input_ids");
  if (ids == nullptr) ids = golden.find("ids");
  if (ids == nullptr || !ids->is_integer || ids->integers.empty())
    return Error{.code = ErrorCode::corrupt, .what = "golden case has no input ids", .where = golden.name};
  Inputs inputs;
  inputs.tokens.assign(ids->integers.begin(), ids->integers.end());
  if (const GoldenTensor* types = golden.find("mm_token_type_ids")) inputs.types = types->integers;
  inputs.embeds = golden.find("inputs_embeds");
  const bool fits = (inputs.types.empty() || inputs.types.size() == inputs.tokens.size()) &&
                    (inputs.embeds == nullptr || (inputs.embeds->rows() == inputs.size() &&
                                                  inputs.embeds->cols() == model_->text().config().width));
  if (!fits)
    return Error{
        .code = ErrorCode::corrupt, .what = "inputs of a golden case do not fit each other", .where = golden.name};
  return inputs;
}

Result<TraceRun::Outcome> TraceRun::run(const GoldenCase& golden) {
  const bool left_only = golden.name == "image_mask" || golden.name == "long-image";  // the reference's own form
  model_->text().set_image_bound(left_only ? model::ImageBound::left_only : model::ImageBound::both_sides);
  Outcome outcome;
  if (golden.find("prompt") != nullptr) {
    FACET_TRY(GoldenTensor ids, greedy(golden));
    outcome.taps.emplace("ids", std::move(ids));
    return outcome;
  }
  FACET_TRY(const Inputs inputs, inputs_of(golden));
  const model::Config& config = model_->text().config();
  TapCollector collector(inputs.size(), config.ple_width, config.n_layers(), options_.interfere);
  LastLogits last;
  FACET_TRY_VOID(feed(inputs, Rows::all, last, &collector));
  outcome.taps = collector.take();
  if (options_.skip) {
    FACET_TRY_VOID(feed(inputs, Rows::last, last, nullptr));
    outcome.last_logits = last.take();
  }
  return outcome;
}

Result<void> TraceRun::feed(const Inputs& inputs, Rows rows, ResultSink& sink, TapCollector* collector) {
  FACET_TRY(const SeqId id, model_->create_sequence());
  const int64_t n = inputs.size(), chunk = options_.chunk > 0 ? std::min(options_.chunk, kMaxRows) : kMaxRows;
  const auto inside_image = [&](int64_t i) { return inputs.is_image(i - 1) && inputs.is_image(i); };
  Result<void> result;
  for (int64_t first = 0; first < n && result.ok();) {
    int64_t end = std::min(n, first + chunk);
    while (end > first && inside_image(end)) --end;  // back to the image's start
    if (end == first) {                              // an image longer than the chunk goes whole
      end = first + 1;
      while (inside_image(end)) ++end;
    }
    if (collector != nullptr) collector->set_first_row(first);
    model_->set_observer(collector);
    result = feed_chunk(inputs, id, first, end - first, rows, sink);
    model_->set_observer(nullptr);
    first = end;
  }
  model_->release(id);
  return result;
}

// The rows of a chunk whose embeddings are given.
Result<std::vector<SoftRows>> TraceRun::soft_rows(const Inputs& inputs, int64_t first, int64_t count) {
  std::vector<SoftRows> soft;
  soft_.clear();
  if (inputs.embeds == nullptr) return soft;
  for (int64_t i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(first + i), width = static_cast<size_t>(inputs.embeds->cols());
    if (!inputs.types.empty() && inputs.types[at] == 0) continue;
    FACET_TRY(Matrix<float> row, Matrix<float>::allocate(1, inputs.embeds->cols()));
    ops::write(row.view(), std::span(inputs.embeds->floats).subspan(at * width, width));
    soft_.push_back(std::move(row));
    soft.push_back({.first_row = static_cast<int32_t>(i), .values = soft_.back().view()});
  }
  return soft;
}

Result<void> TraceRun::feed_chunk(const Inputs& inputs, SeqId id, int64_t first, int64_t count, Rows rows,
                                  ResultSink& sink) {
  std::vector<int32_t> positions(static_cast<size_t>(count));
  std::vector<OutputRow> outputs;
  std::vector<RowSpan> spans;
  for (int32_t i = 0; i < count; ++i) {
    positions[static_cast<size_t>(i)] = static_cast<int32_t>(first) + i;
    if (rows == Rows::all || first + i + 1 == inputs.size()) outputs.push_back({.row = i, .want = Want::logits});
    if (!inputs.is_image(first + i)) continue;
    if (!spans.empty() && spans.back().first_row + spans.back().rows == i) {
      ++spans.back().rows;
    } else {
      spans.push_back({.first_row = i, .rows = 1});
    }
  }
  FACET_TRY(const std::vector<SoftRows> soft, soft_rows(inputs, first, count));
  const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(count)};
  return model_->forward(
      {.tokens = std::span(inputs.tokens).subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
       .positions = positions,
       .sequences = {&range, 1},
       .soft = soft,
       .bidirectional = spans,
       .outputs = outputs,
       .skip = options_.skip ? Skip::on : Skip::off},
      sink);
}

Result<GoldenTensor> TraceRun::greedy(const GoldenCase& golden) {
  const GoldenTensor *prompt = golden.find("prompt"), *ids = golden.find("ids");
  if (ids == nullptr || !ids->is_integer || !prompt->is_integer || prompt->integers.empty())
    return Error{.code = ErrorCode::corrupt, .what = "greedy golden case lacks its ids", .where = golden.name};
  Inputs inputs;
  inputs.tokens.assign(prompt->integers.begin(), prompt->integers.end());
  FACET_TRY(const SeqId id, model_->create_sequence());
  GoldenTensor out{.shape = ids->shape, .floats = {}, .integers = {}, .is_integer = true};
  LastLogits last;
  Result<void> result;
  int64_t done = 0;
  while (static_cast<int64_t>(out.integers.size()) < ids->size()) {
    while (done < inputs.size() && result.ok()) {
      const int64_t count = std::min(inputs.size() - done, options_.chunk > 0 ? options_.chunk : kMaxRows);
      result = feed_chunk(inputs, id, done, count, Rows::last, last);
      done += count;
    }
    if (!result.ok()) break;
    const Token token = best(last.values(), golden.find("suppress_tokens"));
    out.integers.push_back(token);
    inputs.tokens.push_back(token);
  }
  model_->release(id);
  if (!result.ok()) return std::move(result).error();
  return out;
}

Result<void> write_taps(const std::filesystem::path& path, const std::map<std::string, GoldenTensor>& taps) {
  Json header{Json::Object()};
  std::string body;
  for (const auto& [name, tensor] : taps) {
    const int64_t begin = static_cast<int64_t>(body.size());
    const auto add = [&](const auto& values) {
      const Bytes bytes = std::as_bytes(std::span(values));
      body += as_text(bytes);
    };
    tensor.is_integer ? add(tensor.integers) : add(tensor.floats);
    Json::Array shape;
    for (const int64_t dim : tensor.shape) shape.emplace_back(dim);
    Json entry;
    entry.set("dtype", tensor.is_integer ? "I64" : "F32");
    entry.set("shape", std::move(shape));
    entry.set("data_offsets", Json::Array{begin, static_cast<int64_t>(body.size())});
    header.set(name, std::move(entry));
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return write_file_atomic(path, as_bytes(file + text + body));
}

}  // namespace facet::engine
