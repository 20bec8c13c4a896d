#include "engine/memory_plan.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>

#include "base/strings.h"
#include "kernels/table.h"
#include "model/tensor_names.h"
#include "runtime/generate.h"

namespace facet::engine {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLogitRows = 64;
constexpr int64_t kContextStep = kernels::kKvBlockKeys;
constexpr int64_t kReserve = int64_t{256} << 20;  // for everything else: the vocabulary, the program, the system

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

// What is left of the limit of one control group, and of every group around it.
int64_t left_of_group(const fs::path& mount, const std::string& group, const char* limit_name, const char* usage_name,
                      int64_t left) {
  for (fs::path path = fs::path(group);; path = path.parent_path()) {
    const fs::path folder = mount / path.relative_path();
    const std::optional<int64_t> limit = number_in(folder / limit_name), usage = number_in(folder / usage_name);
    if (limit && usage) left = std::min(left, std::max<int64_t>(0, *limit - *usage));
    if (path.relative_path().empty()) return left;
  }
}

// Of one matrix, packed (kernels/panel_layout.h).
int64_t panel_bytes(const formats::TensorInfo& tensor, const formats::TypeMap& types) {
  const auto becomes = types.find(tensor.name);
  const kernels::PanelType* type = kernels::best_table().panel(becomes == types.end() ? tensor.type : becomes->second);
  const int64_t cols = tensor.shape.back();
  if (type == nullptr || cols == 0) return tensor.bytes;
  const int64_t groups = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
  const int64_t rows = tensor.elements() / cols / std::max<int64_t>(1, groups);
  return groups * ((rows + kernels::kPanelRows - 1) / kernels::kPanelRows) * type->panel_bytes(cols);
}

// Bytes of the weights that are packed: all matrices of the decoder but the tables that are read by rows; the token
// table counts, since it is the head.
Result<int64_t> packed_bytes(const ModelFiles& files, const formats::TypeMap& types) {
  FACET_TRY(const model::TensorNames names, model::TensorNames::of(*files.checkpoint));
  int64_t bytes = 0;
  for (const formats::TensorInfo& tensor : files.checkpoint->tensors()) {
    const bool per_layer_table = tensor.name.find("per_layer_token_embd") != std::string::npos ||
                                 tensor.name.find("embed_tokens_per_layer") != std::string::npos;
    if (tensor.shape.size() >= 2 && !per_layer_table && !names.is_foreign(tensor.name))
      bytes += panel_bytes(tensor, types);
  }
  return bytes;
}

// Scratch of model/activations.h.
int64_t activation_bytes(const model::Config& config, int64_t rows) {
  int64_t q = 0, kv = 0, ffn = 0;
  for (const model::LayerConfig& layer : config.layers) {
    q = std::max(q, config.heads * layer.head_dim);
    kv = std::max(kv, layer.kv_heads * layer.head_dim);
    ffn = std::max(ffn, layer.ffn_width);
  }
  const int64_t ple = config.ple_width * config.n_layers();
  const int64_t row =
      6 * config.width + 4 * q + 2 * kv + 4 * ffn + 3 * ple + config.experts_used * 5 * config.expert_width;
  return (rows * row + std::min(rows, kLogitRows) * config.vocab_size) * static_cast<int64_t>(sizeof(float));
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

Result<model::KvOptions> kv_options(const LoadOptions& options) {
  const std::optional<DType> type = dtype_named(options.kv_type);
  if (!type || kernels::best_table().kv(*type) == nullptr)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "keys and values cannot be stored in this type",
                 .where = "load options",
                 .expected = "f32, f16 or bf16",
                 .found = options.kv_type};
  return model::KvOptions{.sliding_k = *type,
                          .sliding_v = *type,
                          .full_k = *type,
                          .full_v = *type,
                          .context = options.context,
                          .max_chunk = options.batch_rows,
                          .sequences = static_cast<int>(options.sequences),
                          .fork_rewind = runtime::kForkRewindRows};
}

Result<MemoryPlan> plan_memory(const ModelFiles& files, model::KvOptions kv, int64_t batch_rows,
                               int64_t available_bytes, const formats::TypeMap& types) {
  FACET_TRY(const int64_t weight_bytes, packed_bytes(files, types));
  MemoryPlan plan{.weight_bytes = weight_bytes,
                  .activation_bytes = activation_bytes(files.config, batch_rows),
                  .available_bytes = available_bytes};
  const int64_t left = available_bytes - plan.weight_bytes - plan.activation_bytes - kReserve;
  kv.max_chunk = batch_rows;
  const auto bytes_of = [&](int64_t context) {
    model::KvOptions options = kv;
    options.context = context;
    return model::KvCache::bytes_needed(files.config, options);
  };
  // The largest multiple of a block that fits; the trained context where that fits.
  const int64_t wanted = kv.context > 0 ? kv.context : files.config.context;
  int64_t fits = wanted;
  if (bytes_of(wanted) > left) {
    int64_t low = 0, high = wanted / kContextStep;
    while (low < high) {
      const int64_t middle = (low + high + 1) / 2;
      if (bytes_of(middle * kContextStep) <= left) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    fits = low * kContextStep;
  }
  plan.context = fits;
  if (fits == 0 || (kv.context > 0 && fits < kv.context)) {
    plan.context = fits == 0 ? kContextStep : wanted;
    plan.kv_bytes = bytes_of(plan.context);
    return Error{.code = ErrorCode::exhausted,
                 .what = cat("model with a context of ", plan.context, " does not fit in memory",
                             fits > 0 ? cat("; -c ", fits, " would") : std::string("; no context would")),
                 .where = files.path,
                 .expected = cat("at most ", readable_bytes(available_bytes), " (available now)"),
                 .found = cat(readable_bytes(plan.needed_bytes() + kReserve), " (weights ",
                              readable_bytes(plan.weight_bytes), ", cache ", readable_bytes(plan.kv_bytes),
                              ", scratch ", readable_bytes(plan.activation_bytes + kReserve), ")")};
  }
  plan.kv_bytes = bytes_of(plan.context);
  return plan;
}

}  // namespace facet::engine
