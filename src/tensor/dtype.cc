#include "tensor/dtype.h"

#include <algorithm>
#include <cctype>

#include "base/check.h"

namespace facet {
namespace {

using enum DType;

// In the order of the enumeration.
constexpr DTypeInfo kTypes[] = {
    {f32, "F32", 0, "F32", 1, 4},
    {f16, "F16", 1, "F16", 1, 2},
    {bf16, "BF16", 30, "BF16", 1, 2},
    {f64, "F64", 28, "F64", 1, 8},
    {i8, "I8", 24, "I8", 1, 1},
    {i16, "I16", 25, "I16", 1, 2},
    {i32, "I32", 26, "I32", 1, 4},
    {i64, "I64", 27, "I64", 1, 8},
    {u8, "U8", -1, "U8", 1, 1},
    {u16, "U16", -1, "U16", 1, 2},
    {u32, "U32", -1, "U32", 1, 4},
    {u64, "U64", -1, "U64", 1, 8},
    {boolean, "BOOL", -1, "BOOL", 1, 1},
    {q4_0, "Q4_0", 2, nullptr, 32, 18},
    {q4_1, "Q4_1", 3, nullptr, 32, 20},
    {q5_0, "Q5_0", 6, nullptr, 32, 22},
    {q5_1, "Q5_1", 7, nullptr, 32, 24},
    {q8_0, "Q8_0", 8, nullptr, 32, 34},
    {q2_k, "Q2_K", 10, nullptr, 256, 84},
    {q3_k, "Q3_K", 11, nullptr, 256, 110},
    {q4_k, "Q4_K", 12, nullptr, 256, 144},
    {q5_k, "Q5_K", 13, nullptr, 256, 176},
    {q6_k, "Q6_K", 14, nullptr, 256, 210},
    {iq1_s, "IQ1_S", 19, nullptr, 256, 50},
    {iq1_m, "IQ1_M", 29, nullptr, 256, 56},
    {iq2_xxs, "IQ2_XXS", 16, nullptr, 256, 66},
    {iq2_xs, "IQ2_XS", 17, nullptr, 256, 74},
    {iq2_s, "IQ2_S", 22, nullptr, 256, 82},
    {iq3_xxs, "IQ3_XXS", 18, nullptr, 256, 98},
    {iq3_s, "IQ3_S", 21, nullptr, 256, 110},
    {iq4_nl, "IQ4_NL", 20, nullptr, 32, 18},
    {iq4_xs, "IQ4_XS", 23, nullptr, 256, 136},
    {mxfp4, "MXFP4", 39, nullptr, 32, 17},
    {nvfp4, "NVFP4", 40, nullptr, 64, 36},
    {tq1_0, "TQ1_0", 34, nullptr, 256, 54},
    {tq2_0, "TQ2_0", 35, nullptr, 256, 66},
    {q1_0, "Q1_0", 41, nullptr, 128, 18},
    {q2_0, "Q2_0", 42, nullptr, 64, 18},
};

template <class Match>
std::optional<DType> first(Match match) {
  for (const DTypeInfo& type : kTypes)
    if (match(type)) return type.type;
  return std::nullopt;
}

}  // namespace

const DTypeInfo& info(DType type) {
  const DTypeInfo& found = kTypes[static_cast<size_t>(type)];
  FACET_DCHECK(found.type == type);
  return found;
}

std::span<const DTypeInfo> all_dtypes() { return kTypes; }

std::optional<DType> dtype_of_ggml(int64_t id) {
  return first([&](const DTypeInfo& type) { return type.ggml_id >= 0 && type.ggml_id == id; });
}

std::optional<DType> dtype_of_safetensors(std::string_view name) {
  return first([&](const DTypeInfo& type) { return type.safetensors != nullptr && name == type.safetensors; });
}

std::optional<DType> dtype_named(std::string_view name) {
  return first([&](const DTypeInfo& type) {
    return std::ranges::equal(name, std::string_view(type.name), [](char a, char b) {
      return std::toupper(static_cast<unsigned char>(a)) == std::toupper(static_cast<unsigned char>(b));
    });
  });
}

}  // namespace facet
