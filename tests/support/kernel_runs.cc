#include "support/kernel_runs.h"

#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "base/strings.h"
#include "kernels/kv_layout.h"
#include "kernels/probe.h"

namespace facet::testing {
namespace {

using namespace kernels;

constexpr int64_t kCols = 2048, kHeadDim = 256, kQueries = 8;
constexpr int64_t kMatrixBytes = int64_t{192} << 10;
constexpr double kRunSeconds = 2e-4;  // fits between two interruptions by the system

// Activation rows of ordinary numbers in every form.
struct Rows {
  std::vector<float> f32, scale;
  std::vector<int8_t> q8;
  std::vector<int32_t> sums;
  std::vector<uint16_t> bf16;

  explicit Rows(int64_t n)
      : f32(static_cast<size_t>(n * kCols), 0.5f),
        scale(static_cast<size_t>(n * kCols / kBlock), 0.01f),
        q8(static_cast<size_t>(n * kCols), 3),
        sums(static_cast<size_t>(n * kCols / kSubBlock), 3 * kSubBlock),
        bf16(static_cast<size_t>(n * kCols), 0x3F00) {}
  ActivationRows view() const {
    return {.f32 = f32.data(),
            .stride_f32 = kCols,
            .q8 = q8.data(),
            .stride_q8 = kCols,
            .scale = scale.data(),
            .stride_scale = kCols / kBlock,
            .sums = sums.data(),
            .stride_sums = kCols / kSubBlock,
            .bf16 = bf16.data(),
            .stride_bf16 = kCols};
  }
};

KernelRun product(const PanelType& type, bool fast, int64_t n) {
  const int64_t panel_bytes = type.panel_bytes(kCols), panels = std::max<int64_t>(1, kMatrixBytes / panel_bytes);
  // Bytes 0x20: ordinary codes and scales in every type, nothing subnormal.
  const auto matrix =
      std::make_shared<std::vector<std::byte>>(static_cast<size_t>(panels * panel_bytes), std::byte{0x20});
  const auto rows = std::make_shared<Rows>(n);
  const auto y = std::make_shared<std::vector<float>>(static_cast<size_t>(n * panels * kPanelRows));
  const auto multiply = fast ? type.multiply_fast : type.multiply_f32;
  return {.name = cat(facet::name(type.type), fast ? "/fast/" : "/f32/", n),
          .form = fast ? type.fast_form : kFormF32,
          .operations = static_cast<double>(panels * 2 * kPanelRows * kCols * n),
          .bytes = static_cast<double>(panels * panel_bytes),
          .call = [=] { multiply(y->data(), panels * kPanelRows, matrix->data(), panels, rows->view(), n, kCols); }};
}

struct AttentionData {
  std::vector<std::byte> k, v;
  std::vector<float> queries, scores, sums;
  std::vector<uint16_t> queries_bf16, scores_bf16;
  std::vector<std::byte> queries_coded;

  explicit AttentionData(const KvType& type)
      : k(static_cast<size_t>(type.block_bytes(kHeadDim))),
        v(k.size()),
        queries(static_cast<size_t>(kQueries * kHeadDim), 0.5f),
        scores(static_cast<size_t>(kQueries * kKvBlockKeys), 0.015f),
        sums(queries.size()),
        queries_bf16(queries.size(), 0x3F00),
        scores_bf16(scores.size(), 0x3C80) {
    const std::vector<float> row(static_cast<size_t>(kHeadDim), 0.25f);
    for (int i = 0; i < kKvBlockKeys; ++i) {
      type.store_k(k.data(), i, row.data(), kHeadDim);
      type.store_v(v.data(), i, row.data(), kHeadDim);
    }
    queries_coded.resize(static_cast<size_t>(kQueries * coded_query_bytes(kHeadDim)));
    for (int64_t i = 0; i < kQueries && type.code_query != nullptr; ++i)
      type.code_query(queries_coded.data() + i * coded_query_bytes(kHeadDim), queries.data(), kHeadDim);
  }
};

// Both products of one block: scores are q · k of all its keys, values p · v.
void add_attention(std::vector<KernelRun>& all, const KvType& type) {
  const auto data = std::make_shared<AttentionData>(type);
  const auto add = [&](const char* name, Form form, std::function<void()> call) {
    all.push_back({.name = cat("attention/", facet::name(type.type), name),
                   .form = form,
                   .operations = static_cast<double>(2 * kQueries * kKvBlockKeys * kHeadDim),
                   .bytes = static_cast<double>(data->k.size()),
                   .call = std::move(call)});
  };
  const bool codes = type.scores_coded != nullptr;
  add("/scores", codes ? kFormQ8 : kFormF32, [&type, codes, d = data] {
    if (codes)
      return type.scores_coded(d->scores.data(), d->queries_coded.data(), coded_query_bytes(kHeadDim), kQueries,
                               d->k.data(), kHeadDim, 0.01f);
    type.scores(d->scores.data(), d->queries.data(), kHeadDim, kQueries, d->k.data(), kHeadDim, 0.01f);
  });
  add("/values", codes ? kFormQ8 : kFormF32, [&type, d = data] {
    type.accumulate(d->sums.data(), kHeadDim, d->scores.data(), kQueries, d->v.data(), kHeadDim);
  });
  if (type.scores_bf16 == nullptr) return;
  add("/scores/pairs", kFormBf16, [&type, d = data] {
    type.scores_bf16(d->scores.data(), d->queries_bf16.data(), kHeadDim, kQueries, d->k.data(), kHeadDim, 0.01f);
  });
  add("/values/pairs", kFormBf16, [&type, d = data] {
    type.accumulate_bf16(d->sums.data(), kHeadDim, d->scores_bf16.data(), kQueries, d->v.data(), kHeadDim);
  });
}

// Seconds of one call, of a run as long as kRunSeconds or one call.
template <class Call>
double seconds_of(const Call& call, int64_t& calls) {
  for (;;) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) call();
    const double seconds = seconds_since(start);
    if (seconds > kRunSeconds / 2 || calls > int64_t{1} << 20) return seconds / static_cast<double>(calls);
    calls *= 2;
  }
}

}  // namespace

std::vector<KernelRun> kernel_runs(const Table& table) {
  std::vector<KernelRun> all;
  for (const PanelType& type : table.panels)
    for (const bool fast : {true, false}) {
      if (!fast && type.fast_form == kFormF32) continue;
      for (const int64_t n : {1, 4, 64}) all.push_back(product(type, fast, n));
    }
  for (const KvType& type : table.kv_types) add_attention(all, type);
  return all;
}

KernelSpeed speed_of(const KernelRun& run, Isa isa, int turns) {
  const Probe& probe = probe_of(isa);
  const auto multiply = run.form == kFormQ8     ? probe.multiply_q8
                        : run.form == kFormBf16 ? probe.multiply_bf16
                                                : probe.multiply_f32;
  constexpr int64_t kRounds = 1000;
  float sink = 0;
  int64_t operations = 0, calls = 1, probes = 1;
  KernelSpeed speed;
  for (int turn = 0; turn < turns; ++turn) {
    speed.operations_per_s = std::max(speed.operations_per_s, run.operations / seconds_of(run.call, calls));
    const double seconds = seconds_of([&] { operations = multiply(kRounds, &sink); }, probes);
    speed.peak = std::max(speed.peak, static_cast<double>(operations) / seconds);
  }
  return speed;
}

}  // namespace facet::testing
