// The panel kernels of every tier: packing loses nothing, every tier equals the scalar one bit for bit, the scalar one
// equals plain sums in double precision, and how many rows a call has changes no bit.
#include <gtest/gtest.h>

#include <algorithm>

#include <array>

#include "base/hash.h"
#include "base/random.h"
#include "kernels/panel_data.h"
#include "kernels/panel_layout.h"
#include "kernels/values.h"
#include "support/kernel_tables.h"
#include "tensor/quant_blocks.h"

namespace facet::kernels {
namespace {

using testing::Activations;
using testing::Extremes;

// Whose bits stay as planes.
constexpr DType kPlanes[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1, DType::q8_0,
                             DType::q2_k, DType::q3_k, DType::q4_k, DType::q5_k, DType::q6_k};
constexpr DType kTypes[] = {DType::f32,    DType::f16,    DType::bf16,    DType::q4_0,  DType::q4_1,  DType::q5_0,
                            DType::q5_1,   DType::q8_0,   DType::q2_k,    DType::q3_k,  DType::q4_k,  DType::q5_k,
                            DType::q6_k,   DType::iq4_nl, DType::iq4_xs,  DType::mxfp4, DType::nvfp4, DType::tq1_0,
                            DType::tq2_0,  DType::q1_0,   DType::q2_0,    DType::iq1_s, DType::iq1_m, DType::iq2_xxs,
                            DType::iq2_xs, DType::iq2_s,  DType::iq3_xxs, DType::iq3_s};

const Table& scalar_table() { return testing::kernel_tables().front(); }

std::vector<int64_t> widths(DType type) {
  if (!is_block_type(type)) return {1, 2, 3, 16, 96, 97};
  if (info(type).block == 256) return {256, 512, 1280};
  if (info(type).block == 128) return {128, 256, 384, 640};
  if (info(type).block == 64) return {64, 192, 256, 320, 640};
  return {32, 64, 96, 192, 256, 288, 640};
}

std::vector<std::byte> packed(const PanelType& type, const std::vector<std::byte>& rows, int n_rows, int64_t cols) {
  std::vector<std::byte> panel(static_cast<size_t>(type.panel_bytes(cols)), std::byte{0x5A});
  type.pack(panel.data(), rows.data(), row_bytes(type.type, cols), n_rows, cols);
  return panel;
}

constexpr int64_t kStride = 19;  // of outputs: larger than a panel, so that stray writes show
constexpr float kUntouched = 12345;

std::vector<float> product(const PanelType& type, bool fast, const std::vector<std::byte>& panel,
                           const ActivationRows& x, int64_t n, int64_t cols) {
  std::vector<float> y(static_cast<size_t>(n * kStride + 1), kUntouched);
  (fast ? type.multiply_fast : type.multiply_f32)(y.data(), kStride, panel.data(), 1, x, n, cols);
  return y;
}

// ---- packing ----

TEST(Panels, EveryTierPacksEveryType) {
  for (const Table& table : testing::kernel_tables())
    for (DType type : kTypes) {
      const PanelType* found = table.panel(type);
      ASSERT_NE(found, nullptr) << name(table.isa) << ' ' << name(type);
      EXPECT_EQ(found->fast_form, is_block_type(type) ? kFormQ8 : type == DType::bf16 ? kFormBf16 : kFormF32);
      EXPECT_EQ(found->panel_bytes(1280), scalar_table().panel(type)->panel_bytes(1280));
    }
}

// Packs on disk are found by kPanelLayout. Whoever changes what packing or quantising gives raises it, and puts here
// the hash that this test prints.
TEST(Panels, LayoutHasItsNumber) {
  ASSERT_EQ(kPanelLayout, 1);
  std::mt19937 random(20);
  Hash64 hash;
  for (const PanelType& type : packings()) {
    for (const int64_t cols : widths(type.type))
      hash.add(packed(type, testing::random_rows(type.type, 13, cols, random), 13, cols));
  }
  Random values(21);
  std::vector<float> row(512);
  for (float& value : row) value = static_cast<float>(values.uniform()) - 0.5f;
  for (const QuantizeType& type : scalar_table().quantizers) {
    std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(type.type, 512)));
    type.row(bytes.data(), row.data(), nullptr, 512);
    hash.add(bytes);
  }
  EXPECT_EQ(hash.text(), "b9cf6cc33b5aac12");
}

TEST(Panels, PackedBytesStayNearTheFile) {
  for (DType type : kTypes)
    for (int64_t cols : {512, 1280, 2560}) {
      const int64_t file = 16 * row_bytes(type, cols), panel = scalar_table().panel(type)->panel_bytes(cols);
      EXPECT_GE(panel, file) << name(type);
      // Types of code books and grids become bytes with a float scale for 16 or 32 columns.
      const bool becomes_bytes = info(type).block > 1 && std::ranges::find(kPlanes, type) == std::end(kPlanes);
      const int64_t most = becomes_bytes ? 16 * cols * 10 / 8 : file * 106 / 100;
      EXPECT_LE(panel, most) << name(type) << ' ' << cols;
    }
}

TEST(Panels, UnpackingGivesTheDequantizedRows) {
  std::mt19937 random(1);
  for (DType type : kTypes)
    for (int64_t cols : widths(type))
      for (Extremes extremes : {Extremes::ordinary, Extremes::subnormal_scales, Extremes::all_bits_set}) {
        const auto rows = testing::random_rows(type, 16, cols, random, extremes);
        std::vector<float> expected(static_cast<size_t>(16 * cols)), unpacked(expected.size());
        dequantize(type, expected.data(), rows.data(), 16 * cols);
        for (const Table& table : testing::kernel_tables()) {
          const PanelType& panels = *table.panel(type);
          panels.unpack(unpacked.data(), cols, packed(panels, rows, 16, cols).data(), cols);
          EXPECT_TRUE(same_bits(unpacked, expected)) << name(table.isa) << ' ' << name(type) << ' ' << cols;
        }
      }
}

TEST(Panels, MissingRowsAreZero) {
  std::mt19937 random(2);
  for (DType type : kTypes) {
    const int64_t cols = widths(type).back();
    const PanelType& panels = *scalar_table().panel(type);
    for (int n_rows : {1, 2, 7, 15}) {
      const auto rows = testing::random_rows(type, n_rows, cols, random);
      std::vector<float> expected(static_cast<size_t>(16 * cols)), unpacked(expected.size());
      dequantize(type, expected.data(), rows.data(), n_rows * cols);
      panels.unpack(unpacked.data(), cols, packed(panels, rows, n_rows, cols).data(), cols);
      for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(unpacked[i], expected[i]) << name(type) << ' ' << i;
    }
  }
}

// ---- the scalar tier against double precision ----

// Compares with Σ w x in double, within what float rounding of each step allows: each of the at most 2 k steps errs by
// half an ulp of a partial sum, which Σ |w x| bounds, and so do its factors.
void expect_near_exact(DType type, bool fast, int64_t cols, std::mt19937& random) {
  const PanelType& panels = *scalar_table().panel(type);
  const auto rows = testing::random_rows(type, 16, cols, random);
  const Activations x = testing::random_activations(3, cols, random);
  std::vector<float> w(static_cast<size_t>(16 * cols));
  dequantize(type, w.data(), rows.data(), 16 * cols);
  const auto y = product(panels, fast, packed(panels, rows, 16, cols), x.view(), 3, cols);
  for (int64_t m = 0; m < 3; ++m)
    for (int64_t r = 0; r < 16; ++r) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < cols; ++k) {
        const auto at = static_cast<size_t>(m * x.padded + k);
        double value = x.f32[at];
        if (fast && panels.fast_form == kFormQ8) value = double{x.scale[at / 32]} * x.q8[at];
        if (fast && panels.fast_form == kFormBf16) value = bf16_to_float(x.bf16[at]);
        sum += w[static_cast<size_t>(r * cols + k)] * value;
        magnitude += std::fabs(w[static_cast<size_t>(r * cols + k)] * value);
      }
      // A minimum is taken off after the codes' product, which may be larger than the difference: 16 covers it.
      const double bound = 0x1p-24 * static_cast<double>(2 * cols + 4) * magnitude * 16;
      EXPECT_NEAR(y[static_cast<size_t>(m * kStride + r)], sum, bound) << name(type) << (fast ? " fast " : " f32 ");
    }
}

TEST(Panels, ScalarProductsEqualPlainSums) {
  std::mt19937 random(3);
  for (DType type : kTypes)
    for (int64_t cols : widths(type))
      for (bool fast : {false, true}) expect_near_exact(type, fast, cols, random);
}

// Float arithmetic is defined to the bit: one fma a column, in ascending order, on the dequantised value.
TEST(Panels, FloatProductsAreOneFmaAColumn) {
  std::mt19937 random(4);
  for (DType type : kTypes)
    for (int64_t cols : widths(type)) {
      const PanelType& panels = *scalar_table().panel(type);
      const auto rows = testing::random_rows(type, 16, cols, random);
      const Activations x = testing::random_activations(1, cols, random);
      std::vector<float> w(static_cast<size_t>(16 * cols));
      dequantize(type, w.data(), rows.data(), 16 * cols);
      const auto y = product(panels, false, packed(panels, rows, 16, cols), x.view(), 1, cols);
      for (size_t r = 0; r < 16; ++r) {
        float sum = 0;
        for (size_t k = 0; k < static_cast<size_t>(cols); ++k)
          sum = std::fma(w[r * static_cast<size_t>(cols) + k], x.f32[k], sum);
        ASSERT_EQ(y[r], sum) << name(type) << ' ' << cols;
      }
    }
}

// One step of the law's integer arithmetic: `width` columns that share the scale w and the minimum m.
void law_step(float& sum, const int8_t* x, const int* code, int width, float a, float w, float m) {
  int isum = 0, asum = 0;
  for (int k = 0; k < width; ++k) isum += code[k] * x[k], asum += x[k];
  sum = std::fma(static_cast<float>(isum), w * a, sum);
  if (m != 0) sum = std::fma(-m, a * static_cast<float>(asum), sum);
}

// The law once more from the file's blocks, for a type with minima and one with scales of 16 columns.
TEST(Panels, IntegerProductsFollowTheRowLaw) {
  std::mt19937 random(11);
  const Activations x = testing::random_activations(1, 256, random);
  const auto four = testing::random_rows(DType::q4_k, 1, 256, random),
             six = testing::random_rows(DType::q6_k, 1, 256, random);
  BlockQ4K q4;
  BlockQ6K q6;
  std::memcpy(&q4, four.data(), sizeof(q4));
  std::memcpy(&q6, six.data(), sizeof(q6));
  float sum4 = 0, sum6 = 0;
  for (int b = 0; b < 8; ++b) {
    int code4[32], code6[32];
    for (int l = 0; l < 32; ++l) {
      const int half = b / 4, group = b % 4;
      code4[l] = (q4.qs[32 * (b / 2) + l] >> (4 * (b % 2))) & 15;
      code6[l] = ((q6.ql[64 * half + 32 * (group % 2) + l] >> (4 * (group / 2))) & 15) +
                 ((q6.qh[32 * half + l] >> (2 * group)) & 3) * 16 - 32;
    }
    const int8_t* codes = x.q8.data() + 32 * b;
    const float a = x.scale[static_cast<size_t>(b)], d6 = half_to_float(q6.d);
    const ScaleAndMinimum pair = scale_and_minimum(q4.scales, b);
    law_step(sum4, codes, code4, 32, a, half_to_float(q4.d) * static_cast<float>(pair.scale),
             half_to_float(q4.dmin) * static_cast<float>(pair.minimum));
    for (int s = 0; s < 2; ++s)
      law_step(sum6, codes + 16 * s, code6 + 16 * s, 16, a, d6 * static_cast<float>(q6.scales[2 * b + s]), 0);
  }
  for (const Table& table : testing::kernel_tables()) {
    const PanelType &panels4 = *table.panel(DType::q4_k), &panels6 = *table.panel(DType::q6_k);
    EXPECT_EQ(product(panels4, true, packed(panels4, four, 1, 256), x.view(), 1, 256)[0], sum4) << name(table.isa);
    EXPECT_EQ(product(panels6, true, packed(panels6, six, 1, 256), x.view(), 1, 256)[0], sum6) << name(table.isa);
  }
}

// ---- every tier against the scalar one ----

void expect_like_scalar(DType type, int64_t cols, const std::vector<std::byte>& rows, int n_rows, const Activations& x,
                        int64_t n, const int32_t* index, const char* what) {
  const PanelType& scalar = *scalar_table().panel(type);
  const auto panel = packed(scalar, rows, n_rows, cols);
  for (bool fast : {false, true}) {
    const auto expected = product(scalar, fast, panel, x.view(index), n, cols);
    for (const Table& table : testing::kernel_tables().subspan(1)) {
      const auto y = product(*table.panel(type), fast, panel, x.view(index), n, cols);
      EXPECT_TRUE(same_bits(y, expected))
          << name(table.isa) << (testing::is_emulated(table) ? " emulated " : " ") << name(type)
          << (fast ? " fast" : " f32") << " cols " << cols << " n " << n << ' ' << what;
    }
  }
}

TEST(Panels, EveryTierEqualsScalarForEveryNumberOfRows) {
  std::mt19937 random(5);
  for (DType type : kTypes)
    for (int64_t cols : widths(type)) {
      const auto rows = testing::random_rows(type, 16, cols, random);
      const Activations x = testing::random_activations(64, cols, random);
      for (int64_t n : {0, 1, 2, 3, 4, 5, 7, 8, 17, 64}) {
        if (n == 64 && cols > 512) continue;
        expect_like_scalar(type, cols, rows, 16, x, n, nullptr, "ordinary");
      }
    }
}

TEST(Panels, EveryTierEqualsScalarForEveryHeight) {
  std::mt19937 random(6);
  for (DType type : kTypes) {
    const int64_t cols = widths(type)[1];
    const Activations x = testing::random_activations(6, cols, random);
    for (int n_rows = 1; n_rows <= 16; ++n_rows) {
      const auto rows = testing::random_rows(type, n_rows, cols, random);
      for (int64_t n : {1, 6}) expect_like_scalar(type, cols, rows, n_rows, x, n, nullptr, "height");
    }
  }
}

// Sums of products of extreme codes leave 16 bits: a saturating instruction would show here.
TEST(Panels, ExtremesNeitherSaturateNorOverflow) {
  std::mt19937 random(7);
  for (DType type : kTypes) {
    if (!is_block_type(type)) continue;
    const int64_t cols = widths(type).back();
    Activations x = testing::random_activations(9, cols, random);
    testing::make_extreme(x);
    for (Extremes extremes :
         {Extremes::zero_scales, Extremes::subnormal_scales, Extremes::largest_scales, Extremes::all_bits_set}) {
      auto rows = testing::random_rows(type, 16, cols, random, extremes);
      for (int64_t n : {1, 3, 9}) expect_like_scalar(type, cols, rows, 16, x, n, nullptr, "extreme");
      if (type != DType::q8_0) continue;
      for (std::byte& code : rows) code = std::byte{0x80};  // -128 everywhere; the scale becomes a tiny negative
      for (int64_t n : {1, 3, 9}) expect_like_scalar(type, cols, rows, 16, x, n, nullptr, "all -128");
    }
  }
}

TEST(Panels, IntegerSumsOfExtremesAreExact) {
  // One block of codes -128, scale 1, activations -127, scale 1: 32 * 128 * 127.
  std::vector<std::byte> row(34, std::byte{0x80});
  row[0] = std::byte{0x00}, row[1] = std::byte{0x3C};
  Activations x(5, 32);
  std::fill(x.scale.begin(), x.scale.end(), 1.0f);
  std::fill(x.q8.begin(), x.q8.end(), int8_t{-127});
  x.add_up_codes();
  for (const Table& table : testing::kernel_tables()) {
    const PanelType& panels = *table.panel(DType::q8_0);
    for (int64_t n : {1, 5}) {
      const auto y = product(panels, true, packed(panels, row, 1, 32), x.view(), n, 32);
      for (int64_t m = 0; m < n; ++m) EXPECT_EQ(y[static_cast<size_t>(m * kStride)], 32.0f * 128 * 127);
    }
  }
}

// VDPBF16PS reads and writes subnormals as zeros, and so does every tier; in float arithmetic they count.
TEST(Panels, Bf16ProductsFlushSubnormals) {
  std::mt19937 random(10);
  constexpr int64_t kCols = 33;
  std::vector<std::byte> rows(static_cast<size_t>(16 * row_bytes(DType::bf16, kCols)));
  Activations x = testing::random_activations(5, kCols, random);
  // Exponents around the smallest normal, so that operands, products and sums are on both sides of it.
  const auto tiny = [&random](int lowest) {
    return static_cast<uint16_t>((random() & 0x807F) | (static_cast<unsigned>(lowest) + random() % 6) << 7);
  };
  for (size_t i = 0; i < rows.size(); i += 2) {
    const uint16_t value = tiny(i % 4 == 0 ? 0 : 60);
    std::memcpy(&rows[i], &value, sizeof(value));
  }
  for (int64_t m = 0; m < 5; ++m)
    for (int64_t k = 0; k < kCols; ++k) x.bf16[static_cast<size_t>(m * x.padded + k)] = tiny(k % 3 == 0 ? 0 : 64);
  for (int64_t n : {1, 5}) expect_like_scalar(DType::bf16, kCols, rows, 16, x, n, nullptr, "subnormal");

  std::vector<std::byte> one(2, std::byte{0});
  one[0] = std::byte{1};  // the smallest subnormal
  Activations y(1, 1);
  y.bf16[0] = float_to_bf16(0x1p100f), y.f32[0] = 0x1p100f;
  for (const Table& table : testing::kernel_tables()) {
    const PanelType& panels = *table.panel(DType::bf16);
    const auto panel = packed(panels, one, 1, 1);
    EXPECT_EQ(product(panels, true, panel, y.view(), 1, 1)[0], 0.0f) << name(table.isa);
    EXPECT_EQ(product(panels, false, panel, y.view(), 1, 1)[0], 0x1p-33f) << name(table.isa);
  }
}

// Consecutive panels in one call: what each gives alone, and nothing beside it.
TEST(Panels, SeveralPanelsGiveWhatEachGivesAlone) {
  std::mt19937 random(12);
  constexpr int64_t kMost = 5, kWide = kMost * kPanelRows + 3;
  for (DType type : kTypes) {
    const int64_t cols = widths(type)[2];
    const PanelType& scalar = *scalar_table().panel(type);
    std::vector<std::vector<std::byte>> panels;
    std::vector<std::byte> all;
    for (int64_t p = 0; p < kMost; ++p) {
      panels.push_back(packed(scalar, testing::random_rows(type, 16, cols, random), 16, cols));
      all.insert(all.end(), panels.back().begin(), panels.back().end());
    }
    const Activations x = testing::random_activations(13, cols, random);
    for (const Table& table : testing::kernel_tables())
      for (bool fast : {false, true})
        for (int64_t n_panels : {0, 2, 5})
          for (int64_t n : {1, 13}) {
            const PanelType& kernels = *table.panel(type);
            std::vector<float> expected(static_cast<size_t>(n * kWide), kUntouched), y = expected;
            (fast ? kernels.multiply_fast : kernels.multiply_f32)(y.data(), kWide, all.data(), n_panels, x.view(), n,
                                                                  cols);
            for (int64_t p = 0; p < n_panels; ++p) {
              const auto alone = product(scalar, fast, panels[static_cast<size_t>(p)], x.view(), n, cols);
              for (int64_t m = 0; m < n; ++m)
                std::copy_n(&alone[static_cast<size_t>(m * kStride)], kPanelRows,
                            &expected[static_cast<size_t>(m * kWide + p * kPanelRows)]);
            }
            ASSERT_TRUE(same_bits(y, expected)) << name(table.isa) << ' ' << name(type) << (fast ? " fast " : " f32 ")
                                                << n_panels << " panels, " << n << " rows";
          }
  }
}

TEST(Panels, IndexListsChooseRows) {
  std::mt19937 random(8);
  const std::array<int32_t, 11> index = {3, 3, 0, 19, 7, 18, 2, 3, 11, 0, 5};
  for (DType type : kTypes) {
    const int64_t cols = widths(type)[2];
    const auto rows = testing::random_rows(type, 16, cols, random);
    const Activations x = testing::random_activations(20, cols, random);
    const auto panel = packed(*scalar_table().panel(type), rows, 16, cols);
    for (int64_t n : {2, 11}) expect_like_scalar(type, cols, rows, 16, x, n, index.data(), "indexed");
    for (bool fast : {false, true}) {
      const auto all = product(*scalar_table().panel(type), fast, panel, x.view(), 20, cols);
      const auto some = product(*scalar_table().panel(type), fast, panel, x.view(index.data()), 11, cols);
      for (size_t m = 0; m < index.size(); ++m)
        EXPECT_EQ(some[m * kStride + 5], all[static_cast<size_t>(index[m]) * kStride + 5]) << name(type);
    }
  }
}

// ---- the row law ----

TEST(Panels, ManyRowsGiveTheBitsOfSingleRows) {
  std::mt19937 random(9);
  for (DType type : kTypes)
    for (int64_t cols : {widths(type).front(), widths(type).back()}) {
      const auto rows = testing::random_rows(type, 16, cols, random);
      const Activations x = testing::random_activations(17, cols, random);
      for (const Table& table : testing::kernel_tables()) {
        const PanelType& panels = *table.panel(type);
        const auto panel = packed(panels, rows, 16, cols);
        for (bool fast : {false, true})
          for (int64_t n : {2, 3, 4, 5, 8, 12, 17}) {
            const auto together = product(panels, fast, panel, x.view(), n, cols);
            for (int32_t m = 0; m < n; ++m) {
              const auto alone = product(panels, fast, panel, x.view(&m), 1, cols);
              ASSERT_EQ(std::memcmp(&together[static_cast<size_t>(m * kStride)], alone.data(), 16 * sizeof(float)), 0)
                  << name(table.isa) << ' ' << name(type) << " row " << m << " of " << n << (fast ? " fast" : " f32");
            }
            EXPECT_EQ(together[16], kUntouched);
            EXPECT_EQ(together.back(), kUntouched);
          }
      }
    }
}

}  // namespace
}  // namespace facet::kernels
