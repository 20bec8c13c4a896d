// facet score: how likely a text is, token by token.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "cli/answer_output.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/distributions.h"

namespace facet::cli {
namespace {

constexpr const char* kScoreFooter =
    R"(Prints one line a token: its log-probability given all before it (natural logarithm) and its text; then the perplexity.

Examples:
  facet score model.gguf -f text.txt
  facet score model.gguf -p "The capital of France is Paris." --json
  facet score model-BF16.gguf -f text.txt --kl-base base.kl     # writes the distributions of the exact model
  facet score model-Q4_K_M.gguf -f text.txt --kl-base base.kl   # says how far another form of it is)";

class ScoreCommand {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL [FILE], or FILE with -m").type_name("[MODEL] [FILE]");
    model_.add_to(command);
    text_.add_to(command);
    command.flag("--special", special_, "control-token strings in the text are control tokens");
    command.flag("--no-bos", no_bos_, "do not begin with the BOS token");
    command
        .option("--kl-base", kl_base_,
                "file of whole distributions: written where it is not there yet, compared with where it is")
        .type_name("FILE");
    command.flag("--json", json_, "print one JSON object");
    command.flag("--quiet", quiet_, "print the perplexity only");
    command.footer(kScoreFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_model(words_));
    if (words_.size() == 1 && text_.file.empty() && !text_.prompt) {
      text_.file = words_.front();
      words_.clear();
    }
    FACET_TRY(const std::string text, text_.text(words_));
    const Interrupt interrupt;
    FACET_TRY(Engine engine, load_engine(model_));
    FACET_TRY(const std::vector<int32_t> tokens, engine.prompt(text, special_, !no_bos_));
    if (tokens.size() < 2)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "there is nothing to score",
                   .where = "text",
                   .expected = "two tokens at least, BOS included",
                   .found = cat(tokens.size())};
    if (!kl_base_.empty()) return with_distributions(engine, tokens);
    ProgressBar bar;
    const auto progress = [&](std::string_view phase, int64_t done, int64_t total) {
      bar.update(phase, done, total);
      return !Interrupt::requested();
    };
    FACET_TRY(const Score score, engine.score(tokens, progress));
    bar.clear();
    if (json_)
      cli::show(json_of(engine, score).dump(2) + "\n");
    else
      print(engine, score);
    return 0;
  }

 private:
  Result<int> with_distributions(Engine& engine, const std::vector<int32_t>& tokens) const {
    ProgressBar bar;
    const auto progress = [&](std::string_view phase, int64_t done, int64_t total) {
      bar.update(phase, done, total);
      return !Interrupt::requested();
    };
    if (!std::filesystem::exists(kl_base_)) {
      FACET_TRY(engine::DistributionWriter writer,
                engine::DistributionWriter::create(kl_base_, tokens, engine.info().vocab_size));
      Result<void> written;
      const auto add = [&](int64_t, std::span<const float> logits) { return (written = writer.add(logits)).ok(); };
      const Result<void> run = engine.logits(tokens, add, progress);
      FACET_TRY_VOID(written);
      FACET_TRY_VOID(run);
      FACET_TRY_VOID(writer.finish());
      bar.clear();
      note(cat("wrote ", tokens.size() - 1, " distributions to ", kl_base_));
      return 0;
    }
    FACET_TRY(engine::DistributionComparison comparison,
              engine::DistributionComparison::open(kl_base_, engine.info().vocab_size));
    if (!std::ranges::equal(comparison.tokens(), tokens))
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "distributions are of another text, or of another vocabulary",
                   .where = kl_base_,
                   .expected = cat(comparison.tokens().size(), " tokens"),
                   .found = cat(tokens.size(), " tokens, or others")};
    const auto add = [&](int64_t, std::span<const float> logits) {
      comparison.add(logits);
      return true;
    };
    FACET_TRY_VOID(engine.logits(tokens, add, progress));
    bar.clear();
    show(engine, comparison.result());
    return 0;
  }

  void show(const Engine& engine, const engine::Divergence& d) const {
    if (json_) {
      Json json;
      json.set("model", engine.info().path);
      json.set("base", kl_base_);
      json.set("positions", d.positions);
      json.set("kl_mean", d.mean);
      json.set("kl_median", d.median);
      json.set("kl_99", d.percentile_99);
      json.set("kl_max", d.largest);
      json.set("same_best_token", d.same_best);
      json.set("perplexity", d.perplexity);
      json.set("perplexity_base", d.perplexity_base);
      json.set("probability_rms", d.probability_rms);
      cli::show(json.dump(2) + "\n");
      return;
    }
    std::printf("positions           %lld\n", static_cast<long long>(d.positions));
    std::printf("KL divergence       mean %.6f, median %.6f, 99 %% %.6f, largest %.6f\n", d.mean, d.median,
                d.percentile_99, d.largest);
    std::printf("same best token     %.2f %%\n", 100 * d.same_best);
    std::printf("perplexity          %.5f (base %.5f)\n", d.perplexity, d.perplexity_base);
    std::printf("true token's p      changed by %.4f %% (root mean square)\n", 100 * d.probability_rms);
  }

  static Json json_of(const Engine& engine, const Score& score) {
    Json json;
    json.set("model", engine.info().path);
    json.set("tokens", static_cast<int64_t>(score.tokens.size()));
    json.set("perplexity", score.perplexity);
    json.set("logprob_sum", std::accumulate(score.logprobs.begin(), score.logprobs.end(), 0.0));
    Json::Array rows;
    for (size_t i = 0; i < score.tokens.size(); ++i) {
      Json row;
      row.set("id", static_cast<int64_t>(score.tokens[i]));
      row.set("text", utf8_repair(engine.detokenize({&score.tokens[i], 1}, true)));
      row.set("logprob", i == 0 ? Json() : Json(static_cast<double>(score.logprobs[i - 1])));
      rows.push_back(std::move(row));
    }
    json.set("logprobs", std::move(rows));
    return json;
  }

  void print(const Engine& engine, const Score& score) const {
    for (size_t i = 1; !quiet_ && i < score.tokens.size(); ++i)
      std::printf("%10.5f  %s\n", static_cast<double>(score.logprobs[i - 1]),
                  Json(utf8_repair(engine.detokenize({&score.tokens[i], 1}, true))).dump().c_str());
    std::printf("%zu tokens, perplexity %.5f\n", score.tokens.size(), score.perplexity);
  }

  ModelOptions model_;
  TextOptions text_;
  std::vector<std::string> words_;
  std::string kl_base_;
  bool special_ = false, no_bos_ = false, json_ = false, quiet_ = false;
};

}  // namespace

void add_score(Program& program) { program.add<ScoreCommand>("score", "log-probabilities and perplexity of a text"); }

}  // namespace facet::cli
