#include "support/checkpoint_builder.h"

#include <array>
#include <fstream>

#include "base/check.h"
#include "base/json.h"
#include "base/strings.h"

namespace facet::testing {
namespace {

void append_bytes(ByteVector& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void append_text(ByteVector& out, std::string_view text) {
  append_number(out, static_cast<uint64_t>(text.size()));
  append_bytes(out, as_bytes(text));
}

void pad(ByteVector& out, uint64_t alignment) {
  while (out.size() % alignment != 0) out.push_back(std::byte{0});
}

}  // namespace

ByteVector as_vector(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

ByteVector floats_as_bytes(std::span<const float> values) {
  const Bytes bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

void write_bytes(const std::filesystem::path& path, Bytes bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  const std::string_view text = as_text(bytes);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  FACET_CHECK(out.good());
}

GgufBuilder& GgufBuilder::text(std::string_view key, std::string_view value) {
  ByteVector bytes;
  append_text(bytes, value);
  return pair(key, formats::GgufType::string, bytes);
}

GgufBuilder& GgufBuilder::texts(std::string_view key, std::span<const std::string> values) {
  ByteVector bytes;
  append_number(bytes, static_cast<uint32_t>(formats::GgufType::string));
  append_number(bytes, static_cast<uint64_t>(values.size()));
  for (const std::string& value : values) append_text(bytes, value);
  return pair(key, formats::GgufType::array, bytes);
}

GgufBuilder& GgufBuilder::pair(std::string_view key, formats::GgufType type, Bytes value) {
  append_text(pairs_, key);
  append_number(pairs_, static_cast<uint32_t>(type));
  append_bytes(pairs_, value);
  ++n_pairs_;
  return *this;
}

GgufBuilder& GgufBuilder::tensor(std::string name, DType type, std::vector<int64_t> shape, Bytes bytes) {
  pad(data, alignment);
  records.push_back({.name = std::move(name),
                     .dims = {shape.rbegin(), shape.rend()},
                     .type = info(type).ggml_id,
                     .offset = data.size()});
  append_bytes(data, bytes);
  return *this;
}

ByteVector GgufBuilder::bytes() const {
  ByteVector out = as_vector("GGUF");
  append_number(out, version);
  append_number(out, static_cast<int64_t>(records.size()) + more_tensors);
  append_number(out, n_pairs_ + more_pairs);
  append_bytes(out, pairs_);
  for (const Record& record : records) {
    append_text(out, record.name);
    append_number(out, static_cast<uint32_t>(record.dims.size()));
    for (const int64_t dim : record.dims) append_number(out, dim);
    append_number(out, record.type);
    append_number(out, record.offset);
  }
  if (!records.empty()) pad(out, alignment);
  append_bytes(out, data);
  return out;
}

SafetensorsBuilder& SafetensorsBuilder::tensor(std::string_view name, DType type, std::span<const int64_t> shape,
                                               Bytes data) {
  const size_t begin = data_.size();
  append_bytes(data_, data);
  entries_ +=
      cat(entries_.empty() ? "" : ", ", Json(std::string(name)).dump(), R"(: {"dtype": ")", info(type).safetensors,
          R"(", "shape": )", list(shape), R"(, "data_offsets": )", list(std::array{begin, data_.size()}), "}");
  return *this;
}

SafetensorsBuilder& SafetensorsBuilder::floats(std::string_view name, std::vector<int64_t> shape,
                                               std::span<const float> values) {
  return tensor(name, DType::f32, shape, std::as_bytes(values));
}

ByteVector SafetensorsBuilder::bytes() const { return file(cat("{", entries_, "}"), data_); }

ByteVector SafetensorsBuilder::file(std::string_view header, Bytes data) {
  ByteVector out;
  append_text(out, header);
  append_bytes(out, data);
  return out;
}

}  // namespace facet::testing
