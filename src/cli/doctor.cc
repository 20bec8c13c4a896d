// facet doctor: what this machine offers.
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/hub_options.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"
#include "kernels/table.h"

namespace facet::cli {
namespace {

namespace fs = std::filesystem;

int64_t bytes_below(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code error, unknown;
  for (auto it = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_symlink(unknown) || !it->is_regular_file(unknown)) continue;  // a link's file counts where it lies
    const uintmax_t size = it->file_size(unknown);
    if (!unknown) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

// The nearest folder above a path that exists: its disk is the one that would be written to.
fs::path existing(const fs::path& wanted) {
  std::error_code error;
  fs::path path = fs::absolute(wanted, error);
  while (!path.empty() && !fs::exists(path, error) && path != path.parent_path()) path = path.parent_path();
  return path;
}

Json examine() {
  Json json;
  std::string tiers;
  for (const kernels::Table& table : kernels::usable_tables())
    tiers += cat(tiers.empty() ? "" : ", ", kernels::name(table.isa));
  json.set("processor_tiers", tiers);
  json.set("tier", kernels::name(kernels::best_table().isa));
  json.set("threads", usable_processors());
  json.set("memory_available_bytes", engine::available_memory());
  const std::string cache = cache_folder();
  std::error_code error;
  if (const Result<hub::Settings> settings = hub::read_settings(variable); settings.ok())
    json.set("hub_cache_folder", settings->cache.string());
  json.set("cache_folder", cache);
  json.set("cache_bytes", bytes_below(cache));
  const fs::space_info disk = fs::space(existing(cache), error);
  if (!error) json.set("disk_free_bytes", static_cast<int64_t>(disk.available));
  return json;
}

struct Doctor {
  bool as_json = false;

  void add_to(Command& command) {
    command.flag("--json", as_json, "print one JSON object");
    command.footer("Example:\n  facet doctor");
  }

  Result<int> run() const {
    const Json json = examine();
    if (as_json) {
      show(json.dump(2) + "\n");
      return 0;
    }
    for (const auto& [key, value] : *json.object())
      std::printf("%-24s %s\n", key.ends_with("_bytes") ? key.substr(0, key.size() - 6).c_str() : key.c_str(),
                  key.ends_with("_bytes")     ? engine::readable_bytes(*value.integer()).c_str()
                  : value.string() != nullptr ? value.string()->c_str()
                                              : value.dump().c_str());
    return 0;
  }
};

}  // namespace

void add_doctor(Program& program) {
  program.add<Doctor>("doctor", "what this machine offers: processor, memory, disk, cache");
}

}  // namespace facet::cli
