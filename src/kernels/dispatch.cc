// Which tiers this processor can run, decided once.
#include <algorithm>
#include <array>
#include <cctype>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels/tiers.h"

namespace facet::kernels {
namespace {

struct Tier {
  Isa isa;
  const char* name;
  bool usable;
  std::span<const PanelType> (*panel_types)();
  void (*add_row_kernels)(Table&);
  void (*add_attention_kernels)(Table&);
  std::span<const QuantizeType> (*quantize_types)();
};

#if defined(__x86_64__)
// clang 14 does not take "f16c" as a name. The system saves the registers where avx2 is usable.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

// A tier is a cluster of features, not one flag.
bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#else
  return false;
#endif
}

bool has_avx512() {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

// Scalar first, then upwards.
const std::array<Tier, 3>& tiers() {
  static const std::array<Tier, 3> all = {{
      {Isa::scalar, "scalar", true, scalar::panel_types, scalar::add_row_kernels, scalar::add_attention_kernels,
       scalar::quantize_types},
      {Isa::avx2, "avx2", has_avx2(), avx2::panel_types, avx2::add_row_kernels, avx2::add_attention_kernels,
       avx2::quantize_types},
      {Isa::avx512, "avx512", has_avx512(), avx512::panel_types, avx512::add_row_kernels, avx512::add_attention_kernels,
       avx512::quantize_types},
  }};
  return all;
}

struct Tables {
  std::array<Table, 3> table{};
  size_t n = 0;
};

const Tables& tables() {
  static const Tables made = [] {
    Tables t;
    for (const Tier& tier : tiers()) {
      if (!tier.usable) continue;
      Table& table = t.table[t.n++];
      table.isa = tier.isa;
      table.panels = tier.panel_types();
      table.quantizers = tier.quantize_types();
      tier.add_row_kernels(table);
      tier.add_attention_kernels(table);
    }
    return t;
  }();
  return made;
}

template <class T>
const T* of_type(std::span<const T> items, DType type) {
  const auto found = std::ranges::find(items, type, &T::type);
  return found == items.end() ? nullptr : &*found;
}

}  // namespace

const char* name(Isa isa) { return tiers()[static_cast<size_t>(isa)].name; }

std::optional<Isa> isa_named(std::string_view name) {
  for (const Tier& tier : tiers())
    if (name == tier.name) return tier.isa;
  return std::nullopt;
}

const PanelType* Table::panel(DType type) const { return of_type(panels, type); }
const KvType* Table::kv(DType type) const { return of_type(kv_types, type); }
const QuantizeType* Table::quantizer(DType type) const { return of_type(quantizers, type); }

std::span<const Table> usable_tables() { return {tables().table.data(), tables().n}; }
const Table& best_table() { return usable_tables().back(); }

const Table* table_of(Isa isa) {
  for (const Table& table : usable_tables())
    if (table.isa == isa) return &table;
  return nullptr;
}

}  // namespace facet::kernels
