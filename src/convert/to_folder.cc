// A GGUF file to a Hugging Face folder.
#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "convert/convert.h"
#include "convert/metadata.h"
#include "convert/sources.h"
#include "convert/vocabulary.h"
#include "kernels/table.h"
#include "model/tensor_names.h"
#include "tensor/half.h"
#include "tokenizer/tokenizer.h"

namespace facet::convert {
namespace {

namespace fs = std::filesystem;
using formats::TensorInfo;

constexpr const char* kPrefix = "model.";  // of the text-only classes

// Whether every value is one of the narrower type.
bool fits_exactly(const formats::Checkpoint& in, const TensorInfo& tensor, DType type) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  kernels::dequantize(tensor.type, values.data(), in.bytes(tensor).data(), tensor.elements());
  return std::ranges::all_of(values, [&](float value) {
    return value == (type == DType::bf16 ? bf16_to_float(float_to_bf16(value)) : half_to_float(float_to_half(value)));
  });
}

// A folder that is removed again unless it is kept, if it was made here.
class NewFolder {
 public:
  explicit NewFolder(fs::path path) : path_(std::move(path)) {
    std::error_code ignored;
    made_ = !fs::exists(path_, ignored);
  }
  ~NewFolder() {
    std::error_code ignored;
    if (made_) fs::remove(path_, ignored);  // only where it is empty
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

 private:
  fs::path path_;
  bool made_ = false;
};

class ToFolder {
 public:
  ToFolder(const formats::Checkpoint& in, const ConvertOptions& options) : in_(in), options_(options) {}

  Result<Converted> run(const fs::path& out) {
    FACET_TRY(config_, read_any_config(in_));
    FACET_TRY_VOID(read_rope());
    FACET_TRY_VOID(plan());
    FACET_TRY_VOID(add_texts());
    FACET_TRY_VOID(check_folder(out));
    const NewFolder folder(out);
    std::vector<formats::NewTensor> tensors;
    for (const CopiedTensor& copy : copies_) tensors.push_back(copy.out);
    FACET_TRY(const auto writer, formats::new_safetensors(out, tensors, options_.split));
    FACET_TRY_VOID(copy_tensors(in_, copies_, *writer, options_.progress));
    FACET_TRY_VOID(finish(out, *writer));
    return Converted{.files = std::move(files_), .remarks = std::move(remarks_)};
  }

 private:
  Result<void> read_rope() {
    const TensorInfo* tensor = in_.find(model::tensors::kRopeFactors.gguf);
    if (tensor == nullptr || config_.family != model::Family::gemma4) return {};
    const std::string where = cat(in_.path(), ": ", tensor->name);
    if (!kernels::can_dequantize(tensor->type) || tensor->shape.size() != 1)
      return Error{.code = ErrorCode::unsupported, .what = "factors of rotation are no list of floats", .where = where};
    std::vector<float> divisors(static_cast<size_t>(tensor->elements()));
    kernels::dequantize(tensor->type, divisors.data(), in_.bytes(*tensor).data(), tensor->elements());
    return read_rope_divisors(divisors, where, config_);
  }

  // What most matrices become: the type of the token table, or BF16 where that has blocks.
  DType main_type() const {
    if (options_.type) return *options_.type;
    const TensorInfo* table = in_.find(model::tensors::kTokens.gguf);
    const bool is_float = table != nullptr && (table->type == DType::f32 || table->type == DType::f16);
    return is_float ? table->type : DType::bf16;
  }

  // GGUF files hold vectors in F32 whatever they were: they become the main type again where that loses nothing.
  DType type_of(const NamedTensor& tensor, const TensorInfo& source) const {
    if (tensor.role == Role::token_order) return DType::i64;
    const DType main = main_type();
    if (options_.type || is_block_type(source.type) || source.type == main) return main;
    if (source.type != DType::f32) return source.type == DType::f64 ? DType::f32 : source.type;
    if (tensor.role == Role::matrix || tensor.role == Role::context) return DType::f32;
    const bool shifted = tensor.role == Role::norm && config_.family == model::Family::gemma3;
    return shifted || fits_exactly(in_, source, main) ? main : DType::f32;
  }

  Result<void> plan() {
    FACET_TRY(Sources sources, Sources::of(in_, config_));
    const bool shift = config_.family == model::Family::gemma3;  // norms: 1 + w there, w here
    for (const NamedTensor& tensor : tensors_of(config_)) {
      FACET_TRY(std::vector<Slice> slices, sources.find(tensor));
      if (slices.empty()) continue;
      copies_.push_back({.out = {.name = (tensor.prefixed ? kPrefix : "") + tensor.hf,
                                 .type = type_of(tensor, *slices.front().tensor),
                                 .shape = tensor.shape},
                         .from = std::move(slices),
                         .add = shift && tensor.role == Role::norm ? -1.0f : 0.0f,
                         .made = {}});
    }
    FACET_TRY(std::vector<std::string> leftovers, sources.leftovers());
    std::ranges::move(leftovers, std::back_inserter(remarks_));
    return {};
  }

  // Everything beside the weights. An empty text: no such file.
  Result<void> add_texts() {
    FACET_TRY(const Json config, config_json(config_, main_type()));
    texts_ = {{"config.json", config.dump(2) + "\n"},
              {"generation_config.json", generation_config_json(config_).dump(2) + "\n"},
              {"tokenizer.json", ""},
              {"tokenizer_config.json", ""},
              {"chat_template.jinja", ""}};
    Result<tokenizer::VocabFile> vocab = tokenizer::read_gguf_vocab(in_.metadata(), in_.path().string());
    if (!vocab.ok() && vocab.error().code == ErrorCode::not_found) {
      remarks_.push_back("the file has no vocabulary; the folder is written without tokenizer.json");
      return {};
    }
    if (!vocab.ok()) return std::move(vocab).error();
    FACET_TRY_VOID(tokenizer::Tokenizer::open(in_));
    FACET_TRY(texts_[2].second, tokenizer_json(*vocab, config_.family));
    FACET_TRY_VOID(tokenizer::Tokenizer::from_json(texts_[2].second, "tokenizer.json"));
    texts_[3].second = tokenizer_config_json(*vocab, config_).dump(2) + "\n";
    if (vocab->chat_template) texts_[4].second = *vocab->chat_template;
    return {};
  }

  Result<void> check_folder(const fs::path& out) const {
    std::error_code problem;
    if (options_.overwrite == Overwrite::yes || !fs::exists(out, problem)) return {};
    if (fs::is_directory(out, problem) && fs::is_empty(out, problem)) return {};
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "is there already and not an empty folder; --force replaces the model in it",
                 .where = out.string()};
  }

  // Whether a file belongs to a model: readers would prefer an older one's to the new, or mix them up.
  bool is_part(const std::string& name) const {
    if (name == "model.safetensors" || name == "model.safetensors.index.json") return true;
    constexpr std::string_view kShard = "model-00000-of-00000.safetensors";
    bool shard = name.size() == kShard.size();
    for (size_t i = 0; shard && i < kShard.size(); ++i)
      shard = kShard[i] == '0' ? name[i] >= '0' && name[i] <= '9' : name[i] == kShard[i];
    return shard || std::ranges::any_of(texts_, [&](const auto& text) { return text.first == name; });
  }

  Result<void> remove_older(const fs::path& out) const {
    std::vector<fs::path> older;
    std::error_code problem;
    for (fs::directory_iterator at(out, problem), end; !problem && at != end; at.increment(problem))
      if (is_part(at->path().filename().string())) older.push_back(at->path());
    for (const fs::path& path : older)
      if (!problem) fs::remove(path, problem);
    if (!problem) return {};
    return Error{
        .code = ErrorCode::io, .what = cat("cannot clear the folder: ", problem.message()), .where = out.string()};
  }

  Result<void> write_texts(const fs::path& out) {
    for (const auto& [name, text] : texts_) {
      if (text.empty()) continue;
      FACET_TRY_VOID(write_file_atomic(out / name, as_bytes(text)));
      files_.push_back(out / name);
    }
    return {};
  }

  // The weights appear last: without them a folder is no model.
  Result<void> finish(const fs::path& out, formats::CheckpointWriter& writer) {
    FACET_TRY_VOID(remove_older(out));
    Result<void> written = write_texts(out);
    if (written.ok()) written = writer.finish();
    if (!written.ok()) {
      std::error_code ignored;
      for (const fs::path& file : files_) fs::remove(file, ignored);
      return written;
    }
    files_.insert(files_.begin(), writer.paths().begin(), writer.paths().end());
    return {};
  }

  const formats::Checkpoint& in_;
  const ConvertOptions& options_;
  model::Config config_;
  std::vector<CopiedTensor> copies_;
  std::vector<std::pair<std::string, std::string>> texts_;  // name, contents
  std::vector<fs::path> files_;
  std::vector<std::string> remarks_;
};

}  // namespace

Result<Converted> to_folder(const formats::Checkpoint& in, const fs::path& out, const ConvertOptions& options) {
  return ToFolder(in, options).run(out);
}

}  // namespace facet::convert
