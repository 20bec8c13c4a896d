#include "support/kernel_tables.h"

#include <vector>

namespace facet::kernels::avx512_emulated {
std::span<const PanelType> panel_types();
void add_row_kernels(Table& table);
void add_attention_kernels(Table& table);
std::span<const QuantizeType> quantize_types();
}  // namespace facet::kernels::avx512_emulated

namespace facet::testing {

using kernels::Table;

std::span<const Table> kernel_tables() {
  static const std::vector<Table> tables = [] {
    std::vector<Table> all(kernels::usable_tables().begin(), kernels::usable_tables().end());
#if defined(FACET_HAVE_EMULATED_AVX512)
    Table emulated{};
    emulated.isa = kernels::Isa::avx512;
    emulated.panels = kernels::avx512_emulated::panel_types();
    kernels::avx512_emulated::add_row_kernels(emulated);
    kernels::avx512_emulated::add_attention_kernels(emulated);
    emulated.quantizers = kernels::avx512_emulated::quantize_types();
    all.push_back(emulated);
#endif
    return all;
  }();
  return tables;
}

bool is_emulated(const Table& table) {
#if defined(FACET_HAVE_EMULATED_AVX512)
  return &table == &kernel_tables().back();
#else
  static_cast<void>(table);
  return false;
#endif
}

}  // namespace facet::testing
