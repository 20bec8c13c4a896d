// What facet bench prints: one row a test, as soon as it is measured, as a table, CSV or JSON.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "engine/bench_run.h"

namespace facet::cli {

// "512,8k" as its words.
std::vector<std::string> split_list(const std::string& text);

class BenchReport {
 public:
  // form: table, md (the same), csv, json, jsonl.
  BenchReport(std::string form, const ModelInfo& model) : form_(std::move(form)), model_(model) {}

  void add(const engine::BenchRun& run, const engine::BenchOptions& options, const engine::BenchResult& result);
  // json: the array of all rows.
  void finish();

 private:
  Json row_of(const engine::BenchRun& run, const engine::BenchOptions& options,
              const engine::BenchResult& result) const;
  void show_table_row(const Json& row);
  void show_csv_row(const Json& row);

  std::string form_;
  ModelInfo model_;
  bool begun_ = false;  // table, csv: the header has been printed
  Json::Array rows_;
};

}  // namespace facet::cli
