// Quantisers: the reference's bytes (golden/quant), the same bytes in every tier, errors within each type's step.
#include "kernels/quantize.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "formats/checkpoint.h"
#include "kernels/table.h"
#include "support/expect.h"
#include "support/kernel_tables.h"
#include "support/paths.h"
#include "tensor/half.h"

namespace facet::kernels {
namespace {

using formats::Checkpoint;
using formats::TensorInfo;

std::vector<std::byte> quantized(const QuantizeType& type, std::span<const float> x, const float* importance) {
  std::vector<std::byte> out(static_cast<size_t>(row_bytes(type.type, static_cast<int64_t>(x.size()))));
  type.row(out.data(), x.data(), importance, static_cast<int64_t>(x.size()));
  return out;
}

std::vector<float> floats_of(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.find(name);
  std::vector<float> out;
  if (tensor == nullptr) return out;
  out.resize(static_cast<size_t>(tensor->elements()));
  std::memcpy(out.data(), checkpoint.bytes(*tensor).data(), out.size() * sizeof(float));
  return out;
}

constexpr size_t kRows = 64, kCols = 512, kSubnormalRow = 8;

// Rows whose bytes differ from the reference's, but for the one whose bytes mean nothing.
std::vector<size_t> differing_rows(const QuantizeType& type, const Checkpoint& golden, const char* bytes_name,
                                   const float* importance) {
  const std::vector<float> input = floats_of(golden, std::string(name(type.type)) + ".input");
  const TensorInfo* bytes = golden.find(std::string(name(type.type)) + bytes_name);
  std::vector<size_t> rows;
  if (bytes == nullptr || input.size() != kRows * kCols) return {kRows};
  const size_t row = static_cast<size_t>(row_bytes(type.type, kCols));
  for (size_t r = 0; r < kRows; ++r) {
    const std::vector<std::byte> ours = quantized(type, std::span(input).subspan(r * kCols, kCols), importance);
    if (r != kSubnormalRow && std::memcmp(ours.data(), golden.bytes(*bytes).data() + r * row, row) != 0)
      rows.push_back(r);
  }
  return rows;
}

TEST(Quantize, WritesTheBytesOfTheReference) {
  FACET_SHARED_OR_SKIP(folder, "golden/quant");
  const Result<Checkpoint> golden = Checkpoint::open(folder / "quantise.safetensors");
  ASSERT_OK(golden);
  for (const Table& table : testing::kernel_tables()) {
    for (const QuantizeType& type : table.quantizers) {
      if (type.type == DType::f32) continue;
      const std::string where = std::string(kernels::name(table.isa)) + ' ' + name(type.type);
      EXPECT_EQ(differing_rows(type, *golden, ".bytes", nullptr), std::vector<size_t>()) << where;
      if (!type.reads_importance) continue;
      const std::vector<float> importance = floats_of(*golden, std::string(name(type.type)) + ".imatrix");
      ASSERT_EQ(importance.size(), kCols) << where;
      EXPECT_EQ(differing_rows(type, *golden, ".imatrix_bytes", importance.data()), std::vector<size_t>())
          << where << " with importance";
    }
  }
}

// Normal values, and rows that are hard: zeros, one outlier, huge, tiny, ties, not finite.
std::vector<std::vector<float>> hostile_rows(int64_t cols) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> rows;
  const auto row = [&](auto make) {
    std::vector<float>& values = rows.emplace_back(static_cast<size_t>(cols));
    for (float& value : values) value = make(normal(random));
  };
  for (int i = 0; i < 6; ++i) row([&](float v) { return v * std::pow(10.0f, static_cast<float>(i - 3)); });
  row([](float) { return 0.0f; });
  row([](float v) { return v > 2 ? 1000 * v : v; });
  row([](float v) { return v * 1e-30f; });
  row([](float v) { return v * 1e30f; });
  row([](float v) { return std::round(2 * v) / 2; });
  row([](float v) { return std::abs(v) + 3; });
  row([](float v) { return -std::abs(v) - 3; });
  row([](float v) { return v > 1.5f ? NAN : v; });
  row([](float v) { return v > 1.5f ? INFINITY : v; });
  row([](float v) { return v > 0 ? 1.0f : -1.0f; });
  return rows;
}

TEST(Quantize, AllTiersWriteTheSameBytes) {
  const Table& scalar = usable_tables().front();
  for (const int64_t cols : {256, 512, 768, 2304}) {
    std::vector<float> importance(static_cast<size_t>(cols));
    std::mt19937 random(3);
    for (float& value : importance) value = std::exp(std::normal_distribution<float>()(random));
    for (const std::vector<float>& x : hostile_rows(cols)) {
      bool finite = true;
      for (const float value : x) finite &= std::isfinite(value);
      for (const QuantizeType& type : scalar.quantizers) {
        const std::vector<std::byte> plain = quantized(type, x, nullptr),
                                     weighted = quantized(type, x, importance.data());
        for (const Table& table : testing::kernel_tables()) {
          const QuantizeType* other = table.quantizer(type.type);
          ASSERT_NE(other, nullptr);
          const std::vector<std::byte> again = quantized(*other, x, nullptr);
          if (!finite) continue;  // some block, never a fault
          EXPECT_EQ(again, plain) << kernels::name(table.isa) << ' ' << name(type.type);
          EXPECT_EQ(quantized(*other, x, importance.data()), weighted)
              << kernels::name(table.isa) << ' ' << name(type.type) << " with importance";
        }
      }
    }
  }
}

TEST(Quantize, ImportanceCountsWhereItIsSaidTo) {
  const std::vector<float> x = hostile_rows(512)[3];
  std::vector<float> importance(512, 1e-3f);
  for (size_t i = 0; i < importance.size(); i += 5) importance[i] = 10;
  for (const QuantizeType& type : best_table().quantizers)
    EXPECT_EQ(quantized(type, x, nullptr) != quantized(type, x, importance.data()), type.reads_importance)
        << name(type.type);
}

TEST(Quantize, LegacyTypesTakeRowsOfSingleBlocks) {
  for (const Table& table : testing::kernel_tables()) {
    for (const QuantizeType& type : table.quantizers) {
      if (info(type.type).block != 32) continue;
      const std::vector<float> x = hostile_rows(32 * 33)[3];
      const std::vector<std::byte> whole = quantized(type, x, nullptr);
      const size_t block = static_cast<size_t>(info(type.type).bytes);
      for (size_t b = 0; b < 33; ++b)
        EXPECT_EQ(std::memcmp(quantized(type, std::span(x).subspan(32 * b, 32), nullptr).data(),
                              whole.data() + b * block, block),
                  0)
            << name(type.type);
    }
  }
}

TEST(Quantize, ErrorsStayWithinTheStepOfEachType) {
  struct Bound {
    DType type;
    double relative_rms;  // of normal values
  };
  constexpr Bound kBounds[] = {{DType::f16, 3e-4},    {DType::bf16, 2e-3},   {DType::q8_0, 6e-3}, {DType::q6_k, 0.02},
                               {DType::q5_k, 0.04},   {DType::q5_1, 0.04},   {DType::q5_0, 0.05}, {DType::q4_k, 0.08},
                               {DType::iq4_nl, 0.08}, {DType::iq4_xs, 0.08}, {DType::q4_1, 0.09}, {DType::q4_0, 0.09},
                               {DType::mxfp4, 0.13},  {DType::q3_k, 0.16},   {DType::q2_k, 0.32}};
  const std::vector<float> x = hostile_rows(4096)[3];
  for (const Bound& bound : kBounds) {
    const QuantizeType* type = best_table().quantizer(bound.type);
    ASSERT_NE(type, nullptr);
    if (!can_dequantize(bound.type)) continue;
    std::vector<float> back(x.size());
    dequantize(bound.type, back.data(), quantized(*type, x, nullptr).data(), static_cast<int64_t>(x.size()));
    double error = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::pow(static_cast<double>(back[i] - x[i]), 2);
      size += std::pow(static_cast<double>(x[i]), 2);
    }
    EXPECT_LT(std::sqrt(error / size), bound.relative_rms) << name(bound.type);
    EXPECT_GT(std::sqrt(error / size), bound.relative_rms / 4) << name(bound.type);
  }
}

TEST(Quantize, ValuesOnAGridComeBackUnchanged) {
  std::mt19937 random(5);
  for (const DType type : {DType::q8_0, DType::f16, DType::bf16}) {
    const std::vector<std::byte> bytes = quantized(*best_table().quantizer(type), hostile_rows(512)[3], nullptr);
    std::vector<float> values(512);
    dequantize(type, values.data(), bytes.data(), 512);
    EXPECT_EQ(quantized(*best_table().quantizer(type), values, nullptr), bytes) << name(type);
  }
}

TEST(Quantize, TrainedGridsAreFoundWhereverTheExtremeValueStands) {
  std::mt19937 random(11);
  std::vector<float> x(32 * 200);
  for (size_t b = 0; b < 200; ++b) {
    const float step = half_to_float(float_to_half(0.003f * static_cast<float>(1 + b % 17)));
    const int low = -static_cast<int>(1 + b % 8), high = static_cast<int>(b / 8 % 8);
    for (size_t i = 0; i < 32; ++i) {
      const int code = std::uniform_int_distribution<int>(low, high)(random);
      x[32 * b + i] = bf16_to_float(float_to_bf16(step * static_cast<float>(code)));
    }
  }
  std::vector<std::byte> trained(static_cast<size_t>(row_bytes(DType::q4_0, static_cast<int64_t>(x.size()))));
  EXPECT_EQ(quantize_q4_0_trained(trained.data(), x.data(), static_cast<int64_t>(x.size())), 200);
  const auto error = [&](const std::vector<std::byte>& bytes) {
    std::vector<float> back(x.size());
    dequantize(DType::q4_0, back.data(), bytes.data(), static_cast<int64_t>(x.size()));
    double sum = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      sum += std::pow(static_cast<double>(back[i] - x[i]), 2);
      size += std::pow(static_cast<double>(x[i]), 2);
    }
    return std::sqrt(sum / size);
  };
  EXPECT_LT(error(trained), 3e-3);
  EXPECT_GT(error(quantized(*best_table().quantizer(DType::q4_0), x, nullptr)), 0.03);
  const std::vector<float> other = hostile_rows(6400)[3];
  EXPECT_LT(quantize_q4_0_trained(trained.data(), other.data(), 6400), 10);
}

}  // namespace
}  // namespace facet::kernels
