// Verification of whole models: every shape is equal within the bounds, and every damage is found and named. The
// models beside the repository: shared_models_test.cc.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "base/strings.h"
#include "ops/access.h"
#include "support/golden_models.h"
#include "support/kernel_tables.h"
#include "verify/run.h"

namespace facet::verify {
namespace {

std::unique_ptr<engine::ModelFiles> open(const std::string& name) {
  Result<std::unique_ptr<engine::ModelFiles>> files =
      engine::ModelFiles::open(testing::own_golden(name).model.string(), engine::Vocabulary::optional);
  EXPECT_OK(files);
  return *std::move(files);
}

// Options whose loading is changed.
Options loaded(const std::function<void(LoadOptions&)>& change) {
  Options options;
  options.load.threads = 2;
  change(options.load);
  return options;
}

Report verified(const std::string& name, const Options& options) {
  Result<Report> report = run(*open(name), options);
  EXPECT_OK(report);
  return report.ok() ? *std::move(report) : Report();
}

std::string told(const Difference& d) {
  return cat(d.part, ", ", d.step, ", row ", d.at.row, ", column ", d.at.column, ": expected ", d.expected, ", found ",
             d.found, ", bound ", d.bound);
}

void expect_equal(const std::string& name, const Options& options) {
  const Report report = verified(name, options);
  EXPECT_FALSE(report.first) << name << ' ' << options.load.isa << ": " << told(*report.first);
  EXPECT_GT(report.values, 10000);
  double worst = 0;
  for (const Part& part : report.parts)
    for (const Step& step : part.steps) worst = std::max(worst, step.worst);
  EXPECT_GT(worst, 0.1) << name << ": bounds that nothing comes near find nothing";
  EXPECT_LE(worst, 1) << name;
}

// --- what is sound is equal ---

TEST(Verify, EveryShapeIsEqualInEveryTier) {
  for (const testing::GoldenModel& golden : testing::golden_models(testing::own_goldens()))
    for (const kernels::Table& table : kernels::usable_tables())
      expect_equal(golden.name, loaded([&](LoadOptions& load) { load.isa = kernels::name(table.isa); }));
}

TEST(Verify, TheTierThatMultipliesBf16IsEqual) {
  for (const kernels::Table& table : testing::kernel_tables()) {
    if (!testing::is_emulated(table)) continue;
    for (const char* name : {"tiny-e4", "tiny-moe", "nano-q4_0"}) {
      Options options;
      options.table = &table;
      expect_equal(name, options);
    }
  }
}

TEST(Verify, FloatArithmeticIsEqual) {
  for (const char* name : {"tiny-e4", "tiny-moe", "nano-q4_0", "moe-micro-q4_k_m"})
    expect_equal(name, loaded([](LoadOptions& load) {
                   load.exact = true;
                   load.kv_type = "f32";
                 }));
}

TEST(Verify, EveryStorageTypeOfKeysAndValuesIsEqual) {
  for (const char* kv : {"f32", "f16", "bf16"})
    expect_equal("tiny-e", loaded([&](LoadOptions& load) { load.kv_type = kv; }));
}

// Codes, and turned heads: in both arithmetics, in every tier, and in the one that has instructions of its own for
// them.
TEST(Verify, KeysAndValuesAsCodesAreEqual) {
  for (const testing::GoldenModel& golden : testing::golden_models(testing::own_goldens()))
    for (const kernels::Table& table : kernels::usable_tables())
      for (const bool exact : {false, true})
        expect_equal(golden.name, loaded([&](LoadOptions& load) {
                       load.kv_type = "int8";
                       load.exact = exact;
                       load.isa = kernels::name(table.isa);
                     }));
  for (const kernels::Table& table : testing::kernel_tables()) {
    if (!testing::is_emulated(table)) continue;
    Options options = loaded([](LoadOptions& load) { load.kv_type = "int8"; });
    options.table = &table;
    expect_equal("tiny-unified", options);
  }
}

TEST(Verify, ModelsThatAreQuantisedWhileTheyLoadAreEqual) {
  for (const char* quant : {"Q8_0", "Q4_0", "Q4_K_M", "Q2_K", "Q5_1", "IQ4_NL"})
    for (const char* name : {"tiny-e", "tiny-moe"})
      expect_equal(name, loaded([&](LoadOptions& load) { load.quant = quant; }));
}

TEST(Verify, EveryPartAndStepIsThere) {
  const Report report = verified("tiny-e4", {});
  ASSERT_GE(report.parts.size(), 3u);
  EXPECT_EQ(report.parts.front().name, "embedding");
  EXPECT_EQ(report.parts[1].name, "layer 0");
  EXPECT_EQ(report.parts.back().name, "head");
  std::vector<std::string> steps;
  for (const Step& step : report.parts[1].steps) {
    EXPECT_GT(step.values, 0) << step.name;
    steps.push_back(step.name);
  }
  const std::vector<std::string> expected = {
      "attention_norm",  "key",       "value",     "k",         "v",
      "stored",          "query",     "q",         "attention", "attention_output",
      "after_attention", "ffn_norm",  "ffn_gate",  "ffn_up",    "gelu",
      "ffn_down",        "after_ffn", "ple_input", "ple_gate",  "ple_gelu",
      "ple_projection",  "out"};
  EXPECT_EQ(steps, expected);
}

TEST(Verify, RowsAreSampledByPanelsAndPlaces) {
  const std::vector<int64_t> rows = rows_to_check(4096, 1024, Rows::sampled);
  ASSERT_EQ(rows.size(), 256u);
  int places[16] = {};
  for (size_t panel = 0; panel < rows.size(); ++panel) {
    EXPECT_EQ(rows[panel] / 16, static_cast<int64_t>(panel));
    ++places[rows[panel] % 16];
  }
  EXPECT_EQ(*std::ranges::min_element(places), 16);
  EXPECT_EQ(*std::ranges::max_element(places), 16);
  EXPECT_EQ(rows_to_check(4096, 1024, Rows::all).size(), 4096u);
  EXPECT_EQ(rows_to_check(200, 1 << 20, Rows::sampled).size(), 200u);
  EXPECT_EQ(rows_to_check(4116, 1024, Rows::sampled).back(), 4115);  // a panel that is not full
}

TEST(Verify, StopsWhereItIsToldTo) {
  Options options;
  options.load.progress = [](std::string_view phase, int64_t, int64_t) { return phase != "verifying"; };
  const Result<Report> report = run(*open("tiny-e4"), options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::cancelled);
}

// --- what is not is found ---

void expect_found(const std::string& name, const Options& options, const std::string& part, const std::string& step) {
  static std::vector<std::string> sound;  // equal without the damage
  const std::string tried = cat(name, ' ', options.load.kv_type);
  if (std::ranges::find(sound, tried) == sound.end()) {
    Options as_it_is;
    as_it_is.load = options.load;
    expect_equal(name, as_it_is);
    sound.push_back(tried);
  }
  const Report report = verified(name, options);
  ASSERT_TRUE(report.first) << name;
  EXPECT_EQ(report.first->part, part) << told(*report.first);
  EXPECT_EQ(report.first->step, step) << told(*report.first);
}

void expect_found(const std::string& name, std::function<void(model::Weights&)> change, const std::string& part,
                  const std::string& step) {
  Options options;
  options.change_model = [&](model::Gemma& gemma) { change(gemma.text().weights()); };
  expect_found(name, options, part, step);
}

// The packed bytes, which the store holds in memory that may be written.
std::byte* packed(const Weight& weight) { return const_cast<std::byte*>(weight.data.data()); }

TEST(VerifyFinds, AFlippedBitInEachPackedMatrix) {
  struct Case {
    const char* model;
    const Linear& (*linear)(const model::LayerWeights&);
    const char* step;
  };
  const Case cases[] = {
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.query; }, "query"},
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.key; }, "key"},
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.value; }, "value"},
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.attention_output; },
       "attention_output"},
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.ffn_gate; }, "ffn_gate"},
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.ffn_up; }, "ffn_up"},
      {"nano-q4_0", [](const model::LayerWeights& w) -> const Linear& { return w.ffn_down; }, "ffn_down"},
      {"tiny-e", [](const model::LayerWeights& w) -> const Linear& { return w.ple_gate; }, "ple_gate"},
      {"tiny-e", [](const model::LayerWeights& w) -> const Linear& { return w.ple_projection; }, "ple_projection"},
      {"tiny-moe", [](const model::LayerWeights& w) -> const Linear& { return w.router; }, "router"},
  };
  for (const Case& one : cases)
    expect_found(
        one.model,
        [&](model::Weights& w) {
          const Weight& weight = one.linear(w.layers[1]).weight;
          packed(weight)[weight.data.size() / 2 + 7] ^= std::byte{0x40};  // a float's exponent, a code's upper half
        },
        "layer 1", one.step);
}

TEST(VerifyFinds, AFlippedBitInAnExpert) {
  for (const bool down : {false, true})
    expect_found(
        "moe-micro-q4_k_m",
        [&](model::Weights& w) {
          // Of every expert, since only those that were chosen are seen.
          const Weight& weight = (down ? w.layers[1].experts_down : w.layers[1].experts_gate_up).weight;
          const size_t each = weight.data.size() / static_cast<size_t>(weight.groups);
          for (size_t e = 0; e < static_cast<size_t>(weight.groups); ++e)
            packed(weight)[e * each + each / 2 + 7] ^= std::byte{0x40};
        },
        "layer 1", down ? "experts_down" : "experts_gate_up");
}

TEST(VerifyFinds, AFlippedBitInTheHead) {
  expect_found(
      "nano-q4_0", [](model::Weights& w) { packed(w.head.weight)[1000] ^= std::byte{0x40}; }, "head", "head");
}

TEST(VerifyFinds, SwappedScales) {
  expect_found(
      "nano-q4_0",
      [](model::Weights& w) {  // of rows 0 and 1 of a panel: the header's first two halves
        std::byte* bytes = packed(w.layers[2].ffn_down.weight);
        std::swap_ranges(bytes, bytes + 2, bytes + 2);
      },
      "layer 2", "ffn_down");
}

TEST(VerifyFinds, SwappedMatrices) {
  expect_found(
      "nano-q4_0", [](model::Weights& w) { std::swap(w.layers[0].ffn_gate.weight, w.layers[0].ffn_up.weight); },
      "layer 0", "ffn_gate");
}

TEST(VerifyFinds, SwappedNorms) {
  expect_found(
      "tiny-moe", [](model::Weights& w) { std::swap(w.layers[0].expert_norm, w.layers[0].ffn_norm); }, "layer 0",
      "ffn_norm");
}

TEST(VerifyFinds, AForgottenScalar) {
  expect_found(
      "tiny-e", [](model::Weights& w) { w.layers[3].scalar = 1; }, "layer 3", "out");
}

void expect_config_found(const std::string& name, std::function<void(model::Config&)> change, const std::string& part,
                         const std::string& step) {
  Options options;
  options.change_config = std::move(change);
  expect_found(name, options, part, step);
}

TEST(VerifyFinds, AWrongWindow) {
  for (const int change : {-1, 1})
    expect_config_found(
        "tiny-unified", [=](model::Config& config) { config.window += change; }, "layer 0", "attention");
}

TEST(VerifyFinds, AWrongAttentionScale) {
  expect_config_found(
      "tiny-unified", [](model::Config& config) { config.attention_scale *= 1.01; }, "layer 0", "attention");
}

TEST(VerifyFinds, AWrongRopeBase) {
  expect_config_found(
      "tiny-unified", [](model::Config& config) { config.rope_sliding.theta *= 1.01; }, "layer 0", "k");
}

TEST(VerifyFinds, AWrongEmbeddingScale) {
  expect_config_found(
      "tiny-e", [](model::Config& config) { config.embedding_scale *= 1.001; }, "embedding", "embed");
}

TEST(VerifyFinds, PerLayerInputsOfPlaceholders) {
  expect_config_found(
      "tiny-e", [](model::Config& config) { config.placeholders.clear(); }, "embedding", "ple");
}

TEST(VerifyFinds, AnotherDonor) {
  const std::unique_ptr<engine::ModelFiles> files = open("tiny-e");
  int first_sliding = 0, reader = -1;
  while (files->config.layers[static_cast<size_t>(first_sliding)].full) ++first_sliding;
  for (int i = 0; i < files->config.n_layers(); ++i) {
    const model::LayerConfig& layer = files->config.layers[static_cast<size_t>(i)];
    if (reader < 0 && layer.shares_kv && !layer.full && layer.donor != first_sliding) reader = i;
  }
  ASSERT_GE(reader, 0);
  expect_config_found(
      "tiny-e", [&](model::Config& config) { config.layers[static_cast<size_t>(reader)].donor = first_sliding; },
      cat("layer ", reader), "attention");
}

// --- kernels that are wrong by a thousandth, or by a row; function pointers carry no state ---

kernels::Table right;
kernels::PanelType::Multiply right_multiply = nullptr;

template <class Change>
void expect_kernel_found(const std::string& name, Change change, const std::string& part, const std::string& step) {
  Options options;
  options.change_kernels = [&](kernels::Table& table) {
    right = table;
    change(table);
  };
  expect_found(name, options, part, step);
}

void scale(float* y, int64_t n, float by = 1.001f) {
  for (int64_t i = 0; i < n; ++i) y[i] *= by;
}

TEST(VerifyFinds, ARowKernelThatIsOffByAThousandth) {
  expect_kernel_found(
      "tiny-e",
      [](kernels::Table& table) {
        table.rms_norm = [](float* y, const float* x, const float* w, int64_t n, float eps) {
          right.rms_norm(y, x, w, n, eps);
          scale(y, n);
        };
      },
      "embedding", "ple");
  expect_kernel_found(
      "tiny-unified",
      [](kernels::Table& table) {
        table.gelu_times = [](float* y, const float* gate, const float* up, int64_t n) {
          right.gelu_times(y, gate, up, n);
          scale(y, n);
        };
      },
      "layer 0", "gelu");
  expect_kernel_found(
      "tiny-e",
      [](kernels::Table& table) {
        table.softcap = [](float* y, const float* x, int64_t n, float cap) {
          right.softcap(y, x, n, cap);
          scale(y, n);
        };
      },
      "head", "logits");
  expect_kernel_found(
      "tiny-moe",
      [](kernels::Table& table) {
        table.softmax = [](float* x, int64_t n) {
          right.softmax(x, n);
          scale(x, n);
        };
      },
      "layer 0", "router probabilities");
  expect_kernel_found(
      "tiny-unified",
      [](kernels::Table& table) {
        table.add = [](float* y, const float* x, int64_t n) {
          right.add(y, x, n);
          scale(y, n);
        };
      },
      "layer 0", "after_attention");
}

TEST(VerifyFinds, ACodeThatIsNotTheNearest) {
  expect_kernel_found(
      "nano-q4_0",
      [](kernels::Table& table) {
        table.quantize_q8 = [](int8_t* codes, float* scales, int32_t* sums, const float* x, int64_t n) {
          right.quantize_q8(codes, scales, sums, x, n);
          const int8_t step = codes[5] > 0 ? -1 : 1;
          codes[5] = static_cast<int8_t>(codes[5] + step);
          sums[0] += step;
        };
      },
      "embedding", "ple_context input, rounded");
}

TEST(VerifyFinds, AProductThatIsOffByAThousandth) {
  static std::vector<kernels::PanelType> panels;
  expect_kernel_found(
      "nano-q4_0",
      [](kernels::Table& table) {
        panels.assign(table.panels.begin(), table.panels.end());
        for (kernels::PanelType& panel : panels) {
          if (panel.type != DType::q4_0) continue;
          right_multiply = panel.multiply_fast;
          panel.multiply_fast = [](float* y, int64_t y_stride, const std::byte* bytes, int64_t n_panels,
                                   const kernels::ActivationRows& x, int64_t n, int64_t cols) {
            right_multiply(y, y_stride, bytes, n_panels, x, n, cols);
            for (int64_t m = 0; m < n; ++m) y[m * y_stride + 3] *= 1.001f;  // one place of a panel
          };
        }
        table.panels = panels;
      },
      "layer 0", "key");
}

std::vector<kernels::KvType> kv_types;
kernels::KvType right_kv;

// change(storage type, table) damages the kernels of bf16 or int8 caches.
template <class Change>
void expect_kv_found(DType kv, Change change, const std::string& step) {
  Options options = loaded([&](LoadOptions& load) { load.kv_type = kv == DType::i8 ? "int8" : "bf16"; });
  options.change_kernels = [&](kernels::Table& table) {
    right = table;
    kv_types.assign(table.kv_types.begin(), table.kv_types.end());
    for (kernels::KvType& type : kv_types) {
      if (type.type != kv) continue;
      right_kv = type;
      change(type, table);
    }
    table.kv_types = kv_types;
  };
  expect_found("tiny-unified", options, "layer 0", step);
}
template <class Change>
void expect_kv_found(Change change, const std::string& step) {
  expect_kv_found(
      DType::bf16, [&](kernels::KvType& type, kernels::Table&) { change(type); }, step);
}

TEST(VerifyFinds, AttentionThatIsOffByAThousandth) {
  expect_kv_found(
      [](kernels::KvType& type) {
        type.accumulate = [](float* acc, int64_t stride, const float* p, int64_t n, const std::byte* v, int64_t d) {
          std::vector<float> more(p, p + n * kernels::kKvBlockKeys);
          scale(more.data(), static_cast<int64_t>(more.size()));
          right_kv.accumulate(acc, stride, more.data(), n, v, d);
        };
        type.accumulate_bf16 = nullptr;
        type.scores_bf16 = nullptr;
      },
      "attention");
  expect_kv_found(
      [](kernels::KvType& type) {
        type.scores = [](float* scores, const float* q, int64_t stride, int64_t n, const std::byte* k, int64_t d,
                         float by) { right_kv.scores(scores, q, stride, n, k, d, by * 1.001f); };
        type.accumulate_bf16 = nullptr;
        type.scores_bf16 = nullptr;
      },
      "attention");
}

TEST(VerifyFinds, KeysThatAreCutOffInsteadOfRounded) {
  expect_kv_found(
      [](kernels::KvType& type) {
        type.store_k = [](std::byte* block, int position, const float* k, int64_t d) {
          std::vector<float> cut(k, k + d);
          for (float& value : cut) value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xFFFF0000u);
          right_kv.store_k(block, position, cut.data(), d);
        };
      },
      "stored");
}

// The same of codes.
TEST(VerifyFinds, CodedAttentionThatIsOffByAThousandth) {
  expect_kv_found(
      DType::i8,
      [](kernels::KvType& type, kernels::Table&) {
        type.accumulate = [](float* acc, int64_t stride, const float* p, int64_t n, const std::byte* v, int64_t d) {
          std::vector<float> more(p, p + n * kernels::kKvBlockKeys);
          scale(more.data(), static_cast<int64_t>(more.size()));
          right_kv.accumulate(acc, stride, more.data(), n, v, d);
        };
      },
      "attention");
  expect_kv_found(
      DType::i8,
      [](kernels::KvType& type, kernels::Table&) {
        type.scores_coded = [](float* scores, const std::byte* q, int64_t stride, int64_t n, const std::byte* k,
                               int64_t d, float by) { right_kv.scores_coded(scores, q, stride, n, k, d, by * 1.001f); };
      },
      "attention");
}

TEST(VerifyFinds, QueriesOfTooFewBits) {
  expect_kv_found(
      DType::i8,
      [](kernels::KvType& type, kernels::Table&) {
        type.code_query = [](std::byte* coded, const float* q, int64_t d) {
          float max = 0;
          for (int64_t i = 0; i < d; ++i) max = std::max(max, std::abs(q[i]));
          std::vector<float> coarse(q, q + d);
          for (float& value : coarse) value = std::nearbyint(value / max * 127) * (max / 127);
          right_kv.code_query(coded, coarse.data(), d);
        };
      },
      "attention");
}

TEST(VerifyFinds, CodesThatAreCutOffInsteadOfRounded) {
  const auto cut_off = [](const float* x, int64_t d) {
    float max = 0;
    for (int64_t i = 0; i < d; ++i) max = std::max(max, std::abs(x[i]));
    std::vector<float> cut(x, x + d);
    for (float& value : cut) value = std::trunc(value / max * 127) * (max / 127);
    return cut;
  };
  static const auto cut = cut_off;
  expect_kv_found(
      DType::i8,
      [](kernels::KvType& type, kernels::Table&) {
        type.store_k = [](std::byte* block, int position, const float* k, int64_t d) {
          right_kv.store_k(block, position, cut(k, d).data(), d);
        };
      },
      "stored");
  expect_kv_found(
      DType::i8,
      [](kernels::KvType& type, kernels::Table&) {
        type.store_v = [](std::byte* block, int position, const float* v, int64_t d) {
          right_kv.store_v(block, position, cut(v, d).data(), d);
        };
      },
      "stored");
}

TEST(VerifyFinds, HeadsThatAreNotTurnedRight) {
  // Not at all: another matrix that is as orthonormal.
  expect_kv_found(
      DType::i8, [](kernels::KvType& type, kernels::Table&) { type.rotates = false; }, "stored");
  expect_kv_found(
      DType::i8,
      [](kernels::KvType&, kernels::Table& table) {
        table.hadamard = [](float* x, int64_t n) {
          right.hadamard(x, n);
          x[n - 1] *= 1.01f;
        };
      },
      "stored");
  // Queries alone: keys and values are turned right, out of what the rows bring.
  expect_kv_found(
      DType::i8,
      [](kernels::KvType& type, kernels::Table&) {
        type.code_query = [](std::byte* coded, const float* q, int64_t d) {
          std::vector<float> back(q, q + d);
          right.hadamard(back.data(), d);
          right_kv.code_query(coded, back.data(), d);
        };
      },
      "attention");
}

TEST(VerifyFinds, AnglesOfTheNextPosition) {
  // Rows of angles lie one after the other, padded to 16 floats.
  expect_kernel_found(
      "tiny-unified",
      [](kernels::Table& table) {
        table.rope = [](float* y, const float* x, const float* cosine, const float* sine, int64_t n) {
          const int64_t next = (n / 2 + 15) / 16 * 16;
          right.rope(y, x, cosine + next, sine + next, n);
        };
      },
      "layer 0", "k");
}

TEST(VerifyFinds, AnExpertWeightThatIsOffByAThousandth) {
  expect_kernel_found(
      "tiny-moe",
      [](kernels::Table& table) {
        table.add_scaled = [](float* y, const float* x, float s, int64_t n) { right.add_scaled(y, x, s * 1.001f, n); };
      },
      "layer 0", "experts_down");
}

// --- numbers that are none ---

TEST(VerifyFinds, ANan) {
  expect_kernel_found(
      "tiny-unified",
      [](kernels::Table& table) {
        table.gelu_times = [](float* y, const float* gate, const float* up, int64_t n) {
          right.gelu_times(y, gate, up, n);
          y[n / 2] = std::nanf("");
        };
      },
      "layer 0", "gelu");
}

TEST(VerifyFinds, ANanInThePackedScales) {
  expect_found(
      "nano-q4_0",
      [](model::Weights& w) {
        const uint16_t nan = 0x7E00;
        std::memcpy(packed(w.layers[1].attention_output.weight), &nan, sizeof nan);
      },
      "layer 1", "attention_output");
}

TEST(VerifyFinds, ANanAsExpectation) {
  Step step{.name = "q", .kind = StepKind::computed, .values = 0, .worst = 0, .first = {}};
  step.compare({}, 1, {std::nan(""), 1});
  EXPECT_FALSE(step.equal());
  EXPECT_TRUE(std::isinf(step.worst));
}

TEST(VerifyFinds, WhatChangesBetweenTwoSteps) {
  struct Meddler : ops::Observer {
    void tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t>) override {
      if (name == "k" && layer == 1) ops::row(values, 0)[3] += 0.01f;
    }
    void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
    void linear_input(const ops::LinearInput&) override {}
  } meddler;
  Options options;
  options.interfere = &meddler;
  expect_found("tiny-unified", options, "layer 1", "k");
}

}  // namespace
}  // namespace facet::verify
