// Element and block types of weights and activations: names, numbers in GGUF files, sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace facet {

// Block types store `block` consecutive elements of a row in `bytes` bytes (spec: ggml's type table).
enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i8,
  i16,
  i32,
  i64,
  u8,
  u16,
  u32,
  u64,
  boolean,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq1_s,
  iq1_m,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq3_xxs,
  iq3_s,
  iq4_nl,
  iq4_xs,
  mxfp4,
  nvfp4,
  tq1_0,
  tq2_0,
  q1_0,
  q2_0,
};

struct DTypeInfo {
  DType type;
  const char* name;         // "Q4_K", as people write it
  int ggml_id;              // number in GGUF files; -1: not a GGUF type. Do not renumber.
  const char* safetensors;  // name in safetensors files; nullptr: not one
  int block;                // elements a block
  int bytes;                // bytes a block
};

const DTypeInfo& info(DType type);
inline const char* name(DType type) { return info(type).name; }
std::span<const DTypeInfo> all_dtypes();

std::optional<DType> dtype_of_ggml(int64_t id);
std::optional<DType> dtype_of_safetensors(std::string_view name);
std::optional<DType> dtype_named(std::string_view name);  // any case

// Bytes of a row of n elements. Requires n to be a multiple of the block.
inline int64_t row_bytes(DType type, int64_t n) { return n / info(type).block * info(type).bytes; }
// A type whose block is larger than one element: multiplied as integers in `fast` arithmetic.
inline bool is_block_type(DType type) { return info(type).block > 1; }

}  // namespace facet
