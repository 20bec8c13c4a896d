#include "cli/bench_report.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "base/utf8.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

using engine::BenchKind;
using engine::BenchResult;

// "pp512", "tg128 @ d8192", "tg32 x 4": as llama-bench names them, as far as it does.
std::string test_name(const engine::BenchTest& test) {
  std::string name = cat(test.kind == BenchKind::read ? "pp" : "tg", test.tokens);
  if (test.parallel > 1) name += cat(" x ", test.parallel);
  if (test.depth > 0) name += cat(" @ d", test.depth);
  return name;
}

std::string field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

struct Column {
  const char* title;
  int width;
};
constexpr std::array<Column, 10> kColumns = {{{"test", -20},
                                              {"threads", 7},
                                              {"kv", -4},
                                              {"tokens/s", 10},
                                              {"min", 9},
                                              {"max", 9},
                                              {"GB/s", 7},
                                              {"of read", 7},
                                              {"GOPS", 7},
                                              {"of int8", 7}}};

void show_line(const std::array<std::string, kColumns.size()>& cells) {
  std::string line = "|";
  for (size_t i = 0; i < kColumns.size(); ++i) {
    const size_t width = static_cast<size_t>(std::abs(kColumns[i].width));
    const std::string space(width - std::min(width, cells[i].size()), ' ');
    line += cat(" ", kColumns[i].width < 0 ? cat(cells[i], space) : cat(space, cells[i]), " |");
  }
  show(line + "\n");
}

}  // namespace

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text)
    if (c == ',')
      words.emplace_back();
    else
      words.back() += c;
  return words;
}

Json BenchReport::row_of(const engine::BenchRun& run, const engine::BenchOptions& options,
                         const BenchResult& result) const {
  const double seconds = result.median_seconds(), bytes = result.work.weight_bytes + result.work.kv_bytes;
  const auto [fastest, slowest] = std::ranges::minmax(result.seconds);
  Json row;
  row.set("model", model_.path);
  row.set("description", model_.description);
  row.set("file_bytes", model_.file_bytes);
  row.set("isa", run.isa());
  row.set("threads", run.threads());
  row.set("kv", options.load.kv_type);
  row.set("arithmetic", options.load.exact ? "exact" : "fast");
  row.set("skip", options.load.skip_work);
  row.set("batch", options.load.batch_rows);
  row.set("sampler", options.sample);
  row.set("load_seconds", run.load_seconds());
  row.set("test", test_name(result.test));
  row.set("kind", result.test.kind == BenchKind::read ? "read" : "write");
  row.set("tokens", result.test.tokens);
  row.set("depth", result.test.depth);
  row.set("parallel", result.test.parallel);
  row.set("repetitions", static_cast<int64_t>(result.seconds.size()));
  row.set("tokens_per_s", result.tokens / seconds);
  row.set("tokens_per_s_min", result.tokens / slowest);
  row.set("tokens_per_s_max", result.tokens / fastest);
  row.set("weight_bytes_per_token", result.work.weight_bytes / result.tokens);
  row.set("kv_bytes_per_token", result.work.kv_bytes / result.tokens);
  row.set("operations_per_token", result.work.operations / result.tokens);
  row.set("gb_per_s", bytes / seconds * 1e-9);
  row.set("gops", result.work.operations / seconds * 1e-9);
  row.set("machine_read_gb_per_s", result.machine.read_bytes_per_s * 1e-9);
  row.set("machine_int8_gops", result.machine.int8_ops_per_s * 1e-9);
  row.set("bound_by_memory", result.tokens_per_s_by_memory());
  row.set("bound_by_arithmetic", result.tokens_per_s_by_arithmetic());
  return row;
}

void BenchReport::add(const engine::BenchRun& run, const engine::BenchOptions& options, const BenchResult& result) {
  Json row = row_of(run, options, result);
  if (form_ == "csv") return show_csv_row(row);
  Json::Array samples;
  for (const double seconds : result.seconds) samples.emplace_back(seconds);
  row.set("seconds", std::move(samples));
  if (form_ == "jsonl") return show(row.dump() + "\n");
  if (form_ != "json") return show_table_row(row);
  rows_.push_back(std::move(row));
}

void BenchReport::finish() {
  if (form_ == "json") show(Json(std::move(rows_)).dump(2) + "\n");
}

void BenchReport::show_table_row(const Json& row) {
  const auto number = [&](const char* key) { return row.find(key)->number(); };
  std::array<std::string, kColumns.size()> cells;
  if (!begun_) {
    show(cat(printable(model_.description), ", ", printable(model_.path), ", ", *row.find("isa")->string(), "\n\n"));
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = kColumns[i].title;
    show_line(cells);
    for (size_t i = 0; i < cells.size(); ++i)
      cells[i] = cat(std::string(static_cast<size_t>(std::abs(kColumns[i].width)) - 1, '-'),
                     kColumns[i].width < 0 ? '-' : ':');
    show_line(cells);
    begun_ = true;
  }
  cells = {*row.find("test")->string(),
           cat(*row.find("threads")->integer()),
           *row.find("kv")->string(),
           fixed(number("tokens_per_s"), 2),
           fixed(number("tokens_per_s_min"), 2),
           fixed(number("tokens_per_s_max"), 2),
           fixed(number("gb_per_s"), 1),
           cat(fixed(100 * number("gb_per_s") / number("machine_read_gb_per_s"), 0), " %"),
           fixed(number("gops"), 0),
           cat(fixed(100 * number("gops") / number("machine_int8_gops"), 0), " %")};
  show_line(cells);
}

void BenchReport::show_csv_row(const Json& row) {
  std::string header, line;
  for (const auto& [key, value] : *row.object()) {
    header += cat(header.empty() ? "" : ",", key);
    line += cat(line.empty() ? "" : ",", field(value.string() != nullptr ? *value.string() : value.dump()));
  }
  if (!begun_) show(header + "\n");
  begun_ = true;
  show(line + "\n");
}

}  // namespace facet::cli
