// A Hugging Face folder to a GGUF file.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "convert/convert.h"
#include "convert/metadata.h"
#include "convert/recipes.h"
#include "convert/sources.h"
#include "convert/vocabulary.h"
#include "formats/gguf.h"
#include "model/tensor_names.h"
#include "tokenizer/tokenizer.h"

namespace facet::convert {
namespace {

namespace fs = std::filesystem;
using formats::GgufPairs;

constexpr uint64_t kMaxText = uint64_t{64} << 20;
constexpr uint32_t kQuantizationVersion = 2;

// The folder's name; of a snapshot in the hub's cache, models--OWNER--NAME/snapshots/COMMIT, the model's.
std::string name_of(const fs::path& folder) {
  std::error_code ignored;
  fs::path path = fs::weakly_canonical(folder, ignored);
  if (!path.has_filename()) path = path.parent_path();
  const std::string repository = path.parent_path().parent_path().filename().string();
  const size_t cut = repository.rfind("--");
  const bool cached = path.parent_path().filename() == "snapshots" && repository.starts_with("models--");
  return cached && cut != repository.npos ? repository.substr(cut + 2) : path.filename().string();
}

// The type in the file of a tensor that is stored as `source`.
DType file_type_of(Role role, DType source, std::optional<DType> asked) {
  const bool usual = source == DType::f32 || source == DType::f16 || source == DType::bf16;
  const DType kept = usual ? source : DType::f32;
  switch (role) {
    case Role::vector:
    case Role::norm: return DType::f32;
    case Role::token_order: return source;
    case Role::context: return asked == DType::f16 ? DType::bf16 : asked.value_or(kept);
    case Role::matrix: break;
  }
  return asked.value_or(kept);
}

class ToGguf {
 public:
  ToGguf(const formats::Checkpoint& in, const ConvertOptions& options) : in_(in), options_(options) {}

  Result<Converted> run(const fs::path& out) {
    FACET_TRY(config_, read_any_config(in_));
    if (config_.name.empty()) config_.name = name_of(in_.path());
    FACET_TRY_VOID(plan());
    FACET_TRY(pairs_, config_pairs(config_));
    pairs_.set("general.file_type", static_cast<uint32_t>(main_type()));
    pairs_.set("general.quantization_version", kQuantizationVersion);
    FACET_TRY_VOID(add_tokens());
    std::vector<formats::NewTensor> tensors;
    for (const CopiedTensor& copy : copies_) tensors.push_back(copy.out);
    FACET_TRY(const auto writer, formats::new_gguf(out, pairs_, tensors, options_.split));
    FACET_TRY_VOID(check_absent(writer->paths(), options_.overwrite));
    FACET_TRY_VOID(copy_tensors(in_, copies_, *writer, options_.progress));
    FACET_TRY_VOID(writer->finish());
    return Converted{.files = writer->paths(), .remarks = std::move(remarks_)};
  }

 private:
  Result<void> plan() {
    FACET_TRY(Sources sources, Sources::of(in_, config_));
    for (const NamedTensor& tensor : tensors_of(config_)) {
      FACET_TRY(std::vector<Slice> slices, sources.find(tensor));
      if (slices.empty()) continue;
      const DType type = file_type_of(tensor.role, slices.front().tensor->type, options_.type);
      copies_.push_back({.out = {.name = tensor.gguf, .type = type, .shape = tensor.shape},
                         .from = std::move(slices),
                         .add = tensor.role == Role::norm ? static_cast<float>(config_.norm_offset) : 0.0f,
                         .made = {}});
    }
    if (std::vector<float> divisors = rope_divisors(config_); !divisors.empty()) {
      const auto bytes = std::as_bytes(std::span(divisors));
      copies_.push_back({.out = {.name = model::tensors::kRopeFactors.gguf,
                                 .type = DType::f32,
                                 .shape = {static_cast<int64_t>(divisors.size())}},
                         .from = {},
                         .made = {bytes.begin(), bytes.end()}});
    }
    FACET_TRY(std::vector<std::string> leftovers, sources.leftovers());
    std::ranges::move(leftovers, std::back_inserter(remarks_));
    return {};
  }

  // What most of the weights are.
  FileType main_type() const {
    std::map<DType, int64_t> bytes;
    for (const CopiedTensor& copy : copies_)
      if (copy.out.shape.size() > 1) bytes[copy.out.type] += copy.out.bytes();
    const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
    if (most == bytes.end() || most->first == DType::f32) return FileType::f32;
    return most->first == DType::f16 ? FileType::f16 : FileType::bf16;
  }

  // The template in a file of its own, or, in older folders, among the settings of the tokenizer.
  Result<std::optional<std::string>> chat_template(const Json& settings) const {
    if (in_.template_file()) {
      FACET_TRY(std::string text, read_file(*in_.template_file(), kMaxText));
      return std::optional(std::move(text));
    }
    const Json* found = settings.find("chat_template");
    if (found == nullptr) return std::optional<std::string>();
    if (found->string() != nullptr) return std::optional(*found->string());
    if (found->array() != nullptr)
      for (const Json& named : *found->array()) {
        const Json *name = named.find("name"), *text = named.find("template");
        if (name != nullptr && text != nullptr && text->string() != nullptr && *name == Json("default"))
          return std::optional(*text->string());
      }
    return std::optional<std::string>();
  }

  Result<Json> tokenizer_settings() const {
    const fs::path path = in_.path() / "tokenizer_config.json";
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return Json();
    FACET_TRY(const std::string text, read_file(path, kMaxText));
    return Json::parse(text, path.string());
  }

  Result<void> add_tokens() {
    if (!in_.tokenizer_file()) {
      pairs_.set("tokenizer.ggml.model", "none");  // upstream refuses files that do not say so
      remarks_.push_back("the folder has no tokenizer.json; the file is written without a vocabulary");
      return {};
    }
    FACET_TRY(const MappedFile text, MappedFile::open(*in_.tokenizer_file()));
    tokenizer::JsonVocab vocab;
    FACET_TRY_VOID(vocab.read(as_text(text.bytes()), in_.tokenizer_file()->string()));
    tokenizer::VocabFile file = vocab.file();
    FACET_TRY(const Json settings, tokenizer_settings());
    if (const Json* adds = settings.find("add_bos_token"); adds != nullptr && adds->boolean() != nullptr)
      file.adds_bos = *adds->boolean();
    FACET_TRY(const std::optional<std::string> chat, chat_template(settings));
    if (chat) file.chat_template = *chat;
    std::string remark;
    FACET_TRY_VOID(add_vocabulary(file, config_, pairs_, remark));
    if (!remark.empty()) remarks_.push_back(std::move(remark));
    return check_tokens();
  }

  // What is about to be written opens as a vocabulary.
  Result<void> check_tokens() const {
    const std::vector<std::byte> bytes = formats::gguf_header(pairs_, {}, 1);
    const auto source = formats::memory_source(in_.tokenizer_file()->string(), bytes);
    FACET_TRY(const formats::GgufFile file, formats::read_gguf(*source));
    FACET_TRY_VOID(tokenizer::Tokenizer::from_gguf(file.metadata, source->name()));
    return {};
  }

  const formats::Checkpoint& in_;
  const ConvertOptions& options_;
  model::Config config_;
  std::vector<CopiedTensor> copies_;
  GgufPairs pairs_;
  std::vector<std::string> remarks_;
};

}  // namespace

Result<Converted> to_gguf(const formats::Checkpoint& in, const fs::path& out, const ConvertOptions& options) {
  return ToGguf(in, options).run(out);
}

}  // namespace facet::convert
