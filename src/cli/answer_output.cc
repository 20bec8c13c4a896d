#include "cli/answer_output.h"

#include <cstdio>
#include <utility>

#include <unistd.h>

#include "base/strings.h"
#include "base/utf8.h"

namespace facet::cli {
namespace {

bool on_terminal() { return ::isatty(STDOUT_FILENO) != 0; }

// Thoughts are dim where the terminal can show that, and marked where it cannot.
std::string_view thought_begin() { return on_terminal() ? "\033[2m" : "[thought]\n"; }
std::string_view thought_end() { return on_terminal() ? "\033[0m\n\n" : "\n[/thought]\n"; }

// What a model says may repeat what it was given to read: a terminal gets no escape sequence of it, a file every byte.
void show_answer(std::string_view text) { on_terminal() ? show(printable(text)) : show(text); }

std::string speed(int64_t tokens, double seconds) {
  return cat(tokens, " tokens in ", fixed(seconds, 2), " s (",
             fixed(seconds > 0 ? static_cast<double>(tokens) / seconds : 0, 1), " tokens/s)");
}

Json::Array array_of(const std::vector<int32_t>& ids) {
  Json::Array array;
  for (const int32_t id : ids) array.emplace_back(static_cast<int64_t>(id));
  return array;
}

Json logprob_json(const TokenLogprob& token) {
  Json json;
  json.set("id", static_cast<int64_t>(token.token));
  json.set("text", utf8_repair(token.bytes));
  json.set("logprob", static_cast<double>(token.logprob));
  return json;
}

}  // namespace

Result<Engine> load_engine(const ModelOptions& options) {
  LoadOptions load = options.load_options();
  ProgressBar bar;
  load.progress = [&](std::string_view phase, int64_t done, int64_t total) {
    bar.update(phase, done, total);
    return !Interrupt::requested();
  };
  Result<Engine> engine = Engine::load(options.model, load);
  bar.clear();
  if (engine.ok()) note(engine->info().pack);
  if (engine.ok() && options.load.context > engine->info().trained_context)
    note(cat("the model was trained for ", engine->info().trained_context, " positions; a context of ",
             options.load.context, " goes beyond them"));
  return engine;
}

void note_chat_flags(const std::string& system, const SamplingOptions& sampling) {
  if (!system.empty() || sampling.think)
    note("--system and --think belong to a chat; a text that is continued has neither");
}

ChunkCallback AnswerOutput::callback() {
  return [this](const Chunk& chunk) {
    if (chunk.prompt_total > 0 && chunk.tokens.empty())
      bar_.update("reading the prompt", chunk.prompt_done, chunk.prompt_total);
    else
      bar_.clear();
    if (mode_ == Mode::silent) return !Interrupt::requested();
    if (!chunk.thought.empty()) {
      if (!std::exchange(thinking_, true)) show(thought_begin());
      show_answer(chunk.thought);
    }
    if (!chunk.text.empty()) {
      if (std::exchange(thinking_, false)) show(thought_end());
      show_answer(chunk.text);
      ends_with_newline_ = chunk.text.ends_with('\n');
    }
    return !Interrupt::requested();
  };
}

void AnswerOutput::finish() {
  bar_.clear();
  if (mode_ == Mode::silent) return;
  if (std::exchange(thinking_, false)) show(thought_end());
  if (!std::exchange(ends_with_newline_, true)) show("\n");
}

std::string summary(const Answer& answer) {
  const Usage& usage = answer.usage;
  std::string text = cat("prompt ", speed(usage.prompt_tokens - usage.cached_tokens, usage.prompt_seconds));
  if (usage.cached_tokens > 0) text += cat(", ", usage.cached_tokens, " more from the cache");
  text += cat("; answer ", speed(usage.generated_tokens, usage.generate_seconds), "; ended by ", name(answer.finish));
  if (!answer.stop.empty()) text += cat(" ", Json(answer.stop).dump());
  return text + cat("; seed ", answer.seed);
}

Json json_of(const ModelInfo& info, const Answer& answer) {
  Json json;
  json.set("model", info.path);
  json.set("text", answer.text);
  if (!answer.thought.empty()) json.set("thought", answer.thought);
  json.set("prompt_ids", array_of(answer.prompt));
  json.set("ids", array_of(answer.tokens));
  json.set("finish", name(answer.finish));
  if (!answer.stop.empty()) json.set("stop", answer.stop);
  json.set("seed", cat(answer.seed));  // as text: JSON readers may round numbers of 64 bits
  Json usage;
  usage.set("prompt_tokens", answer.usage.prompt_tokens);
  usage.set("cached_tokens", answer.usage.cached_tokens);
  usage.set("generated_tokens", answer.usage.generated_tokens);
  usage.set("prompt_seconds", answer.usage.prompt_seconds);
  usage.set("generate_seconds", answer.usage.generate_seconds);
  json.set("usage", std::move(usage));
  if (answer.logprobs.empty()) return json;
  Json::Array steps;
  for (const std::vector<TokenLogprob>& row : answer.logprobs) {
    Json step = logprob_json(row.front());
    Json::Array top;
    for (size_t i = 1; i < row.size(); ++i) top.push_back(logprob_json(row[i]));
    step.set("top", std::move(top));
    steps.push_back(std::move(step));
  }
  json.set("logprobs", std::move(steps));
  return json;
}

}  // namespace facet::cli
