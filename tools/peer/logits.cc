// The peer's logits: peer_logits MODEL.gguf OUT [--exact] < token ids, separated by white space
//
// Runs the tokens as one batch through llama.cpp's library and writes float32 [tokens, vocabulary] to OUT, little-endian,
// row-major. --exact: F32 keys and values, and the weights multiplied as they lie in the file. Built by tools/peer.sh.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "llama.h"

namespace {

int fail(const std::string& what) {
  std::fprintf(stderr, "peer_logits: %s\n", what.c_str());
  return 1;
}

// One batch of all tokens, with logits wanted everywhere.
int run(llama_context* context, const std::vector<llama_token>& ids) {
  llama_batch batch = llama_batch_init(static_cast<int32_t>(ids.size()), 0, 1);
  batch.n_tokens = static_cast<int32_t>(ids.size());
  for (int32_t i = 0; i < batch.n_tokens; ++i) {
    batch.token[i] = ids[static_cast<size_t>(i)];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  const int status = llama_decode(context, batch);
  llama_batch_free(batch);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return fail("usage: peer_logits MODEL.gguf OUT [--exact] < ids");
  const bool exact = argc > 3 && std::string(argv[3]) == "--exact";
  const std::vector<llama_token> ids{std::istream_iterator<llama_token>(std::cin), {}};
  if (ids.empty()) return fail("no token ids on standard input");

  llama_log_set([](ggml_log_level level, const char* text, void*) { if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr); },
                nullptr);
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  model_params.use_extra_bufts = !exact;
  llama_model* model = llama_model_load_from_file(argv[1], model_params);
  if (model == nullptr) return fail(std::string("cannot load ") + argv[1]);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>((ids.size() + 255) / 256 * 256);
  params.n_threads = params.n_threads_batch = 2;
  if (exact) {
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  }
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) return fail("cannot make a context");
  if (run(context, ids) != 0) return fail("decoding failed");

  const auto width = static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
  std::FILE* out = std::fopen(argv[2], "wb");
  if (out == nullptr) return fail(std::string("cannot write ") + argv[2]);
  for (size_t i = 0; i < ids.size(); ++i)
    if (std::fwrite(llama_get_logits_ith(context, static_cast<int32_t>(i)), sizeof(float), width, out) != width)
      return fail(std::string("cannot write ") + argv[2]);
  if (std::fclose(out) != 0) return fail(std::string("cannot write ") + argv[2]);
  return 0;
}
