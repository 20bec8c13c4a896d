#include "engine/memory_plan.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>

#include "base/strings.h"
#include "kernels/table.h"
#include "runtime/generate.h"

namespace facet::engine {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kContextStep = kernels::kKvBlockKeys;

std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;  // "max" is none
}

// The line "MemAvailable:   123 kB".
std::optional<int64_t> meminfo(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  std::string word;
  int64_t kib = 0;
  while (in >> word)
    if (word == key && in >> kib) return kib * 1024;
  return std::nullopt;
}

// Pages of files, which a group counts as used although they can be dropped: model files and packs that are mapped
// would be counted twice. cgroup v1 has those of the groups inside under names of their own.
int64_t droppable(const fs::path& folder) {
  std::ifstream in(folder / "memory.stat");
  int64_t own = 0, total = 0, bytes = 0;
  for (std::string key; in >> key >> bytes;) {
    if (key == "inactive_file" || key == "active_file") own += bytes;
    if (key == "total_inactive_file" || key == "total_active_file") total += bytes;
  }
  return std::max(own, total);
}

// What is left of the limit of one control group, and of every group around it.
int64_t left_of_group(const fs::path& mount, const std::string& group, const char* limit_name, const char* usage_name,
                      int64_t left) {
  for (fs::path path = fs::path(group);; path = path.parent_path()) {
    const fs::path folder = mount / path.relative_path();
    const std::optional<int64_t> limit = number_in(folder / limit_name), usage = number_in(folder / usage_name);
    if (limit && usage)
      left = std::min(left, std::max<int64_t>(0, *limit - std::max<int64_t>(0, *usage - droppable(folder))));
    if (path.relative_path().empty()) return left;
  }
}

// Of a sampler, and of what else comes and goes with an answer.
int64_t answer_bytes(const model::Config& config) {
  constexpr int64_t kOfToken = 32;  // logit, candidate and weight of each token of the vocabulary; its counts
  constexpr int64_t kTexts = int64_t{8} << 20;
  return config.vocab_size * kOfToken + kTexts;
}

// The largest context up to that of the plan which fits: all of it, or a multiple of a block.
int64_t largest_context(const model::Config& config, const model::GemmaOptions& options, const MemoryPlan& plan) {
  if (plan.fits()) return plan.context;
  const auto fits = [&](int64_t context) {
    MemoryPlan at = plan;
    model::KvOptions kv = options.kv;
    kv.context = context;
    kv.max_chunk = options.max_batch_rows;
    at.bytes.kv_sliding = model::KvCache::bytes_needed(config, kv, KvPool::sliding);
    at.bytes.kv_full = model::KvCache::bytes_needed(config, kv, KvPool::full);
    return at.fits();
  };
  int64_t low = 0, high = plan.context / kContextStep;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (fits(middle * kContextStep)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low * kContextStep;
}

}  // namespace

int64_t available_memory(const fs::path& root) {
  int64_t left = meminfo(root / "proc/meminfo", "MemAvailable:").value_or(int64_t{1} << 30);
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "7:memory:/path" (v1)
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty())
      left = left_of_group(root / "sys/fs/cgroup", path, "memory.max", "memory.current", left);
    else if (cat(",", controllers, ",").find(",memory,") != std::string::npos)
      left = left_of_group(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", left);
  }
  return left;
}

int64_t available_memory() { return available_memory("/"); }

int64_t held_memory() { return meminfo("/proc/self/status", "VmRSS:").value_or(0); }

std::string readable_bytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  char text[32];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, unit == 0 || value >= 100 ? 0 : 1);
  return cat(std::string_view(text, error == std::errc() ? static_cast<size_t>(end - text) : 0), " ", kUnits[unit]);
}

Result<DType> kv_type_named(const std::string& name, const char* where) {
  if (name == "int8" || name == "q8_0") return DType::i8;
  const std::optional<DType> type = dtype_named(name);
  if (type && kernels::best_table().kv(*type) != nullptr) return *type;
  return Error{.code = ErrorCode::invalid_argument,
               .what = "keys and values cannot be stored in this type",
               .where = where,
               .expected = "f32, f16, bf16 or int8",
               .found = name};
}

Result<model::KvOptions> kv_options(const LoadOptions& options) {
  FACET_TRY(const DType type, kv_type_named(options.kv_type, "load options"));
  return model::KvOptions{.sliding_k = type,
                          .sliding_v = type,
                          .full_k = type,
                          .full_v = type,
                          .context = options.context,
                          .max_chunk = options.batch_rows,
                          .sequences = static_cast<int>(options.sequences),
                          .fork_rewind = runtime::kForkRewindRows};
}

Result<MemoryPlan> plan_memory(const ModelFiles& files, const model::GemmaOptions& options, int64_t available_bytes) {
  const model::Config& config = files.config;
  const auto planned = [&](int64_t context) -> Result<MemoryPlan> {
    model::GemmaOptions at = options;
    at.kv.context = context;
    MemoryPlan plan{.context = context,
                    .bytes = {},
                    .answer_bytes = answer_bytes(config),
                    .held_bytes = held_memory(),
                    .available_bytes = available_bytes};
    FACET_TRY(plan.bytes, model::Gemma::bytes_needed(*files.checkpoint, config, at));
    return plan;
  };
  const int64_t most = std::max(config.context, options.kv.context);
  FACET_TRY(MemoryPlan plan, planned(most));
  const int64_t largest = largest_context(config, options, plan);
  int64_t context = options.kv.context;
  if (context == 0) context = std::max(std::min(largest, most), std::min(most, kContextStep));
  if (context != most) {
    FACET_TRY(plan, planned(context));
  }
  plan.largest_context = largest;
  return plan;
}

Error does_not_fit(const MemoryPlan& plan, const std::string& path, std::span<const std::string> would_fit) {
  std::string advice;
  for (size_t i = 0; i < would_fit.size(); ++i)
    advice += cat(i == 0 ? "" : i + 1 == would_fit.size() ? " or " : ", ", would_fit[i]);
  return {.code = ErrorCode::exhausted,
          .what = cat("model with a context of ", plan.context, " does not fit in memory; ",
                      advice.empty() ? std::string("no context would") : cat(advice, " would")),
          .where = path,
          .expected = cat("at most ", readable_bytes(plan.available_bytes), " (available now), ",
                          readable_bytes(MemoryPlan::kSpareBytes), " of them left to others"),
          .found = cat(readable_bytes(plan.needed_bytes()), " (weights ", readable_bytes(plan.bytes.weights),
                       ", cache ", readable_bytes(plan.kv_bytes()), ", scratch ",
                       readable_bytes(plan.bytes.scratch + plan.bytes.logits + plan.answer_bytes), ")")};
}

}  // namespace facet::engine
