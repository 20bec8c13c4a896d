// The public API: loading, tokenising and rendering. Generation is in generate.cc, scoring and embedding in score.cc.
#include "facet/engine.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "engine/engine_state.h"
#include "engine/memory_plan.h"
#include "model/gemma.h"
#include "model/puppet.h"

namespace facet {
namespace {

// Hands the loader's progress to the caller's function.
class CallbackProgress : public Progress {
 public:
  explicit CallbackProgress(const ProgressCallback& callback) : callback_(callback) {}
  bool update(std::string_view phase, int64_t done, int64_t total) override {
    return !callback_ || callback_(phase, done, total);
  }

 private:
  const ProgressCallback& callback_;
};

Error bad_option(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "load options",
          .expected = std::move(expected),
          .found = std::move(found)};
}

Result<const kernels::Table*> table_named(const std::string& isa) {
  if (isa.empty()) return &kernels::best_table();
  const std::optional<kernels::Isa> named = kernels::isa_named(isa);
  if (!named) return bad_option("there is no such tier", "scalar, avx2 or avx512", isa);
  const kernels::Table* table = kernels::table_of(*named);
  if (table == nullptr)
    return Error{.code = ErrorCode::unsupported,
                 .what = "this processor cannot run the tier",
                 .where = "load options",
                 .expected = cat("at most ", kernels::name(kernels::best_table().isa)),
                 .found = isa};
  return table;
}

Result<void> load_gemma(Engine::State& state) {
  const LoadOptions& options = state.options;
  FACET_TRY(const kernels::Table* table, table_named(options.isa));
  model::GemmaOptions gemma{.arithmetic = options.exact ? Arithmetic::f32 : Arithmetic::fast,
                            .kernels = table,
                            .pool = state.pool.get(),
                            .max_batch_rows = options.batch_rows};
  FACET_TRY(gemma.kv, engine::kv_options(options));
  FACET_TRY(const engine::MemoryPlan plan,
            engine::plan_memory(*state.files, gemma.kv, options.batch_rows, engine::available_memory()));
  gemma.kv.context = plan.context;
  CallbackProgress progress(options.progress);
  gemma.progress = &progress;
  FACET_TRY(std::unique_ptr<model::Gemma> model,
            model::Gemma::load(*state.files->checkpoint, state.files->config, gemma));
  state.info.isa = kernels::name(table->isa);
  state.info.context = plan.context;
  state.info.kv_bytes = plan.kv_bytes;
  state.info.packed_bytes = model->packed_bytes();
  for (const std::string& remark : model->remarks()) state.info.remarks.push_back(remark);
  if (plan.context > state.files->config.context)
    state.info.remarks.push_back(cat("the model was trained for ", state.files->config.context,
                                     " positions; a context of ", plan.context, " goes beyond that"));
  state.model = std::move(model);
  return {};
}

Result<void> load_puppet(Engine::State& state) {
  const tokenizer::Tokenizer& tokenizer = *state.files->tokenizer;
  const auto encode = [&](std::string_view text) { return tokenizer.encode(text, tokenizer::Markers::yes); };
  const std::vector<Token> stops = state.files->stop_tokens();
  const model::PuppetVocabulary vocabulary{
      .size = tokenizer.size(), .end = stops.empty() ? 0 : stops.front(), .encode = encode};
  FACET_TRY(std::unique_ptr<model::Puppet> puppet,
            model::Puppet::load(*state.files->puppet, state.files->path, vocabulary));
  state.info.context = state.info.trained_context = puppet->limits().context;
  state.model = std::move(puppet);
  return {};
}

Result<void> check_options(const LoadOptions& options) {
  constexpr int kMaxThreads = 1024;
  constexpr int64_t kMaxContext = int64_t{1} << 24, kMaxBatchRows = 1 << 16, kMaxSequences = 4096;
  if (options.threads < 0 || options.threads > kMaxThreads)
    return bad_option("number of threads is out of range", cat("0 to ", kMaxThreads), cat(options.threads));
  if (options.context < 0 || options.context > kMaxContext)
    return bad_option("context is out of range", cat("0 to ", kMaxContext), cat(options.context));
  if (options.batch_rows < 1 || options.batch_rows > kMaxBatchRows)
    return bad_option("rows of a batch are out of range", cat("1 to ", kMaxBatchRows), cat(options.batch_rows));
  if (options.sequences < 1 || options.sequences > kMaxSequences)
    return bad_option("number of sequences is out of range", cat("1 to ", kMaxSequences), cat(options.sequences));
  return {};
}

}  // namespace

const char* name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop_token: return "stop_token";
    case FinishReason::stop_string: return "stop_string";
    case FinishReason::length: return "length";
    default: return "cancelled";
  }
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<Engine> Engine::load(const std::string& path, const LoadOptions& options) {
  FACET_TRY_VOID(check_options(options));
  auto state = std::make_unique<State>();
  state->options = options;
  FACET_TRY(state->files, engine::ModelFiles::open(path));
  state->info = state->files->info();
  state->pool = std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : usable_processors());
  state->info.threads = state->pool->n_threads();
  if (state->files->checkpoint) {
    FACET_TRY_VOID(load_gemma(*state));
  } else {
    FACET_TRY_VOID(load_puppet(*state));
  }
  return Engine(std::move(state));
}

const ModelInfo& Engine::info() const { return state_->info; }

std::vector<int32_t> Engine::tokenize(std::string_view text, bool parse_markers) const {
  return state_->files->tokenizer->encode(text, parse_markers ? tokenizer::Markers::yes : tokenizer::Markers::no);
}

Result<std::vector<int32_t>> Engine::prompt(std::string_view text, bool parse_markers, bool add_bos) const {
  std::vector<Token> tokens =
      state_->files->encode(text, parse_markers ? tokenizer::Markers::yes : tokenizer::Markers::no, add_bos);
  if (tokens.empty()) return Error{.code = ErrorCode::invalid_argument, .what = "text is empty", .where = "prompt"};
  return tokens;
}

std::string Engine::detokenize(std::span<const int32_t> tokens, bool show_markers) const {
  return state_->files->tokenizer->decode(tokens, show_markers ? tokenizer::Markers::yes : tokenizer::Markers::no);
}

Result<std::vector<int32_t>> Engine::render(std::span<const Message> messages, Thinking thinking) const {
  const std::optional<chat::ChatFormat>& chat = state_->files->chat;
  if (!chat)
    return Error{.code = ErrorCode::unsupported,
                 .what = "model has no chat format: it is a base model that continues text",
                 .where = state_->info.path};
  return chat->render(messages, {.thinking = thinking});
}

Result<void> Engine::State::check(std::span<const int32_t> tokens) const {
  if (tokens.empty())
    return Error{
        .code = ErrorCode::invalid_argument, .what = "no tokens", .where = "request", .expected = "one at least"};
  if (static_cast<int64_t>(tokens.size()) > info.context)
    return Error{.code = ErrorCode::exhausted,
                 .what = "tokens do not fit in the context",
                 .where = "request",
                 .expected = cat("at most ", info.context),
                 .found = cat(tokens.size())};
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= info.vocab_size)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = cat("token ", i, " lies outside the vocabulary"),
                   .where = "request",
                   .expected = cat("0 to ", info.vocab_size - 1),
                   .found = cat(tokens[i])};
  return {};
}

}  // namespace facet
