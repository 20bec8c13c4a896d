#include "engine/golden_case.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "formats/checkpoint.h"
#include "kernels/table.h"

namespace facet::engine {
namespace {

namespace fs = std::filesystem;

template <class T>
std::vector<int64_t> integers_of(Bytes bytes) {
  std::vector<int64_t> out(bytes.size() / sizeof(T));
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<int64_t>(value);
  }
  return out;
}

Result<GoldenTensor> read_tensor(const formats::Checkpoint& file, const formats::TensorInfo& info) {
  GoldenTensor tensor;
  tensor.shape = info.shape;
  const Bytes bytes = file.bytes(info);
  tensor.is_integer = true;
  switch (info.type) {
    case DType::i32: tensor.integers = integers_of<int32_t>(bytes); return tensor;
    case DType::i64: tensor.integers = integers_of<int64_t>(bytes); return tensor;
    case DType::u8:
    case DType::boolean: tensor.integers = integers_of<uint8_t>(bytes); return tensor;
    default: break;
  }
  tensor.is_integer = false;
  if (is_block_type(info.type) || !kernels::can_dequantize(info.type)) {
    return Error{.code = ErrorCode::unsupported,
                 .what = "type of a golden tensor is not known",
                 .where = cat(file.path(), ": ", info.name),
                 .expected = "F32, F64, F16, BF16, I32, I64, U8 or BOOL",
                 .found = name(info.type)};
  }
  tensor.floats.resize(static_cast<size_t>(info.elements()));
  kernels::dequantize(info.type, tensor.floats.data(), bytes.data(), info.elements());
  return tensor;
}

Result<void> read_file_into(const fs::path& path, std::vector<GoldenCase>& cases) {
  FACET_TRY(const formats::Checkpoint file, formats::Checkpoint::open(path));
  const std::string stem = path.stem().string();
  const bool one_case = stem.starts_with("case-");
  std::map<std::string, GoldenCase> found;
  for (const formats::TensorInfo& info : file.tensors()) {
    const size_t dot = info.name.find('.');
    if (!one_case && dot == std::string::npos) continue;  // of no case
    const std::string case_name = one_case ? stem.substr(5) : info.name.substr(0, dot);
    const std::string tap = one_case ? info.name : info.name.substr(dot + 1);
    FACET_TRY(GoldenTensor tensor, read_tensor(file, info));
    found[case_name].tensors.emplace(tap, std::move(tensor));
  }
  for (auto& [name, golden] : found) {
    golden.name = name;
    cases.push_back(std::move(golden));
  }
  return {};
}

}  // namespace

const GoldenTensor* GoldenCase::find(const std::string& tap) const {
  const auto found = tensors.find(tap);
  return found == tensors.end() ? nullptr : &found->second;
}

Result<std::vector<GoldenCase>> read_golden_cases(const fs::path& path) {
  std::vector<GoldenCase> cases;
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    FACET_TRY_VOID(read_file_into(path, cases));
  } else {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(path, error)) {
      const std::string name = entry.path().filename().string();
      if (name == "golden.safetensors" || (name.starts_with("case-") && name.ends_with(".safetensors")))
        files.push_back(entry.path());
    }
    std::ranges::sort(files);
    for (const fs::path& file : files) FACET_TRY_VOID(read_file_into(file, cases));
  }
  if (cases.empty()) {
    return Error{.code = ErrorCode::not_found,
                 .what = "no golden cases",
                 .where = path.string(),
                 .expected = "golden.safetensors or case-*.safetensors, with tensors named CASE.TAP",
                 .found = "none"};
  }
  return cases;
}

}  // namespace facet::engine
