// Quantised files beside copies of themselves whose tensors are the values of the blocks as F32: in float arithmetic
// both compute the same bits, since a product takes a block's value as one float, column by column, as it takes an F32
// weight (docs/row-law.md).
#pragma once

#include <set>
#include <string>

#include "convert/convert.h"
#include "convert/quantize.h"
#include "support/golden_models.h"

namespace facet::testing {

// Quantises a GGUF file; every matrix to the type that the file type is named after, or the next that fits its rows.
inline void quantise_purely(const std::filesystem::path& in, const std::filesystem::path& out, convert::FileType type) {
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(in);
  ASSERT_OK(checkpoint);
  ThreadPool pool(2);
  ASSERT_OK(convert::quantize(
      *checkpoint, out,
      {.recipe = {.file = type, .pure = true}, .allow_requantize = true, .overwrite = convert::Overwrite::yes}, pool));
}

inline std::set<DType> types_of(const std::filesystem::path& file) {
  std::set<DType> types;
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(file);
  EXPECT_OK(checkpoint);
  if (checkpoint.ok())
    for (const formats::TensorInfo& tensor : checkpoint->tensors()) types.insert(tensor.type);
  return types;
}

// What a file computes of a golden's case in float arithmetic: every tap.
inline engine::TraceReport taps_of(const std::filesystem::path& file, const GoldenModel& golden,
                                   const std::string& case_name, kernels::Isa isa) {
  engine::TraceOptions options;
  options.golden = golden.golden;
  options.case_name = case_name;
  options.skip = false;
  options.isa = isa;
  Result<engine::TraceReport> report = engine::trace(file, options);
  EXPECT_OK(report);
  return report.ok() ? *std::move(report) : engine::TraceReport();
}

// Whether a quantised file and its copy of floats have the same taps, bit for bit.
inline void expect_same_as_own_floats(const std::filesystem::path& file, const GoldenModel& golden,
                                      const std::string& case_name, std::span<const kernels::Table> tiers) {
  const TemporaryFolder folder;
  const std::filesystem::path floats = folder.path() / "floats.gguf";
  quantise_purely(file, floats, convert::FileType::f32);
  for (const DType type : types_of(floats)) EXPECT_EQ(info(type).block, 1) << name(type);
  for (const kernels::Table& table : tiers)
    EXPECT_EQ(
        first_difference(taps_of(file, golden, case_name, table.isa), taps_of(floats, golden, case_name, table.isa)),
        "")
        << golden.name << ' ' << file.filename() << ' ' << kernels::name(table.isa);
}

// The same of a golden folder, quantised to every type that facet writes. Returns the block types that were met.
inline std::set<DType> expect_every_type_same_as_own_floats(const GoldenModel& golden,
                                                            std::span<const kernels::Table> tiers) {
  const TemporaryFolder folder;
  const std::filesystem::path source = folder.path() / "source.gguf", file = folder.path() / "quantised.gguf";
  EXPECT_OK(convert::convert(golden.model, source, {.type = DType::f32}));
  const engine::TraceReport original = taps_of(source, golden, "prefill", kernels::best_table().isa);
  std::set<DType> met;
  for (const convert::FileTypeInfo& type : convert::file_types()) {
    if (type.type == convert::FileType::q2_k_s || type.type == convert::FileType::f32) continue;  // needs importance
    quantise_purely(source, file, type.type);
    met.merge(types_of(file));
    expect_same_as_own_floats(file, golden, "prefill", tiers);
    if (info(type.base).block == 1) continue;  // BF16 of what is stored in it loses nothing
    EXPECT_NE(first_difference(original, taps_of(file, golden, "prefill", kernels::best_table().isa)), "")
        << golden.name << ' ' << type.name << ": nothing was quantised";
  }
  return met;
}

}  // namespace facet::testing
