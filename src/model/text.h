// TextModel: the decoder of the Gemma family, from token ids to logits (text-decoder.md 2). The same code runs every
// size; what differs is data in the plan. Knows no files, no threads, no sequences beyond the batch.
#pragma once

#include "model/activations.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/layer_plan.h"
#include "model/weights.h"
#include "ops/batch.h"

namespace facet::model {

// How far an image row sees ahead inside its image (text-decoder.md 2.8): both sides of the window, as the model was
// trained, or bounded on the left only, as some versions of the reference do it. Differs for images longer than the
// window.
enum class ImageBound : uint8_t { both_sides, left_only };

class TextModel {
 public:
  // max_rows: of one batch; max_context: positions of a sequence; readers: linears of others that will read hidden().
  // Errors: exhausted.
  static Result<TextModel> create(const Context& ctx, const Config& config, const Plan& plan, Weights weights,
                                  int64_t max_rows, int64_t max_context, std::span<const Linear* const> readers = {});

  // Asks for the table rows of tokens that will run; see LanguageModel.
  void prefetch(std::span<const Token> tokens) const;

  // Runs the batch. Cache room for its rows must be reserved; lengths do not change. A failed call leaves the cache as
  // it was: everything that can fail happens before layer 0. Errors: invalid_argument (a batch that contradicts
  // itself), io (a table row could not be read).
  Result<void> forward(Context& ctx, const Batch& batch, KvCache& cache, ResultSink& sink);

  // A drafter's pass (text-decoder.md 4.2): rows whose input is given, one a sequence, read the cache of another model
  // and store nothing. The result stands in hidden() until the next pass.
  struct DraftRows {
    std::span<const SeqRange> sequences;  // of the cache; one row each
    std::span<const int32_t> positions;   // of rotation; what a row sees ends with the cache
    std::span<const int> donors;          // for each layer: the layer of the other model whose keys it reads
  };
  void draft(Context& ctx, Mat<const float> inputs, const DraftRows& rows, KvCache& cache);  // inputs: (T, D)
  // norm(h) of the rows of the last draft, in every form that the head reads.
  ops::Operand& hidden() { return a_.x; }

  void set_image_bound(ImageBound bound) { image_bound_ = bound; }
  const Config& config() const { return config_; }
  const Plan& plan() const { return plan_; }
  const Weights& weights() const { return weights_; }
  Weights& weights() { return weights_; }
  int64_t max_rows() const { return max_rows_; }
  // Bytes of all buffers of a pass; of those that hold logits.
  int64_t scratch_bytes() const { return a_.bytes(); }
  int64_t logit_bytes() const { return a_.logits.bytes(); }

 private:
  // The batch on its way through the layers.
  struct Pass {
    Context& ctx;
    const Batch& batch;
    KvCache& cache;
    Mat<float> h;                      // (T, D) residual stream of the rows that are still needed
    Mat<float> ple;                    // (T, L P) per-layer inputs of those rows
    bool cuts = false;                 // rows without outputs stop at the last storing layer
    std::span<const int> donors = {};  // drafts: whose keys each layer reads
  };

  TextModel(Config config, Plan plan, Weights weights, Activations activations, int64_t max_rows)
      : config_(std::move(config)),
        plan_(std::move(plan)),
        weights_(std::move(weights)),
        a_(std::move(activations)),
        max_rows_(max_rows) {}

  Result<void> check(const Batch& batch, const KvCache& cache) const;
  Result<void> check_sequences(const Batch& batch, const KvCache& cache) const;
  void begin(Pass& pass);
  void view_keys(const Pass& pass, const LayerPlan& layer);
  void turn(Context& ctx);
  void see(const Pass& pass);
  Token ple_token(Token token) const;
  Result<void> embed(Pass& pass);
  Result<void> per_layer_inputs(Pass& pass);
  void keep_output_rows(Pass& pass);

  void decoder_layer(Pass& pass, const LayerPlan& layer, const LayerWeights& w);
  void attention(Pass& pass, const LayerPlan& layer, const LayerWeights& w);
  void store_keys(Pass& pass, const LayerPlan& layer, const LayerWeights& w);
  void feed_forward(Pass& pass, const LayerPlan& layer, const LayerWeights& w);
  void mixture_of_experts(Pass& pass, const LayerWeights& w, Mat<float> dense);
  void per_layer_input(Pass& pass, const LayerPlan& layer, const LayerWeights& w);
  void output(Pass& pass, ResultSink& sink);
  size_t deliver(Pass& pass, std::span<const int32_t> rows, size_t next, ResultSink& sink);

  void tap(const Pass& pass, std::string_view name, int layer, Mat<float> values) const;
  Mat<float> cosine(const LayerPlan& layer);
  Mat<float> sine(const LayerPlan& layer);
  float eps() const { return static_cast<float>(config_.norm_eps); }

  Config config_;
  Plan plan_;
  Weights weights_;
  Activations a_;
  int64_t max_rows_;
  ImageBound image_bound_ = ImageBound::both_sides;
};

}  // namespace facet::model
