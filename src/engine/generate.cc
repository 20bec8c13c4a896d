// Engine::generate: a request becomes a prompt, sampled tokens become an answer.
#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "engine/answer_stream.h"
#include "engine/dry_breakers.h"
#include "engine/engine_state.h"
#include "engine/guard.h"
#include "engine/sampler_options.h"

namespace facet {
namespace {

using engine::AnswerStream;

Error bad_request(std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = std::move(what),
          .where = "request",
          .expected = std::move(expected),
          .found = std::move(found)};
}

// Follows one generation and builds its answer.
class Listener {
 public:
  Listener(const tokenizer::Tokenizer& tokenizer, const chat::ChatFormat* format, const Request& request,
           std::span<const Token> stop_tokens, const ChunkCallback& on_chunk, Answer& answer)
      : tokenizer_(tokenizer),
        stream_(tokenizer, format, request.sampling.stop_strings),
        stop_tokens_(stop_tokens),
        on_chunk_(on_chunk),
        answer_(answer) {}

  // Returns false when the answer is over.
  bool operator()(const runtime::Event& event) {
    if (event.sampled == nullptr) return report({}, {}, event);
    const runtime::Sampled& sampled = *event.sampled;
    if (std::ranges::find(stop_tokens_, sampled.token) != stop_tokens_.end()) {
      answer_.stop = tokenizer_.string(sampled.token);
      return true;  // the runtime ends by itself
    }
    answer_.tokens.push_back(sampled.token);
    keep_logprobs(sampled);
    const bool goes_on = report(stream_.push(sampled.token), {&answer_.tokens.back(), 1}, event);
    return goes_on && !stream_.stopped();
  }

  // The text that was held back, which nobody is told of who cancelled; decides how the answer ended.
  void finish(runtime::Finish finish) {
    if (!stream_.stopped()) report(stream_.finish(), {}, {});
    answer_.finish = finish == runtime::Finish::stop_token ? FinishReason::stop_token
                     : finish == runtime::Finish::length   ? FinishReason::length
                                                           : FinishReason::cancelled;
    if (!stream_.stopped()) return;
    answer_.finish = FinishReason::stop_string;
    answer_.stop = stream_.stop_string();
  }

 private:
  bool report(const AnswerStream::Piece& piece, std::span<const int32_t> tokens, const runtime::Event& event) {
    answer_.text += piece.text;
    answer_.thought += piece.thought;
    if (!on_chunk_ || cancelled_) return !cancelled_;
    cancelled_ = !on_chunk_({.text = piece.text,
                             .thought = piece.thought,
                             .tokens = tokens,
                             .prompt_done = event.prompt_done,
                             .prompt_total = event.prompt_total});
    return !cancelled_;
  }

  void keep_logprobs(const runtime::Sampled& sampled) {
    if (sampled.top.empty()) return;
    const auto entry = [&](Token token, float logprob) {
      return TokenLogprob{
          .token = token, .bytes = std::string(tokenizer_.piece(token, tokenizer::Markers::yes)), .logprob = logprob};
    };
    std::vector<TokenLogprob>& row = answer_.logprobs.emplace_back();
    row.push_back(entry(sampled.token, sampled.logprob));
    for (const runtime::Alternative& other : sampled.top) row.push_back(entry(other.token, other.logprob));
  }

  const tokenizer::Tokenizer& tokenizer_;
  AnswerStream stream_;
  std::span<const Token> stop_tokens_;
  const ChunkCallback& on_chunk_;
  Answer& answer_;
  bool cancelled_ = false;
};

}  // namespace

Result<std::vector<Token>> Engine::State::prompt_of(const Request& request) const {
  const int given = (request.messages.empty() ? 0 : 1) + (request.text ? 1 : 0) + (request.tokens.empty() ? 0 : 1);
  if (given != 1)
    return bad_request("names more than one prompt, or none", "messages, text or tokens", cat(given, " of them"));
  if (!request.tokens.empty()) return request.tokens;
  if (request.text)
    return files->encode(*request.text, request.parse_markers ? tokenizer::Markers::yes : tokenizer::Markers::no,
                         request.add_bos);
  return render(request.messages, request.thinking);
}

Result<Answer> Engine::generate(const Request& request, const ChunkCallback& on_chunk) {
  return engine::guarded([&] { return state_->generate(request, on_chunk); });
}

Result<Answer> Engine::State::generate(const Request& request, const ChunkCallback& on_chunk) {
  if (request.max_tokens < -1)
    return bad_request("number of tokens to write is negative", "0 or more, or -1 for no limit",
                       cat(request.max_tokens));
  FACET_TRY(std::vector<Token> prompt, prompt_of(request));
  FACET_TRY_VOID(check(prompt));
  const runtime::SamplerOptions sampling = engine::sampler_options(request.sampling, files->config);
  FACET_TRY_VOID(runtime::check(sampling, info.vocab_size));
  FACET_TRY_VOID(engine::check_dry_breakers(request.sampling.dry_sequence_breakers));
  engine::DryBreakers breakers(request.sampling.dry_sequence_breakers,
                               [&](Token token) { return files->tokenizer->piece(token, tokenizer::Markers::yes); });
  runtime::Sampler sampler(sampling, files->banned_tokens(request.sampling.allow_reserved), info.vocab_size, &breakers);

  runtime::GenerateOptions how{.stop_tokens = {}, .max_tokens = request.max_tokens, .skip_work = options.skip_work};
  if (!request.sampling.ignore_stop_tokens) {
    how.stop_tokens = files->stop_tokens();
    how.stop_tokens.insert(how.stop_tokens.end(), request.sampling.stop_tokens.begin(),
                           request.sampling.stop_tokens.end());
  }
  if (!sequence) {
    FACET_TRY(sequence, runtime::Sequence::create(*model));
  }

  Answer answer;
  answer.seed = sampling.seed;
  const chat::ChatFormat* format = !request.messages.empty() && files->chat ? &*files->chat : nullptr;
  Listener listener(*files->tokenizer, format, request, how.stop_tokens, on_chunk, answer);
  FACET_TRY(const runtime::Generated generated, sequence->generate(prompt, how, sampler, listener));
  listener.finish(generated.finish);
  answer.usage = {.prompt_tokens = static_cast<int64_t>(prompt.size()),
                  .cached_tokens = generated.cached_tokens,
                  .generated_tokens = static_cast<int64_t>(generated.tokens.size()),
                  .prompt_seconds = generated.prompt_seconds,
                  .generate_seconds = generated.generate_seconds};
  answer.prompt = std::move(prompt);
  return answer;
}

}  // namespace facet
