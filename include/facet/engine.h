// facet: run Gemma 4 models in your program.
//
//   #include <facet/engine.h>
//
//   facet::Result<facet::Engine> engine = facet::Engine::load("gemma-4-e2b-it.gguf", {});
//   if (!engine) { std::cerr << engine.error().message() << '\n'; return 1; }
//   facet::Request request;
//   request.messages = {{facet::Role::user, "Why is the sky blue?"}};
//   auto answer = engine->generate(request, [](const facet::Chunk& chunk) { std::cout << chunk.text << std::flush;
//   return true; });
//
// Standard library only. An Engine may be used from one thread at a time; several engines may live in one process.
// Functions that return a Result do not throw, except what a callback of the caller's threw.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facet/message.h"
#include "facet/result.h"
#include "facet/sampling.h"

namespace facet {

// Progress of loading and reading: (phase, done, total); return false to stop with ErrorCode::cancelled.
using ProgressCallback = std::function<bool(std::string_view phase, int64_t done, int64_t total)>;

struct LoadOptions {
  int64_t context = 0;           // positions; 0: the largest that the model and this machine's memory allow
  int threads = 0;               // 0: one for each processor this process may use
  std::string isa;               // "": the best tier; else scalar, avx2, avx512
  bool exact = false;            // f32 arithmetic instead of fast
  std::string kv_type = "bf16";  // f32, f16, bf16, int8 (half of the memory of bf16; docs/kv-cache.md)
  std::string quant;             // quantise while loading, as `facet quantize` would: "Q4_K_M"; "": as in the file
  int64_t batch_rows = 512;      // rows of one forward call while a prompt is read
  bool skip_work = true;         // exact work skipping
  int64_t sequences = 1;         // how many full-length sequences memory is planned for
  // Folder in which packed weights are kept from one start to the next (docs/packs.md); "": they are packed each time.
  std::string pack_folder;
  int64_t pack_bytes_max = int64_t{32} << 30;  // of that folder
  int64_t pack_bytes_min = int64_t{16} << 20;  // of a model's; less is packed in no time
  ProgressCallback progress;
};

// What became of the folder of packed weights while a model was loaded.
struct PackUse {
  std::string file;           // the pack that the model was mapped from, or that was written; "": none
  int64_t written_bytes = 0;  // above 0: it was written now
  std::string problem;        // why weights were not kept, or had to be packed again
};

// What a model file is.
struct ModelInfo {
  std::string path, name, description;  // description: "Gemma 4 E2B"
  std::string architecture;
  int64_t layers = 0, width = 0, vocab_size = 0;
  int64_t trained_context = 0, context = 0;
  int64_t parameters = 0, file_bytes = 0;
  int64_t packed_bytes = 0, kv_bytes = 0;  // weights in memory or mapped; cache
  PackUse pack;
  bool has_chat_template = false;
  std::string isa;
  int threads = 1;
  std::vector<std::string> remarks;
};

enum class FinishReason { stop_token, stop_string, length, cancelled };
const char* name(FinishReason reason);

struct TokenLogprob {
  int32_t token;
  std::string bytes;
  float logprob;
};

// One piece of a streamed answer. A chunk may cover several tokens, or none (progress while a prompt is read).
struct Chunk {
  std::string_view text;     // visible text; for chats, of the answer
  std::string_view thought;  // text of the thought channel
  std::span<const int32_t> tokens;
  int64_t prompt_done = 0, prompt_total = 0;  // while the prompt is read
};
// Return false to cancel; then it is not called again.
using ChunkCallback = std::function<bool(const Chunk&)>;

struct Request {
  // Exactly one of these: a chat, a raw text, or token ids.
  std::vector<Message> messages;
  std::optional<std::string> text;
  std::vector<int32_t> tokens;

  bool parse_markers = false;  // raw text: control-token strings become control tokens
  bool add_bos = true;         // raw text: begin with BOS where the model wants it and the text has none
  Thinking thinking = Thinking::off;
  int64_t max_tokens = -1;  // -1: until the context is full
  Sampling sampling;
};

struct Usage {
  int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  double prompt_seconds = 0, generate_seconds = 0;
};

struct Answer {
  std::string text, thought;
  std::vector<int32_t> prompt, tokens;
  std::vector<std::vector<TokenLogprob>> logprobs;  // per generated token: the chosen one first, then alternatives
  FinishReason finish = FinishReason::length;
  std::string stop;  // the token or string that ended it
  uint64_t seed = 0;
  Usage usage;
};

struct Score {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // of tokens[1…], given all before
  double perplexity = 0;
};

class Engine {
 public:
  // path: a GGUF file, a Hugging Face folder, or puppet:FILE.
  static Result<Engine> load(const std::string& path, const LoadOptions& options);
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  const ModelInfo& info() const;

  std::vector<int32_t> tokenize(std::string_view text, bool parse_markers) const;
  // A raw text as a prompt: the tokens that Request::text would become. Errors: invalid_argument (no tokens at all).
  Result<std::vector<int32_t>> prompt(std::string_view text, bool parse_markers, bool add_bos) const;
  std::string detokenize(std::span<const int32_t> tokens, bool show_markers) const;
  // The prompt of a chat as tokens. Errors: unsupported (no chat format for this model).
  Result<std::vector<int32_t>> render(std::span<const Message> messages, Thinking thinking) const;

  // Reads the prompt, then writes until a stop token, a stop string, max_tokens or the end of the context. Keeps the
  // sequence: the next call reuses the longest common prefix. Errors: invalid_argument, exhausted (the prompt does not
  // fit), non_finite, cancelled never (a cancelled answer is an Answer).
  Result<Answer> generate(const Request& request, const ChunkCallback& on_chunk = {});

  // Log-probability of every token given those before it. Gives up the kept sequence, as the others below do. Errors:
  // invalid_argument, exhausted (more tokens than the context), non_finite, cancelled.
  Result<Score> score(std::span<const int32_t> tokens, const ProgressCallback& progress = {});
  // The logits at every position but the last, in order (their number is the vocabulary's; borrowed for the call).
  // Return false to stop. Errors: those of score().
  using LogitsCallback = std::function<bool(int64_t position, std::span<const float> logits)>;
  Result<void> logits(std::span<const int32_t> tokens, const LogitsCallback& on_logits,
                      const ProgressCallback& progress = {});
  // Hidden state after the final norm at the last token, and mean over all tokens. Errors: those of score(),
  // unsupported (a puppet without hidden states).
  struct Embedding {
    std::vector<float> last, mean;
  };
  Result<Embedding> embed(std::span<const int32_t> tokens);

  struct State;  // engine/engine_state.h

 private:
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace facet
