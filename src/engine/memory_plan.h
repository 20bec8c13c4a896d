// How much memory a model needs, and how long a context fits into what this machine has.
#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/model_files.h"
#include "facet/engine.h"
#include "formats/requantize.h"
#include "model/kv_cache.h"

namespace facet::engine {

// Bytes that this process may still take: MemAvailable of the kernel, and what is left of the control group's limit
// where there is one (cgroup v2 and v1). Mapped files count as available: their pages can be dropped.
int64_t available_memory();
// The same from files under another root (tests): root/proc/meminfo, root/proc/self/cgroup, root/sys/fs/cgroup.
int64_t available_memory(const std::filesystem::path& root);

struct MemoryPlan {
  int64_t context = 0;           // positions of a sequence
  int64_t weight_bytes = 0;      // packed weights, in memory of our own
  int64_t kv_bytes = 0;          // cache, when all of it is in use
  int64_t activation_bytes = 0;  // scratch of a forward pass
  int64_t available_bytes = 0;

  int64_t needed_bytes() const { return weight_bytes + kv_bytes + activation_bytes; }
};

// How the cache stores what an engine with these options writes: room for its sequences and for the fork that each
// keeps at the end of its prompt. Errors: invalid_argument (a type that keys and values cannot have).
Result<model::KvOptions> kv_options(const LoadOptions& options);

// kv.context 0: the largest context that the model was trained for and that fits. Errors: exhausted, saying what is
// needed, what is available, and which context would fit.
// types: what tensors become while loading.
Result<MemoryPlan> plan_memory(const ModelFiles& files, model::KvOptions kv, int64_t batch_rows,
                               int64_t available_bytes, const formats::TypeMap& types = {});

// "1.5 GiB".
std::string readable_bytes(int64_t bytes);

}  // namespace facet::engine
