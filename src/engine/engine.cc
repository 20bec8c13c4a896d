// The public API: loading, tokenising and rendering. Generation is in generate.cc, scoring and embedding in score.cc.
#include "facet/engine.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "engine/engine_state.h"
#include "engine/guard.h"
#include "engine/load_gemma.h"
#include "model/puppet.h"

namespace facet {
namespace {

Result<void> load_gemma(Engine::State& state, engine::PackedWeights packed) {
  FACET_TRY(engine::LoadedGemma loaded,
            engine::load_gemma(*state.files, state.options, *state.pool, std::move(packed)));
  state.info.isa = loaded.isa;
  state.info.context = loaded.plan.context;
  state.info.kv_bytes = loaded.plan.kv_bytes();
  state.info.packed_bytes = loaded.model->packed_bytes();
  state.info.pack = loaded.packed.use();
  for (const std::string& remark : loaded.packed.remarks()) state.info.remarks.push_back(remark);
  for (const std::string& remark : loaded.model->remarks()) state.info.remarks.push_back(remark);
  if (state.info.context > state.info.trained_context)
    state.info.remarks.push_back(cat("the model was trained for ", state.info.trained_context,
                                     " positions; a context of ", state.info.context, " goes beyond that"));
  state.packed = std::move(loaded.packed);
  state.model = std::move(loaded.model);
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
  return engine::guarded([&]() -> Result<Engine> {
    FACET_TRY_VOID(engine::check_options(options));
    auto state = std::make_unique<State>();
    state->options = options;
    FACET_TRY(state->files, engine::ModelFiles::open_weights(path));
    // Packed weights come from the disk while the vocabulary is read.
    FACET_TRY(engine::PackedWeights packed, engine::PackedWeights::open(*state->files, options));
    FACET_TRY_VOID(state->files->open_vocabulary());
    state->info = state->files->info();
    state->pool = std::make_unique<ThreadPool>(threads_or_all(options.threads));
    state->info.threads = state->pool->n_threads();
    FACET_TRY_VOID(state->files->checkpoint ? load_gemma(*state, std::move(packed)) : load_puppet(*state));
    state->options.progress = {};  // what it refers to need not live longer than this call
    return Engine(std::move(state));
  });
}

const ModelInfo& Engine::info() const { return state_->info; }

std::vector<int32_t> Engine::tokenize(std::string_view text, bool parse_markers) const {
  return state_->files->tokenizer->encode(text, parse_markers ? tokenizer::Markers::yes : tokenizer::Markers::no);
}

Result<std::vector<int32_t>> Engine::prompt(std::string_view text, bool parse_markers, bool add_bos) const {
  return engine::guarded([&]() -> Result<std::vector<int32_t>> {
    std::vector<Token> tokens =
        state_->files->encode(text, parse_markers ? tokenizer::Markers::yes : tokenizer::Markers::no, add_bos);
    if (tokens.empty()) return Error{.code = ErrorCode::invalid_argument, .what = "text is empty", .where = "prompt"};
    return tokens;
  });
}

std::string Engine::detokenize(std::span<const int32_t> tokens, bool show_markers) const {
  return state_->files->tokenizer->decode(tokens, show_markers ? tokenizer::Markers::yes : tokenizer::Markers::no);
}

Result<std::vector<int32_t>> Engine::render(std::span<const Message> messages, Thinking thinking) const {
  return engine::guarded([&] { return state_->render(messages, thinking); });
}

Result<std::vector<Token>> Engine::State::render(std::span<const Message> messages, Thinking thinking) const {
  if (!files->chat)
    return Error{.code = ErrorCode::unsupported,
                 .what = "model has no chat format: it is a base model that continues text",
                 .where = info.path};
  return files->chat->render(messages, {.thinking = thinking});
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
