// How weights lie in packed panels: one layout for all tiers (pictures: docs/kernels.md). A panel is 16 consecutive
// rows of a matrix, whole width, in the order in which a multiplication reads it.
//
// Float types: [k][16 rows] (F32, F16), [k / 2][16 rows][2] (BF16; an odd width is padded with a zero).
//
// Block types: chunks of up to 8 blocks of 32 columns. A chunk is a header of scales, then the codes of its blocks,
// unsigned (the bias is subtracted by the multiplication), as bit planes. A line is 64 bytes, [16 rows][4 columns];
// line j of a block holds columns 4 j … 4 j + 3. Planes of a block, in this order, as far as the type has the bits:
//   bytes   (8 bits)        8 lines, as they are
//   nibbles (low 4 bits)    4 lines: bits 0…3 of byte i are line j, bits 4…7 line j + 4
//   pairs   (next 2 bits)   2 lines: plane p, bits 2 t, 2 t + 1 are line 4 p + t
//   bits    (top bit)       1 line:  bit j is line j
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/table.h"
#include "tensor/dtype.h"
#include "tensor/quant_blocks.h"

namespace facet::kernels {

// The number of this layout, which all tiers share. Packed weights on disk are found by it: raise it with any change of
// the bytes that packing gives, or that a quantiser gives (Panels.LayoutHasItsNumber watches both).
inline constexpr int kPanelLayout = 1;

inline constexpr int kLineBytes = 64;                      // 16 rows x 4 columns
inline constexpr int kChunkBlocks = 8;                     // blocks of 32 columns that share a header
inline constexpr int kChunkCols = kChunkBlocks * kBlock;   // 256: the super-block of K-quants
inline constexpr int kChunkSubs = kChunkCols / kSubBlock;  // scales a chunk, at most

// The header of a chunk; every field has 16 entries, one a row.
enum class Scaling : uint8_t {
  half,            // [block] f16 d
  half_minimum,    // [block] (f16 d, f16 m): value = d * code + m
  super_minimum,   // f16 d, f16 dmin, [8] u8 scale, [8] u8 minimum
  super_signed16,  // f16 d, 32 unused bytes, [16] i8 scale: one for 16 columns
  super_nibble16,  // f16 d, f16 dmin, [16] u8: scale | minimum << 4: one for 16 columns
  single,          // [block] f32 scale
  single16,        // [block][2] f32 scale: one for 16 columns
};

// One block type: code bits, bias, and where everything lies.
template <DType type, class FileBlock, int bits, int bias, Scaling scaling>
struct BlockPanel {
  using File = FileBlock;
  static constexpr DType kType = type;
  static constexpr int kBits = bits;
  static constexpr int kBias = bias;  // value = scale * (code - bias) - minimum
  static constexpr Scaling kScaling = scaling;
  static constexpr bool kSingle = scaling == Scaling::single || scaling == Scaling::single16;
  static constexpr bool kSuper = scaling != Scaling::half && scaling != Scaling::half_minimum && !kSingle;
  static constexpr int kFileCols = kSuper ? kChunkCols : kBlock;
  static constexpr int kScaleCols =
      scaling == Scaling::super_signed16 || scaling == Scaling::super_nibble16 || scaling == Scaling::single16
          ? kSubBlock
          : kBlock;
  static constexpr bool kHasMinimum =
      scaling == Scaling::half_minimum || scaling == Scaling::super_minimum || scaling == Scaling::super_nibble16;

  static constexpr bool kNibbles = bits >= 4 && bits <= 6;
  static constexpr bool kPairs = bits == 2 || bits == 3 || bits == 6;
  static constexpr bool kTopBits = bits == 3 || bits == 5;
  static constexpr int kPairShift = bits == 6 ? 4 : 0;
  static constexpr int kTopShift = bits - 1;
  static constexpr int kBlockBytes = bits * kLineBytes;

  // Fields of the header, in bytes. Of half, half_minimum and single: of block 0; each next block kHeaderStride on.
  static constexpr int kHeaderStride = scaling == Scaling::half ? 32 : scaling == Scaling::single16 ? 128 : 64;
  static constexpr int kMinimumAt = 32;
  static constexpr int kScalesAt = 64;
  static constexpr int kMinimaAt = 192;  // super_minimum

  // A whole number of lines, so that lines stay aligned.
  static constexpr int header_bytes(int blocks) {
    return kSuper ? 320 : (blocks * kHeaderStride + kLineBytes - 1) / kLineBytes * kLineBytes;
  }
  static constexpr int kChunkBytes = header_bytes(kChunkBlocks) + kChunkBlocks * kBlockBytes;
  static constexpr int64_t panel_bytes(int64_t cols) {
    const int rest = static_cast<int>(cols % kChunkCols) / kBlock;
    return cols / kChunkCols * kChunkBytes + header_bytes(rest) * (rest != 0) + rest * kBlockBytes;
  }
};

// The chunks of a panel, one after the other.
//   for (ChunkCursor<P> at(panel, cols); at.more(); at.next()) …
template <class P>
struct ChunkCursor {
  const std::byte* chunk = nullptr;
  int64_t col = 0, cols = 0;

  ChunkCursor() = default;
  ChunkCursor(const std::byte* panel, int64_t all_cols) : chunk(panel), cols(all_cols) {}
  bool more() const { return col < cols; }
  int blocks() const { return static_cast<int>(std::min<int64_t>(kChunkBlocks, (cols - col) / kBlock)); }
  const std::byte* codes() const { return chunk + P::header_bytes(blocks()); }
  void next() {
    chunk += P::kChunkBytes;
    col += kChunkCols;
  }
};

using PanelQ4_0 = BlockPanel<DType::q4_0, BlockQ4_0, 4, 8, Scaling::half>;
using PanelQ4_1 = BlockPanel<DType::q4_1, BlockQ4_1, 4, 0, Scaling::half_minimum>;
using PanelQ5_0 = BlockPanel<DType::q5_0, BlockQ5_0, 5, 16, Scaling::half>;
using PanelQ5_1 = BlockPanel<DType::q5_1, BlockQ5_1, 5, 0, Scaling::half_minimum>;
using PanelQ8_0 = BlockPanel<DType::q8_0, BlockQ8_0, 8, 128, Scaling::half>;
using PanelQ2K = BlockPanel<DType::q2_k, BlockQ2K, 2, 0, Scaling::super_nibble16>;
using PanelQ3K = BlockPanel<DType::q3_k, BlockQ3K, 3, 4, Scaling::super_signed16>;
using PanelQ4K = BlockPanel<DType::q4_k, BlockQ4K, 4, 0, Scaling::super_minimum>;
using PanelQ5K = BlockPanel<DType::q5_k, BlockQ5K, 5, 0, Scaling::super_minimum>;
using PanelQ6K = BlockPanel<DType::q6_k, BlockQ6K, 6, 32, Scaling::super_signed16>;

// Bytes as they are with a float scale: what all types that are a scale times a small whole number become
// (coded_blocks.h). They may take more memory than the file; File is none.
struct CodedFile {};
using PanelCoded32 = BlockPanel<DType::i8, CodedFile, 8, 128, Scaling::single>;
using PanelCoded16 = BlockPanel<DType::i8, CodedFile, 8, 128, Scaling::single16>;

// Whole chunks cost what the file costs, or a little more where 6-bit scales are widened.
static_assert(PanelQ4_0::kChunkBytes == 16 * 8 * sizeof(BlockQ4_0));
static_assert(PanelQ5_1::kChunkBytes == 16 * 8 * sizeof(BlockQ5_1));
static_assert(PanelQ8_0::kChunkBytes == 16 * 8 * sizeof(BlockQ8_0));
static_assert(PanelQ2K::kChunkBytes == 16 * sizeof(BlockQ2K));
static_assert(PanelQ4K::kChunkBytes == 16 * sizeof(BlockQ4K) + 64);
static_assert(PanelQ6K::kChunkBytes == 16 * sizeof(BlockQ6K) + 32);

// Every type that facet packs, without its two multiplications: packing is the same in every tier (panel_pack.cc).
std::span<const PanelType> packings();

}  // namespace facet::kernels
