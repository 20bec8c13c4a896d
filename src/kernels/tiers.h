// What each tier's files contribute to its table. dispatch.cc puts the tables together.
#pragma once

#include "kernels/table.h"

namespace facet::kernels {

namespace scalar {
std::span<const PanelType> panel_types();        // scalar_panels.cc
void add_row_kernels(Table& table);              // scalar_rows.cc: norms, activations' forms, elementwise
void add_attention_kernels(Table& table);        // scalar_attention.cc: kv_types, softmax_step, softmax_fold
std::span<const QuantizeType> quantize_types();  // scalar_quantize.cc
}  // namespace scalar

namespace avx2 {
std::span<const PanelType> panel_types();
void add_row_kernels(Table& table);
void add_attention_kernels(Table& table);
std::span<const QuantizeType> quantize_types();
}  // namespace avx2

namespace avx512 {
std::span<const PanelType> panel_types();
void add_row_kernels(Table& table);
void add_attention_kernels(Table& table);
std::span<const QuantizeType> quantize_types();
}  // namespace avx512

}  // namespace facet::kernels
