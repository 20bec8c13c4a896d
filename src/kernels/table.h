// The kernel table: everything a tier (instruction-set level) must provide. Adding a kernel starts with a line here and
// its scalar twin. Kernels are loops on raw arrays: no allocation, no threads, no errors, no libm.
//
// Row law (docs/row-law.md). For each output element there is one float accumulator over ascending k. In integer
// arithmetic, per scale block: acc = fma(float(isum), w * a, acc), where isum is the exact integer sum (bias
// corrections included), w the weight block's scale as one f32 rounded once, a the activation block's scale; a minimum
// m follows as acc = fma(-m, a * float(asum), acc). In float arithmetic: acc = fma(w[k], x[k], acc). Calls for one row
// and for many rows give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/quantize.h"
#include "tensor/dtype.h"
#include "tensor/logits.h"

namespace facet::kernels {

enum class Isa : uint8_t { scalar, avx2, avx512 };
const char* name(Isa isa);
std::optional<Isa> isa_named(std::string_view name);

inline constexpr int kPanelRows = 16;  // rows of a packed panel
inline constexpr int kBlock = 32;      // activations that share one int8 scale
inline constexpr int kSubBlock = 16;   // granularity of activation sums (types with 16-wide scales need it)

// Panels that hold so many rows.
constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

// Which forms of an activation row a multiplication reads.
enum Form : uint8_t { kFormF32 = 1, kFormQ8 = 2, kFormBf16 = 4 };

// Activation rows in the forms that were prepared; forms that were not are null. Row r starts r * stride_… elements on.
struct ActivationRows {
  const float* f32 = nullptr;
  int64_t stride_f32 = 0;
  const int8_t* q8 = nullptr;  // codes in -127…127, padded with zeros to a multiple of kBlock
  int64_t stride_q8 = 0;
  const float* scale = nullptr;  // one per kBlock: x ≈ scale * code
  int64_t stride_scale = 0;
  const int32_t* sums = nullptr;  // one per kSubBlock: sum of its codes
  int64_t stride_sums = 0;
  const uint16_t* bf16 = nullptr;  // padded with zero to an even number
  int64_t stride_bf16 = 0;
  const int32_t* index = nullptr;  // row m of the call is row index[m] here; null: row m
};

// How one weight type is packed and multiplied. A panel is 16 consecutive rows, whole width, missing rows zero.
struct PanelType {
  DType type;
  Form fast_form;  // what multiply_fast reads
  int64_t (*panel_bytes)(int64_t cols);
  // n_rows <= 16 rows in file layout, stride bytes apart.
  void (*pack)(std::byte* panel, const std::byte* rows, int64_t stride, int n_rows, int64_t cols);
  // The exact values: 16 rows, stride floats apart.
  void (*unpack)(float* rows, int64_t stride, const std::byte* panel, int64_t cols);
  // y[m * y_stride + 16 p + 0…15] = panel p · row m of x, for p < n_panels consecutive panels and m < n. Any n and
  // n_panels >= 0. Always writes 16 outputs a row and panel.
  using Multiply = void (*)(float* y, int64_t y_stride, const std::byte* panels, int64_t n_panels,
                            const ActivationRows& x, int64_t n, int64_t cols);
  Multiply multiply_f32, multiply_fast;
};

// Storage of one KV head's keys and values in one block of 64 positions: kv_layout.h, docs/attention.md.
inline constexpr int kKvBlockKeys = 64;
inline constexpr int kKvGroupKeys = 512;  // the online softmax restarts at every absolute group (row law)

// Running state of one query head over one group of keys: largest score, sum of exponentials, weighted values acc[D].
struct SoftmaxState {
  float max, sum;
};

struct KvType {
  DType type;  // f32, f16, bf16, i8: codes of 8 bits and a scale for each position
  // Keys and values are meant to be stored turned by Table::hadamard, and queries to meet them turned; so outputs have
  // to be turned back. The caller turns: no function below does.
  bool rotates = false;
  int64_t (*block_bytes)(int64_t head_dim);  // K or V, one KV head
  // Stores one position (0…63) of a block.
  void (*store_k)(std::byte* block, int position, const float* k, int64_t head_dim);
  void (*store_v)(std::byte* block, int position, const float* v, int64_t head_dim);
  // Reads one position back as float.
  void (*load_k)(float* k, const std::byte* block, int position, int64_t head_dim);
  void (*load_v)(float* v, const std::byte* block, int position, int64_t head_dim);
  // Makes the values of positions first…63 zero.
  void (*zero_v)(std::byte* block, int first, int64_t head_dim);
  // scores[q * 64 + key] = scale * (query q · key), for n queries q_stride floats apart. All 64 keys. Null in i8.
  void (*scores)(float* scores, const float* q, int64_t q_stride, int64_t n, const std::byte* k_block, int64_t head_dim,
                 float scale);
  // acc[q * acc_stride + d] = fma over the 64 keys in ascending order of p[q * 64 + key] * value[key][d].
  // i8: w = p * scale of the value, t = max w / 32767, acc = fma(float(Σ round(w / t) * code), t, acc); the sum is
  // exact.
  void (*accumulate)(float* acc, int64_t acc_stride, const float* p, int64_t n, const std::byte* v_block,
                     int64_t head_dim);
  // The same for queries and probabilities in bf16, in twos, as the processor multiplies them: an odd position first.
  // Zero-padded: a query to head_dim rounded up to an even number. For fast arithmetic; null where the tier has no such
  // products or the type is not bf16.
  void (*scores_bf16)(float* scores, const uint16_t* q, int64_t q_stride, int64_t n, const std::byte* k_block,
                      int64_t head_dim, float scale) = nullptr;
  void (*accumulate_bf16)(float* acc, int64_t acc_stride, const uint16_t* p, int64_t n, const std::byte* v_block,
                          int64_t head_dim) = nullptr;
  // i8, null in the others: a query becomes codes of 16 bits once, coded_query_bytes(head_dim) (kv_layout.h) in the
  // tier's own order, by s = max|q| / query_code_max(head_dim); then, of n queries `stride` bytes apart,
  // scores[q * 64 + key] = float(Σ code * key's code) * (key's scale * (s * scale)). The sum is exact.
  void (*code_query)(std::byte* coded, const float* q, int64_t head_dim) = nullptr;
  void (*scores_coded)(float* scores, const std::byte* coded, int64_t stride, int64_t n, const std::byte* k_block,
                       int64_t head_dim, float scale) = nullptr;
};

inline constexpr float kSoftcapError = 10 * 0x1p-24f;  // of softcap, relative: the head leans on it

struct Table {
  Isa isa;
  std::span<const PanelType> panels;
  std::span<const KvType> kv_types;
  std::span<const QuantizeType> quantizers;
  // nullptr: the type cannot be packed / stored / written.
  const PanelType* panel(DType type) const;
  const KvType* kv(DType type) const;
  const QuantizeType* quantizer(DType type) const;

  // --- one row each, n values; y may be x unless said ---
  // y = x * (mean(x²) + eps)^(-1/2) (* w where w is not null).
  void (*rms_norm)(float* y, const float* x, const float* w, int64_t n, float eps);
  // y = gelu_tanh(gate) * up.
  void (*gelu_times)(float* y, const float* gate, const float* up, int64_t n);
  // y = cap * tanh(x / cap), within kSoftcapError of its size.
  void (*softcap)(float* y, const float* x, int64_t n, float cap);
  // Probabilities of n logits, in place; exp(0) is exactly 1.
  void (*softmax)(float* x, int64_t n);
  // Rotates one head of n values: component j with j + n/2, by angles whose cosines and sines are given, n/2 each.
  void (*rope)(float* y, const float* x, const float* cosine, const float* sine, int64_t n);
  // Turns x by orthonormal Hadamard matrices (Sylvester's order), in place: as many values as the largest power of two
  // that fits, then as many of the rest, … (48 = 32 + 16). Twice gives x again.
  void (*hadamard)(float* x, int64_t n);
  // y += x; y = fma(s, x, y); y *= s; y *= x. dot: Σ a[i] b[i].
  void (*add)(float* y, const float* x, int64_t n);
  void (*add_scaled)(float* y, const float* x, float s, int64_t n);
  void (*scale)(float* y, float s, int64_t n);
  void (*multiply)(float* y, const float* x, int64_t n);
  float (*dot)(const float* a, const float* b, int64_t n);
  // maxima[b] = the largest of x[64 b] … x[64 b + 63], of fewer at the end; NaN where one of them is NaN.
  void (*block_maxima)(float* maxima, const float* x, int64_t n);
  // total_weight() of tensor/logits.h: n values, a bit each in `set`. The same bits in every tier.
  double (*total_weight)(const float* x, const uint64_t* set, int64_t n, float max, double scale);
  // log(Σ exp(x)) of n logits: for log-probabilities.
  float (*log_sum_exp)(const float* x, int64_t n);

  // --- forms of activations ---
  // int8 codes of n values (n padded to 32 with zeros), per 32: scale = max|x| / 127, code = nearest-even(x / scale).
  void (*quantize_q8)(int8_t* codes, float* scales, int32_t* sums, const float* x, int64_t n);
  void (*round_bf16)(uint16_t* y, const float* x, int64_t n);  // nearest even; pads to even n with zero

  // --- attention over one block of 64 keys ---
  // For each of n queries: masks scores outside [begin[q], end[q]) (positions in the block, 0…64), then
  // m' = max(m, max score); p = exp(s - m'); sum = sum * exp(m - m') + Σp; acc *= exp(m - m'). A query that sees no key
  // of the block keeps its state untouched and gets p = 0 exactly.
  void (*softmax_step)(float* scores_to_p, SoftmaxState* state, float* acc, int64_t acc_stride, const int* begin,
                       const int* end, int64_t n, int64_t head_dim);
  // Folds a later group (state b, acc_b) into an earlier one (state a, acc_a), in place.
  void (*softmax_fold)(SoftmaxState* a, float* acc_a, const SoftmaxState* b, const float* acc_b, int64_t head_dim);
};

const Table& best_table();               // the best this processor can run; --isa overrides it
std::span<const Table> usable_tables();  // scalar first; what the tests walk over
const Table* table_of(Isa isa);          // nullptr: this processor cannot run it

// Exact value of each element of n elements in file layout (spec: quantization.md 2–4). Any tier, any type that facet
// reads; requires can_dequantize(type) and n a multiple of the block.
bool can_dequantize(DType type);
void dequantize(DType type, float* y, const std::byte* x, int64_t n);

}  // namespace facet::kernels
