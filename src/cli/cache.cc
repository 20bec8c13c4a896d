// facet cache: the packed weights that are kept on disk.
#include <cstdio>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"
#include "formats/pack_cache.h"

namespace facet::cli {
namespace {

constexpr const char* kCacheFooter =
    R"(Weights are packed for the processor when a model loads; a pack keeps them, so that
the next start is faster. Packs that were used longest ago make room for others (--cache-limit); docs/packs.md says more.
Models of the hub are listed by facet list.

Examples:
  facet cache list
  facet cache clear
  facet run model.gguf "Hello" --no-cache)";

using Kept = formats::PackCache::Kept;

formats::PackCache open_packs() { return {pack_folder(), 0, 0}; }  // limits are for those that write

int64_t total(const std::vector<Kept>& packs) {
  int64_t bytes = 0;
  for (const Kept& pack : packs) bytes += pack.bytes;
  return bytes;
}

Json packs_json(const formats::PackCache& cache, const std::vector<Kept>& packs) {
  Json::Array rows;
  for (const Kept& pack : packs) {
    Json row;
    row.set("path", pack.path.string());
    row.set("model", pack.source.empty() ? Json() : Json(pack.source));
    row.set("bytes", pack.bytes);
    row.set("last_used", pack.last_used);
    rows.push_back(std::move(row));
  }
  Json json;
  json.set("cache", cache.folder().string());
  json.set("bytes", total(packs));
  json.set("packs", std::move(rows));
  return json;
}

Result<int> list_packs(bool as_json) {
  const formats::PackCache cache = open_packs();
  FACET_TRY(const std::vector<Kept> packs, cache.list());
  if (as_json) {
    show(packs_json(cache, packs).dump(2) + "\n");
    return 0;
  }
  if (packs.empty()) note(cat("there are no packed weights in ", cache.folder()));
  for (const Kept& pack : packs)
    std::printf("%-10s used %s  %s\n", engine::readable_bytes(pack.bytes).c_str(), day_of(pack.last_used).c_str(),
                pack.source.empty() ? cat(printable(pack.path.string()), " (cannot be read)").c_str()
                                    : printable(pack.source).c_str());
  return 0;
}

Result<int> clear_packs(bool as_json) {
  const formats::PackCache cache = open_packs();
  FACET_TRY(const std::vector<Kept> packs, cache.clear());
  if (as_json) {
    show(packs_json(cache, packs).dump(2) + "\n");
  } else {
    note(cat("removed ", packs.size(), packs.size() == 1 ? " pack, " : " packs, ", engine::readable_bytes(total(packs)),
             ", from ", cache.folder()));
  }
  return 0;
}

struct Cache {
  std::string action;
  bool as_json = false;

  void add_to(Command& command) {
    command.word("action", action, "list: what is kept, last used first; clear: remove all of it")
        .required()
        .one_of({"list", "clear"})
        .type_name("ACTION");
    command.flag("--json", as_json, "print one JSON object");
    command.footer(kCacheFooter);
  }

  Result<int> run() const { return action == "list" ? list_packs(as_json) : clear_packs(as_json); }
};

}  // namespace

void add_cache(Program& program) {
  program.add<Cache>("cache", "list or clear the packed weights that are kept on disk");
}

}  // namespace facet::cli
