// One model under a trace: feeds it golden inputs and collects what its observer sees.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/trace.h"
#include "formats/checkpoint.h"
#include "model/gemma.h"

namespace facet::engine {

class TapCollector;

class TraceRun {
 public:
  struct Outcome {
    std::map<std::string, GoldenTensor> taps;  // ours, by the golden's names
    std::vector<float> last_logits;            // of the run that skipped work
  };

  static Result<std::unique_ptr<TraceRun>> load(const std::filesystem::path& path, const TraceOptions& options);
  Result<Outcome> run(const GoldenCase& golden);

 private:
  // What a case feeds in.
  struct Inputs {
    std::vector<Token> tokens;
    std::vector<int64_t> types;  // 0 text, 1 image, 2 video, 3 audio; empty: all text
    const GoldenTensor* embeds = nullptr;

    int64_t size() const { return static_cast<int64_t>(tokens.size()); }
    bool is_image(int64_t i) const;
  };
  enum class Rows { all, last };

  TraceRun(formats::Checkpoint checkpoint, const TraceOptions& options)
      : checkpoint_(std::move(checkpoint)), options_(options), pool_(options.threads) {}

  Result<Inputs> inputs_of(const GoldenCase& golden) const;
  Result<void> feed(const Inputs& inputs, Rows rows, ResultSink& sink, TapCollector* collector);
  Result<void> feed_chunk(const Inputs& inputs, SeqId id, int64_t first, int64_t count, Rows rows, ResultSink& sink);
  Result<std::vector<SoftRows>> soft_rows(const Inputs& inputs, int64_t first, int64_t count);
  Result<GoldenTensor> greedy(const GoldenCase& golden);

  formats::Checkpoint checkpoint_;
  TraceOptions options_;
  kernels::Table kernels_{};
  ThreadPool pool_;
  std::unique_ptr<model::Gemma> model_;
  std::vector<Matrix<float>> soft_;  // given embeddings of the chunk under way
};

// Writes taps as a safetensors file (F32 and I64).
Result<void> write_taps(const std::filesystem::path& path, const std::map<std::string, GoldenTensor>& taps);

}  // namespace facet::engine
