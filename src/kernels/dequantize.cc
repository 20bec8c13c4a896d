// Exact values of quantised blocks: one or two float operations each, in the order of the formula, so that every reader
// of the format gets the same bits.
#include <cstring>

#include "base/check.h"
#include "kernels/coded_blocks.h"
#include "kernels/table.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

namespace facet::kernels {
namespace {

void decode(float* y, const BlockQ4_0& b) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((b.qs[j] & 15) - 8) * d;
    y[16 + j] = static_cast<float>((b.qs[j] >> 4) - 8) * d;
  }
}

void decode(float* y, const BlockQ4_1& b) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(b.qs[j] & 15) * d + m;
    y[16 + j] = static_cast<float>(b.qs[j] >> 4) * d + m;
  }
}

// The fifth bit of element j, in place.
int fifth_bit(const uint8_t (&qh)[4], int j) { return ((qh[j / 8] >> (j % 8)) & 1) << 4; }

void decode(float* y, const BlockQ5_0& b) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(((b.qs[j] & 15) | fifth_bit(b.qh, j)) - 16) * d;
    y[16 + j] = static_cast<float>(((b.qs[j] >> 4) | fifth_bit(b.qh, 16 + j)) - 16) * d;
  }
}

void decode(float* y, const BlockQ5_1& b) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((b.qs[j] & 15) | fifth_bit(b.qh, j)) * d + m;
    y[16 + j] = static_cast<float>((b.qs[j] >> 4) | fifth_bit(b.qh, 16 + j)) * d + m;
  }
}

void decode(float* y, const BlockQ8_0& b) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(b.qs[j]) * d;
}

void decode(float* y, const BlockQ2K& b) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, group = e % 128 / 32, l = e % 32, s = e / 16;
    const int q = (b.qs[32 * half + l] >> (2 * group)) & 3;
    y[e] =
        d * static_cast<float>(b.scales[s] & 15) * static_cast<float>(q) - dmin * static_cast<float>(b.scales[s] >> 4);
  }
}

void decode(float* y, const BlockQ3K& b) {
  const float d = half_to_float(b.d);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, group = e % 128 / 32, l = e % 32;
    const int low = (b.qs[32 * half + l] >> (2 * group)) & 3;
    const int high = (b.hmask[l] >> (e / 32)) & 1;
    y[e] = d * static_cast<float>(scale_q3k(b.scales, e / 16)) * static_cast<float>(low - (high != 0 ? 0 : 4));
  }
}

void decode(float* y, const BlockQ4K& b) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int s = 0; s < 8; ++s) {
    const ScaleAndMinimum packed = scale_and_minimum(b.scales, s);
    const float scale = d * static_cast<float>(packed.scale), minimum = dmin * static_cast<float>(packed.minimum);
    for (int l = 0; l < 32; ++l) {
      const int q = (b.qs[32 * (s / 2) + l] >> (4 * (s % 2))) & 15;
      y[32 * s + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void decode(float* y, const BlockQ5K& b) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int s = 0; s < 8; ++s) {
    const ScaleAndMinimum packed = scale_and_minimum(b.scales, s);
    const float scale = d * static_cast<float>(packed.scale), minimum = dmin * static_cast<float>(packed.minimum);
    for (int l = 0; l < 32; ++l) {
      const int q = ((b.qs[32 * (s / 2) + l] >> (4 * (s % 2))) & 15) | (((b.qh[l] >> s) & 1) << 4);
      y[32 * s + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void decode(float* y, const BlockQ6K& b) {
  const float d = half_to_float(b.d);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, group = e % 128 / 32, l = e % 32;
    const int low = (b.ql[64 * half + 32 * (group % 2) + l] >> (4 * (group / 2))) & 15;
    const int high = (b.qh[32 * half + l] >> (2 * group)) & 3;
    y[e] = d * static_cast<float>(b.scales[e / 16]) * static_cast<float>((low | high << 4) - 32);
  }
}

// scale * code, one product (coded_blocks.h).
template <class Block>
void coded(float* y, const std::byte* x, int64_t n) {
  using Reader = Coded<Block>;
  constexpr int kScales = Reader::kValues / Reader::kScaleCols;
  for (int64_t i = 0; i < n / Reader::kValues; ++i) {
    Block block;
    std::memcpy(&block, x + i * static_cast<int64_t>(sizeof block), sizeof block);
    int8_t code[Reader::kValues];
    float scale[kScales];
    Reader::decode(code, scale, block);
    for (int k = 0; k < Reader::kValues; ++k)
      y[i * Reader::kValues + k] = scale[k / Reader::kScaleCols] * static_cast<float>(code[k]);
  }
}

template <class Block>
void blocks(float* y, const std::byte* x, int64_t n, int64_t values) {
  for (int64_t i = 0; i < n / values; ++i) {
    Block block;
    std::memcpy(&block, x + i * static_cast<int64_t>(sizeof block), sizeof block);
    decode(y + i * values, block);
  }
}

template <class Stored, class Convert>
void elements(float* y, const std::byte* x, int64_t n, Convert convert) {
  for (int64_t i = 0; i < n; ++i) {
    Stored value;
    std::memcpy(&value, x + i * static_cast<int64_t>(sizeof value), sizeof value);
    y[i] = convert(value);
  }
}

}  // namespace

bool can_dequantize(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::f64:
    case DType::q4_0:
    case DType::q4_1:
    case DType::q5_0:
    case DType::q5_1:
    case DType::q8_0:
    case DType::q2_k:
    case DType::q3_k:
    case DType::q4_k:
    case DType::q5_k:
    case DType::q6_k:
    case DType::iq1_s:
    case DType::iq1_m:
    case DType::iq2_xxs:
    case DType::iq2_xs:
    case DType::iq2_s:
    case DType::iq3_xxs:
    case DType::iq3_s:
    case DType::iq4_nl:
    case DType::iq4_xs:
    case DType::mxfp4:
    case DType::nvfp4:
    case DType::tq1_0:
    case DType::tq2_0:
    case DType::q1_0:
    case DType::q2_0: return true;
    default: return false;
  }
}

void dequantize(DType type, float* y, const std::byte* x, int64_t n) {
  FACET_DCHECK(n % info(type).block == 0);
  switch (type) {
    case DType::f32: std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float)); return;
    case DType::f16: return elements<uint16_t>(y, x, n, half_to_float);
    case DType::bf16: return elements<uint16_t>(y, x, n, bf16_to_float);
    case DType::f64: return elements<double>(y, x, n, [](double value) { return static_cast<float>(value); });
    case DType::q4_0: return blocks<BlockQ4_0>(y, x, n, 32);
    case DType::q4_1: return blocks<BlockQ4_1>(y, x, n, 32);
    case DType::q5_0: return blocks<BlockQ5_0>(y, x, n, 32);
    case DType::q5_1: return blocks<BlockQ5_1>(y, x, n, 32);
    case DType::q8_0: return blocks<BlockQ8_0>(y, x, n, 32);
    case DType::q2_k: return blocks<BlockQ2K>(y, x, n, 256);
    case DType::q3_k: return blocks<BlockQ3K>(y, x, n, 256);
    case DType::q4_k: return blocks<BlockQ4K>(y, x, n, 256);
    case DType::q5_k: return blocks<BlockQ5K>(y, x, n, 256);
    case DType::q6_k: return blocks<BlockQ6K>(y, x, n, 256);
    case DType::iq1_s: return coded<BlockIQ1S>(y, x, n);
    case DType::iq1_m: return coded<BlockIQ1M>(y, x, n);
    case DType::iq2_xxs: return coded<BlockIQ2XXS>(y, x, n);
    case DType::iq2_xs: return coded<BlockIQ2XS>(y, x, n);
    case DType::iq2_s: return coded<BlockIQ2S>(y, x, n);
    case DType::iq3_xxs: return coded<BlockIQ3XXS>(y, x, n);
    case DType::iq3_s: return coded<BlockIQ3S>(y, x, n);
    case DType::iq4_nl: return coded<BlockIQ4NL>(y, x, n);
    case DType::iq4_xs: return coded<BlockIQ4XS>(y, x, n);
    case DType::mxfp4: return coded<BlockMXFP4>(y, x, n);
    case DType::nvfp4: return coded<BlockNVFP4>(y, x, n);
    case DType::tq1_0: return coded<BlockTQ1_0>(y, x, n);
    case DType::tq2_0: return coded<BlockTQ2_0>(y, x, n);
    case DType::q1_0: return coded<BlockQ1_0>(y, x, n);
    case DType::q2_0: return coded<BlockQ2_0>(y, x, n);
    default: FACET_CHECK(can_dequantize(type));
  }
}

}  // namespace facet::kernels
