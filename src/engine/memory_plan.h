// How much memory a model needs, and how long a context fits into what this machine has. The numbers come from the code
// that loads (model::Gemma::bytes_needed), so that what is planned is what is taken.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "engine/model_files.h"
#include "facet/engine.h"
#include "model/gemma.h"

namespace facet::engine {

// Bytes that this process may still take: MemAvailable of the kernel, and what is left of the control group's limit
// where there is one (cgroup v2 and v1). Mapped files count as available: their pages can be dropped.
int64_t available_memory();
// The same from files under another root (tests): root/proc/meminfo, root/proc/self/cgroup, root/sys/fs/cgroup.
int64_t available_memory(const std::filesystem::path& root);

// Bytes that this process holds in memory now, pages of files (program, libraries) among them.
int64_t held_memory();

struct MemoryPlan {
  // Left to the system and other processes, whatever is planned.
  static constexpr int64_t kSpareBytes = int64_t{256} << 20;

  int64_t context = 0;       // positions of a sequence
  model::ModelBytes bytes;   // for that context
  int64_t answer_bytes = 0;  // of choosing tokens: the candidates of a vocabulary, texts
  int64_t held_bytes = 0;  // by the process, when this was planned: the program, and what it knows of the model's files
  int64_t available_bytes = 0;
  int64_t largest_context = 0;  // that would fit; 0: none

  int64_t kv_bytes() const { return bytes.kv_sliding + bytes.kv_full; }
  // What loading and running will take.
  int64_t needed_bytes() const { return bytes.weights + kv_bytes() + bytes.scratch + bytes.logits + answer_bytes; }
  // What the process will hold at most, besides pages of tables, which the kernel may drop.
  int64_t total_bytes() const { return held_bytes + needed_bytes(); }
  bool fits() const { return needed_bytes() + kSpareBytes <= available_bytes; }
};

// A type that keys and values can have, as people write it: f32, f16, bf16, int8, or q8_0, llama.cpp's word for eight
// bits. Errors: invalid_argument.
Result<DType> kv_type_named(const std::string& name, const char* where);

// How the cache stores what an engine with these options writes: room for its sequences and for the fork that each
// keeps at the end of its prompt. Errors: invalid_argument (a type that keys and values cannot have).
Result<model::KvOptions> kv_options(const LoadOptions& options);

// Of the model that Gemma::load() would load with these options. options.kv.context 0: the largest context that the
// model was trained for and that fits; the smallest there is where none does. Whether it fits is for the caller to ask.
// No tensor is read. Errors: those of Gemma::load(), but for memory.
Result<MemoryPlan> plan_memory(const ModelFiles& files, const model::GemmaOptions& options, int64_t available_bytes);

// exhausted: what is needed, what is available, and which options would fit ("-c 4096", "--quant Q4_K_M").
Error does_not_fit(const MemoryPlan& plan, const std::string& path, std::span<const std::string> would_fit);

// "1.5 GiB".
std::string readable_bytes(int64_t bytes);

}  // namespace facet::engine
