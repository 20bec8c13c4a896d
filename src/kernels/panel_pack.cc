// Packs rows of model files into panels and back: byte permutations, the same in every tier.
#include <cstring>

#include "kernels/coded_blocks.h"
#include "kernels/panel_codes.h"

namespace facet::kernels {
namespace {

// --- file blocks to codes: one byte a column, bias left in ---

// Low nibbles of 16 bytes are columns 0…15, high ones 16…31.
void nibbles(uint8_t* code, const uint8_t (&qs)[16]) {
  for (int j = 0; j < 16; ++j) {
    code[j] = qs[j] & 15;
    code[16 + j] = qs[j] >> 4;
  }
}

void fifth_bits(uint8_t* code, const uint8_t (&qh)[4]) {
  for (int j = 0; j < 32; ++j) code[j] = static_cast<uint8_t>(code[j] | ((qh[j / 8] >> (j % 8)) & 1) << 4);
}

void codes_of(uint8_t* code, const BlockQ4_0& b) { nibbles(code, b.qs); }
void codes_of(uint8_t* code, const BlockQ4_1& b) { nibbles(code, b.qs); }
void codes_of(uint8_t* code, const BlockQ5_0& b) {
  nibbles(code, b.qs);
  fifth_bits(code, b.qh);
}
void codes_of(uint8_t* code, const BlockQ5_1& b) {
  nibbles(code, b.qs);
  fifth_bits(code, b.qh);
}
void codes_of(uint8_t* code, const BlockQ8_0& b) {
  for (int j = 0; j < 32; ++j) code[j] = static_cast<uint8_t>(b.qs[j] + 128);
}

// Two bits a column: two halves of 128 columns, four groups of 32 in each.
void two_bits(uint8_t* code, const uint8_t (&qs)[64]) {
  for (int half = 0; half < 2; ++half)
    for (int group = 0; group < 4; ++group)
      for (int l = 0; l < 32; ++l)
        code[128 * half + 32 * group + l] = static_cast<uint8_t>((qs[32 * half + l] >> (2 * group)) & 3);
}

void codes_of(uint8_t* code, const BlockQ2K& b) { two_bits(code, b.qs); }
void codes_of(uint8_t* code, const BlockQ3K& b) {
  two_bits(code, b.qs);
  for (int block = 0; block < 8; ++block)
    for (int l = 0; l < 32; ++l) {
      uint8_t& c = code[32 * block + l];
      c = static_cast<uint8_t>(c | ((b.hmask[l] >> block) & 1) << 2);
    }
}

// 64 columns in 32 bytes: low nibbles, then high nibbles.
void nibbles_k(uint8_t* code, const uint8_t (&qs)[128]) {
  for (int c = 0; c < 4; ++c)
    for (int l = 0; l < 32; ++l) {
      code[64 * c + l] = qs[32 * c + l] & 15;
      code[64 * c + 32 + l] = qs[32 * c + l] >> 4;
    }
}

void codes_of(uint8_t* code, const BlockQ4K& b) { nibbles_k(code, b.qs); }
void codes_of(uint8_t* code, const BlockQ5K& b) {
  nibbles_k(code, b.qs);
  for (int block = 0; block < 8; ++block)
    for (int l = 0; l < 32; ++l) {
      uint8_t& c = code[32 * block + l];
      c = static_cast<uint8_t>(c | ((b.qh[l] >> block) & 1) << 4);
    }
}
void codes_of(uint8_t* code, const BlockQ6K& b) {
  for (int half = 0; half < 2; ++half)
    for (int group = 0; group < 4; ++group)
      for (int l = 0; l < 32; ++l) {
        const int low = (b.ql[64 * half + 32 * (group % 2) + l] >> (4 * (group / 2))) & 15;
        const int high = (b.qh[32 * half + l] >> (2 * group)) & 3;
        code[128 * half + 32 * group + l] = static_cast<uint8_t>(low | high << 4);
      }
}

// --- headers ---

void put(std::byte* to, uint16_t half) { std::memcpy(to, &half, sizeof(half)); }

// The scales of one file block into row `row` of a chunk's header; block: the 32-column block of the chunk it is.
template <class P>
void pack_scales(std::byte* chunk, int row, int block, const typename P::File& file) {
  std::byte* const d = chunk + (P::kSuper ? 0 : block * P::kHeaderStride) + 2 * row;
  std::byte* const factors = chunk + P::kScalesAt + row;
  put(d, file.d);
  if constexpr (P::kScaling == Scaling::half_minimum) put(d + P::kMinimumAt, file.m);
  if constexpr (P::kSuper && P::kHasMinimum) put(d + P::kMinimumAt, file.dmin);
  if constexpr (P::kScaling == Scaling::super_minimum) {
    for (int s = 0; s < 8; ++s) {
      const ScaleAndMinimum pair = scale_and_minimum(file.scales, s);
      factors[s * kPanelRows] = std::byte{pair.scale};
      chunk[P::kMinimaAt + s * kPanelRows + row] = std::byte{pair.minimum};
    }
  }
  if constexpr (P::kScaleCols == kSubBlock) {
    for (int s = 0; s < 16; ++s) {
      if constexpr (P::kType == DType::q3_k)
        factors[s * kPanelRows] = static_cast<std::byte>(scale_q3k(file.scales, s));
      else
        factors[s * kPanelRows] = static_cast<std::byte>(file.scales[s]);
    }
  }
}

// --- codes to planes ---

// 32 codes of one row into the planes of a block.
template <class P>
void pack_codes(std::byte* block, int row, const uint8_t* code) {
  uint32_t word[8];
  std::memcpy(word, code, sizeof(word));
  std::byte* to = block + 4 * row;
  const auto emit = [&to](uint32_t bytes) {
    std::memcpy(to, &bytes, sizeof(bytes));
    to += kLineBytes;
  };
  if constexpr (P::kBits == 8)
    for (uint32_t w : word) emit(w);
  if constexpr (P::kNibbles)
    for (int j = 0; j < 4; ++j) emit((word[j] & 0x0F0F0F0Fu) | (word[j + 4] & 0x0F0F0F0Fu) << 4);
  if constexpr (P::kPairs) {
    for (int p = 0; p < 2; ++p) {
      uint32_t plane = 0;
      for (int t = 0; t < 4; ++t) plane |= ((word[4 * p + t] >> P::kPairShift) & 0x03030303u) << (2 * t);
      emit(plane);
    }
  }
  if constexpr (P::kTopBits) {
    uint32_t plane = 0;
    for (int j = 0; j < 8; ++j) plane |= ((word[j] >> P::kTopShift) & 0x01010101u) << j;
    emit(plane);
  }
}

template <class P>
void pack_blocks(std::byte* panel, const std::byte* rows, int64_t stride, int n_rows, int64_t cols) {
  if (n_rows < kPanelRows) std::memset(panel, 0, static_cast<size_t>(P::panel_bytes(cols)));
  for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
    std::byte* const chunk = panel + (at.chunk - panel);
    std::byte* const codes = chunk + P::header_bytes(at.blocks());
    for (int row = 0; row < n_rows; ++row) {
      const std::byte* from =
          rows + row * stride + at.col / P::kFileCols * static_cast<int64_t>(sizeof(typename P::File));
      for (int block = 0; block < at.blocks(); block += P::kFileCols / kBlock, from += sizeof(typename P::File)) {
        const auto file = load_as<typename P::File>(from);
        uint8_t code[P::kFileCols];
        codes_of(code, file);
        pack_scales<P>(chunk, row, block, file);
        for (int i = 0; i < P::kFileCols / kBlock; ++i)
          pack_codes<P>(codes + (block + i) * P::kBlockBytes, row, code + i * kBlock);
      }
    }
  }
}

template <class P>
void unpack_blocks(float* rows, int64_t stride, const std::byte* panel, int64_t cols) {
  DecodedChunk chunk;
  for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) {
    decode_chunk<P>(chunk, at);
    for (int r = 0; r < kPanelRows; ++r)
      for (int k = 0; k < at.blocks() * kBlock; ++k) rows[r * stride + at.col + k] = value_of<P>(chunk, k, r);
  }
}

// 32 columns of one row, wherever they stand in the panel.
template <class P>
void pack_coded_block(std::byte* panel, int row, int64_t col, int64_t cols, const int8_t* code, const float* scale) {
  const int64_t first = col / kChunkCols * kChunkCols;
  const int blocks = static_cast<int>(std::min<int64_t>(kChunkBlocks, (cols - first) / kBlock));
  const int block = static_cast<int>((col - first) / kBlock);
  std::byte* const chunk = panel + first / kChunkCols * P::kChunkBytes;
  constexpr int kScales = kBlock / P::kScaleCols;
  for (int i = 0; i < kScales; ++i)
    std::memcpy(chunk + ((block * kScales + i) * kPanelRows + row) * static_cast<int>(sizeof(float)), scale + i,
                sizeof(float));
  uint8_t biased[kBlock];
  for (int k = 0; k < kBlock; ++k) biased[k] = static_cast<uint8_t>(code[k] + P::kBias);
  pack_codes<P>(chunk + P::header_bytes(blocks) + block * P::kBlockBytes, row, biased);
}

template <class P>
constexpr PanelType block_type(decltype(PanelType::pack) pack) {
  return {.type = P::kType,
          .fast_form = kFormQ8,
          .panel_bytes = P::panel_bytes,
          .pack = pack,
          .unpack = unpack_blocks<P>,
          .multiply_f32 = nullptr,
          .multiply_fast = nullptr};
}

// --- types that are a scale times a small whole number ---

template <class P, class Block>
void pack_coded(std::byte* panel, const std::byte* rows, int64_t stride, int n_rows, int64_t cols) {
  using Reader = Coded<Block>;
  static_assert(Reader::kScaleCols == P::kScaleCols);
  if (n_rows < kPanelRows) std::memset(panel, 0, static_cast<size_t>(P::panel_bytes(cols)));
  for (int row = 0; row < n_rows; ++row) {
    const std::byte* from = rows + row * stride;
    for (int64_t col = 0; col < cols; col += Reader::kValues, from += sizeof(Block)) {
      int8_t code[Reader::kValues];
      float scale[Reader::kValues / Reader::kScaleCols];
      Reader::decode(code, scale, load_as<Block>(from));
      for (int i = 0; i < Reader::kValues / kBlock; ++i)
        pack_coded_block<P>(panel, row, col + i * kBlock, cols, code + i * kBlock,
                            scale + i * kBlock / Reader::kScaleCols);
    }
  }
}

template <class P, class Block>
constexpr PanelType coded_type(DType type) {
  PanelType made = block_type<P>(pack_coded<P, Block>);
  made.type = type;
  return made;
}

// --- float types: [k / kGroup][16 rows][kGroup] of Stored ---

template <class Stored, int kGroup>
struct FloatPanel {
  static int64_t bytes(int64_t cols) {
    return (cols + kGroup - 1) / kGroup * kGroup * kPanelRows * static_cast<int64_t>(sizeof(Stored));
  }
  static int64_t offset(int64_t k, int row) {
    return ((k / kGroup * kPanelRows + row) * kGroup + k % kGroup) * static_cast<int64_t>(sizeof(Stored));
  }
  static void pack(std::byte* panel, const std::byte* rows, int64_t stride, int n_rows, int64_t cols) {
    if (n_rows < kPanelRows || cols % kGroup != 0) std::memset(panel, 0, static_cast<size_t>(bytes(cols)));
    // A few columns of all rows at a time: both sides then stay in the nearest cache.
    constexpr int64_t kStrip = 64;
    for (int64_t first = 0; first < cols; first += kStrip)
      for (int row = 0; row < n_rows; ++row)
        for (int64_t k = first; k < std::min(cols, first + kStrip); ++k)
          std::memcpy(panel + offset(k, row), rows + row * stride + k * static_cast<int64_t>(sizeof(Stored)),
                      sizeof(Stored));
  }
  template <float (*convert)(Stored)>
  static void unpack(float* rows, int64_t stride, const std::byte* panel, int64_t cols) {
    for (int row = 0; row < kPanelRows; ++row)
      for (int64_t k = 0; k < cols; ++k) rows[row * stride + k] = convert(load_as<Stored>(panel + offset(k, row)));
  }
};

float same(float value) { return value; }

template <DType type, Form form, class Stored, int kGroup, float (*convert)(Stored)>
constexpr PanelType float_type() {
  using P = FloatPanel<Stored, kGroup>;
  return {.type = type,
          .fast_form = form,
          .panel_bytes = P::bytes,
          .pack = P::pack,
          .unpack = P::template unpack<convert>,
          .multiply_f32 = nullptr,
          .multiply_fast = nullptr};
}

}  // namespace

std::span<const PanelType> packings() {
  static constexpr PanelType kAll[] = {
      float_type<DType::f32, kFormF32, float, 1, same>(),
      float_type<DType::f16, kFormF32, uint16_t, 1, half_to_float>(),
      float_type<DType::bf16, kFormBf16, uint16_t, 2, bf16_to_float>(),
      block_type<PanelQ4_0>(pack_blocks<PanelQ4_0>),
      block_type<PanelQ4_1>(pack_blocks<PanelQ4_1>),
      block_type<PanelQ5_0>(pack_blocks<PanelQ5_0>),
      block_type<PanelQ5_1>(pack_blocks<PanelQ5_1>),
      block_type<PanelQ8_0>(pack_blocks<PanelQ8_0>),
      block_type<PanelQ2K>(pack_blocks<PanelQ2K>),
      block_type<PanelQ3K>(pack_blocks<PanelQ3K>),
      block_type<PanelQ4K>(pack_blocks<PanelQ4K>),
      block_type<PanelQ5K>(pack_blocks<PanelQ5K>),
      block_type<PanelQ6K>(pack_blocks<PanelQ6K>),
      coded_type<PanelCoded32, BlockIQ4NL>(DType::iq4_nl),
      coded_type<PanelCoded32, BlockIQ4XS>(DType::iq4_xs),
      coded_type<PanelCoded32, BlockMXFP4>(DType::mxfp4),
      coded_type<PanelCoded16, BlockNVFP4>(DType::nvfp4),
      coded_type<PanelCoded32, BlockTQ1_0>(DType::tq1_0),
      coded_type<PanelCoded32, BlockTQ2_0>(DType::tq2_0),
      coded_type<PanelCoded32, BlockQ1_0>(DType::q1_0),
      coded_type<PanelCoded32, BlockQ2_0>(DType::q2_0),
      coded_type<PanelCoded32, BlockIQ1S>(DType::iq1_s),
      coded_type<PanelCoded16, BlockIQ1M>(DType::iq1_m),
      coded_type<PanelCoded32, BlockIQ2XXS>(DType::iq2_xxs),
      coded_type<PanelCoded16, BlockIQ2XS>(DType::iq2_xs),
      coded_type<PanelCoded16, BlockIQ2S>(DType::iq2_s),
      coded_type<PanelCoded32, BlockIQ3XXS>(DType::iq3_xxs),
      coded_type<PanelCoded32, BlockIQ3S>(DType::iq3_s),
  };
  return kAll;
}

}  // namespace facet::kernels
