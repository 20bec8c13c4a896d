// A model under verification: this file on this machine, each part of the fast path against the float64 path of
// src/verify.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/model_files.h"
#include "facet/engine.h"
#include "kernels/table.h"
#include "model/gemma.h"
#include "verify/layer.h"
#include "verify/report.h"

namespace facet::verify {

struct Options {
  LoadOptions load;  // threads, isa, exact, kv_type, quant, progress
  Rows rows = Rows::sampled;

  // Tests only: another tier than isa's; changes of the kernels, the configuration, the loaded model, or its
  // activations, to see that it is noticed.
  const kernels::Table* table = nullptr;
  std::function<void(kernels::Table&)> change_kernels;
  std::function<void(model::Config&)> change_config;
  std::function<void(model::Gemma&)> change_model;
  ops::Observer* interfere = nullptr;  // sees (and may change) every tap before it is kept
};

struct Report {
  std::vector<Part> parts;          // the embedding, each layer, the head
  std::optional<Difference> first;  // in the order of the computation
  std::string isa;
  int threads = 1;
  std::vector<std::string> weight_types;  // that products read, as packed
  std::vector<std::string> remarks;
  int64_t values = 0;  // numbers compared
};

// Runs two forward calls and checks each part of both: 15 rows, six that begin a sequence and nine that follow a
// history longer than the window and a group of keys; then one more row of the second. The history's keys and values
// are random, as large as the file's norms make real ones: a layer is judged by what it does with what is stored.
// Errors: those of loading, unsupported (no weights), cancelled.
Result<Report> run(const engine::ModelFiles& files, const Options& options);

}  // namespace facet::verify
