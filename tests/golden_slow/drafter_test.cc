// Drafters against the reference: single steps on given keys, rounds behind a prompt (golden/text/tiny-assistant-*).
#include "model/drafter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/strings.h"
#include "convert/convert.h"
#include "engine/golden_case.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "support/address_space.h"
#include "support/expect.h"
#include "support/kernel_tables.h"
#include "support/paths.h"

namespace facet::model {
namespace {

using engine::GoldenCase;
using engine::GoldenTensor;

constexpr double kTolerance = 1e-4;

double relative_error(std::span<const float> ours, const GoldenTensor& golden) {
  if (ours.size() != golden.floats.size()) return INFINITY;
  double worst = 0, most = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(ours[i]) - static_cast<double>(golden.floats[i])));
    most = std::max(most, std::abs(static_cast<double>(golden.floats[i])));
    if (std::isnan(ours[i])) return INFINITY;
  }
  return worst / most;
}

Token best(std::span<const float> logits) {
  return static_cast<Token>(std::ranges::max_element(logits) - logits.begin());
}

// Keeps the last logits and hidden state.
struct Last : ResultSink {
  std::vector<float> values, state;
  void logits(int32_t, std::span<const float> row) override { values.assign(row.begin(), row.end()); }
  void hidden(int32_t, std::span<const float> row) override { state.assign(row.begin(), row.end()); }
  void logprob(int32_t, float) override {}
};

// Keeps what layers and the final norm show.
struct Taps : ops::Observer {
  std::map<std::string, std::vector<float>> seen;
  void tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t>) override {
    std::vector<float>& out = seen[layer < 0 ? std::string(name) : cat("layer.", layer, ".", name)];
    out.resize(static_cast<size_t>(values.rows() * values.cols()));
    ops::read(out, Mat<const float>(values));
  }
  void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
  void linear_input(const ops::LinearInput&) override {}
};

// A target and its drafter, in float arithmetic.
class Pair {
 public:
  Pair(const std::filesystem::path& text, const std::filesystem::path& drafter, const std::filesystem::path& target,
       const kernels::Table& kernels, DrafterOptions options = {})
      : pool_(2), target_files_(open(text / target)), drafter_files_(open(text / drafter)) {
    const Result<Config> config = read_config(target_files_);
    EXPECT_OK(config);
    GemmaOptions gemma{.arithmetic = Arithmetic::f32, .kernels = &kernels, .pool = &pool_, .max_batch_rows = 64};
    gemma.kv = {.sliding_k = DType::f32, .sliding_v = DType::f32, .full_k = DType::f32, .full_v = DType::f32};
    gemma.kv.context = 128;
    target_ = *Gemma::load(target_files_, *config, gemma);
    Result<std::unique_ptr<Drafter>> loaded = Drafter::load(drafter_files_, *target_, options);
    EXPECT_OK(loaded);
    drafter_ = *std::move(loaded);
  }

  Gemma& target() { return *target_; }
  Drafter& drafter() { return *drafter_; }

  // A sequence that holds the last positions of golden keys and values, as the reference's own cache would.
  SeqId sequence_of(const GoldenCase& golden) {
    const int64_t rows = golden.find("full.k")->rows();
    Context context = target_->context();
    const SeqId id = *target_->create_sequence();
    EXPECT_OK(target_->cache().reserve(id, rows));
    for (const char* kind : {"sliding", "full"}) {
      const bool full = std::string_view(kind) == "full";
      const GoldenTensor &k = *golden.find(cat(kind, ".k")), &v = *golden.find(cat(kind, ".v"));
      int donor = -1;
      const Config& config = target_->text().config();
      for (int i = 0; i < config.n_layers(); ++i)
        if (const LayerConfig& layer = config.layers[static_cast<size_t>(i)]; layer.full == full && !layer.shares_kv)
          donor = i;
      std::vector<float> all_k(static_cast<size_t>(rows * k.cols())), all_v(all_k.size());
      std::ranges::copy_backward(k.floats, all_k.end());
      std::ranges::copy_backward(v.floats, all_v.end());
      ops::write_kv(context, target_->cache().writer(donor, id), Mat<const float>(all_k.data(), rows, k.cols()),
                    Mat<const float>(all_v.data(), rows, v.cols()));
    }
    target_->cache().advance(id, rows);
    return id;
  }

  // Reads tokens behind a sequence; the results of the last row.
  Last read(SeqId id, std::span<const Token> tokens) {
    std::vector<int32_t> positions;
    for (size_t i = 0; i < tokens.size(); ++i)
      positions.push_back(static_cast<int32_t>(target_->length(id) + static_cast<int64_t>(i)));
    const SeqRange range{.sequence = id, .first_row = 0, .rows = static_cast<int32_t>(tokens.size())};
    const OutputRow output{.row = static_cast<int32_t>(tokens.size()) - 1, .want = Want::both};
    Last last;
    EXPECT_OK(target_->forward({.tokens = tokens,
                                .positions = positions,
                                .sequences = {&range, 1},
                                .soft = {},
                                .bidirectional = {},
                                .outputs = {&output, 1}},
                               last));
    return last;
  }

 private:
  static formats::Checkpoint open(const std::filesystem::path& path) {
    Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(path);
    EXPECT_OK(checkpoint);
    return *std::move(checkpoint);
  }

  ThreadPool pool_;
  formats::Checkpoint target_files_, drafter_files_;
  std::unique_ptr<Gemma> target_;
  std::unique_ptr<Drafter> drafter_;
};

struct Names {
  const char *drafter, *target;
};
constexpr Names kPairs[] = {{"tiny-assistant-centroid", "tiny-e"}, {"tiny-assistant-dense", "tiny-moe"}};

const GoldenCase& named(const std::vector<GoldenCase>& cases, std::string_view name) {
  return *std::ranges::find(cases, name, &GoldenCase::name);
}

TEST(Drafter, OneStepOnGivenKeysIsTheReferences) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  for (const Names& names : kPairs) {
    const std::vector<GoldenCase> cases = *engine::read_golden_cases(text / names.drafter);
    for (const kernels::Table& kernels : testing::kernel_tables()) {
      Pair pair(text, names.drafter, names.target, kernels);
      for (const char* name : {"step", "short"}) {
        const GoldenCase& golden = named(cases, name);
        const SeqId id = pair.sequence_of(golden);
        const int64_t position = golden.find("position")->integers[0];
        ASSERT_EQ(position, pair.target().length(id) - 1);
        const std::vector<float>& inputs = golden.find("inputs_embeds")->floats;
        const size_t width = inputs.size() / 2;
        std::vector<float> hidden(inputs.begin() + static_cast<std::ptrdiff_t>(width), inputs.end());
        Taps taps;
        Last last;
        pair.drafter().set_observer(&taps);
        ASSERT_OK(pair.drafter().step({&id, 1}, std::span(inputs).first(width), hidden, last));
        pair.drafter().set_observer(nullptr);
        for (int i = 0; i < 4; ++i)
          EXPECT_LT(relative_error(taps.seen[cat("layer.", i, ".out")], *golden.find(cat("layer.", i, ".out"))),
                    kTolerance)
              << names.drafter << ' ' << name << " layer " << i;
        EXPECT_LT(relative_error(taps.seen["final_norm"], *golden.find("final_norm")), kTolerance);
        EXPECT_LT(relative_error(hidden, *golden.find("next_hidden")), kTolerance);
        EXPECT_LT(relative_error(last.values, *golden.find("logits")), kTolerance) << names.drafter << ' ' << name;
        pair.target().release(id);
      }
    }
  }
}

// So many sequences that the weights are nothing beside their scratch.
TEST(Drafter, LoadingTakesTheBytesThatItWasSaidToNeed) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  for (const Names& names : kPairs) {
    Pair pair(text, names.drafter, names.target, kernels::best_table());
    const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(text / names.drafter);
    ASSERT_OK(checkpoint);
    const DrafterOptions options{.max_sequences = 1 << 14};
    const Result<ModelBytes> needed =
        Drafter::bytes_needed(*checkpoint, pair.target().context(), pair.target().limits().context, options);
    ASSERT_OK(needed);
    const int64_t before = testing::bytes_of_address_space();
    const Result<std::unique_ptr<Drafter>> drafter = Drafter::load(*checkpoint, pair.target(), options);
    const double taken = static_cast<double>(testing::bytes_of_address_space() - before);
    ASSERT_OK(drafter);
    EXPECT_EQ(needed->kv_sliding + needed->kv_full, 0);
    const double said = static_cast<double>(needed->weights + needed->scratch + needed->logits);
    EXPECT_NEAR(taken, said, said / 50) << names.drafter;
  }
}

// Rounds behind the golden prompts; the models may be conversions of the golden ones.
void expect_golden_rounds(const std::filesystem::path& text, const Names& names, const std::filesystem::path& drafter,
                          const std::filesystem::path& target) {
  const std::vector<GoldenCase> cases = *engine::read_golden_cases(text / names.drafter);
  for (const char* name : {"round", "round_next_position"}) {
    const GoldenCase& golden = named(cases, name);
    DrafterOptions options;
    if (std::string_view(name) != "round") options.position = DrafterOptions::Position::next;
    Pair pair(text, drafter, target, kernels::best_table(), options);
    const SeqId id = *pair.target().create_sequence();
    const std::vector<int64_t>& prompt = golden.find("prompt")->integers;
    const Last first = pair.read(id, std::vector<Token>(prompt.begin(), prompt.end()));
    Token token = best(first.values);
    EXPECT_EQ(token, golden.find("token")->integers[0]);
    EXPECT_LT(relative_error(first.state, *golden.find("hidden")), kTolerance);
    std::vector<float> hidden = first.state;
    for (size_t i = 0; i < 3; ++i) {
      Last last;
      ASSERT_OK(pair.drafter().step({&id, 1}, {&token, 1}, hidden, last));
      EXPECT_LT(relative_error(last.values, *golden.find(cat("logits.", i))), kTolerance)
          << drafter << ' ' << name << " step " << i;
      token = best(last.values);
      EXPECT_EQ(token, golden.find("draft")->integers[i]) << drafter << ' ' << name << " step " << i;
    }
  }
}

TEST(Drafter, RoundsBehindAPromptAreTheReferences) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  for (const Names& names : kPairs) expect_golden_rounds(text, names, names.drafter, names.target);
}

TEST(Drafter, ConvertedFilesGiveTheSameRounds) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  for (const Names& names : kPairs) {
    const testing::TemporaryFolder folder;
    const auto file = folder.path() / "drafter.gguf", target = folder.path() / "target.gguf",
               back = folder.path() / "back";
    ASSERT_OK(convert::convert(text / names.drafter, file, {}));
    ASSERT_OK(convert::convert(text / names.target, target, {}));
    ASSERT_OK(convert::convert(file, back, {}));
    expect_golden_rounds(text, names, file, target);
    expect_golden_rounds(text, names, back, names.target);
  }
}

TEST(Drafter, RefusesAnotherTarget) {
  FACET_SHARED_OR_SKIP(text, "golden/text");
  Pair pair(text, kPairs[1].drafter, kPairs[1].target, kernels::best_table());
  const formats::Checkpoint other = *formats::Checkpoint::open(text / kPairs[0].drafter);
  const auto drafter = Drafter::load(other, pair.target());
  ASSERT_FALSE(drafter.ok());
  EXPECT_EQ(drafter.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(drafter.error().message().find("another target"), std::string::npos) << drafter.error().message();
  const formats::Checkpoint decoder = *formats::Checkpoint::open(text / "tiny-e");
  EXPECT_EQ(Drafter::load(decoder, pair.target()).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace facet::model
