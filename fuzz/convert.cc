// A model that is converted: the tensors that a configuration asks for, or nearly, in a folder or a GGUF file. The
// first line edits, the rest is config.json and, behind lines "---", tokenizer.json and tokenizer_config.json. What a
// command writes opens again and is the same model; everything else is an Error.
//
// covers: src/convert/convert.cc src/convert/copy.cc src/convert/names.cc src/convert/quantize.cc
// covers: src/convert/recipes.cc src/convert/sources.cc src/convert/split.cc src/convert/to_folder.cc
// covers: src/convert/to_gguf.cc src/convert/vocabulary_pairs.cc
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "base/check.h"
#include "base/random.h"
#include "base/strings.h"
#include "convert/convert.h"
#include "convert/metadata.h"
#include "convert/names.h"
#include "convert/quantize.h"
#include "convert/split.h"
#include "tensor/half.h"

using namespace facet;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kElementsMax = 1 << 19;
constexpr std::string_view kCut = "\n---\n";

void check_error(const Error& error) { FACET_CHECK(!error.message().empty()); }

// A folder in memory where there is one, for the whole run.
struct Place {
  fs::path path = fs::path(fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") / cat("facet-fuzz-convert-", ::getpid());
  Place() { fs::create_directories(path); }
  ~Place() { fs::remove_all(path); }
  // An empty folder of this name.
  fs::path empty(const char* name) const {
    fs::remove_all(path / name);
    fs::create_directories(path / name);
    return path / name;
  }
};

// What the first line says; bytes that it lacks are 0.
class Edits {
 public:
  explicit Edits(std::string_view line) : line_(line) {}
  size_t next(size_t count) {
    const size_t value = at_ < line_.size() ? static_cast<unsigned char>(line_[at_]) : size_t{'0'};
    ++at_;
    return (value + count - '0' % count) % count;  // '0' is 0
  }

 private:
  std::string_view line_;
  size_t at_ = 0;
};

enum class Edit : uint8_t {
  none,
  absent,
  shape,
  type,
  name,
  more,
  foreign,
  head,
  non_finite,
  experts,
  dialect,
  large,
  kCount
};

constexpr std::byte kSmall{0x2C}, kLarge{0x7F}, kNoNumber{0xFF};  // what all bytes of a float of any type are

struct Model {
  std::vector<formats::NewTensor> tensors;
  std::vector<std::byte> values;  // of each tensor
};

constexpr std::array kTypes = {DType::bf16, DType::f32,  DType::f16,  DType::q8_0, DType::q4_0, DType::f64,
                               DType::i32,  DType::q4_k, DType::q6_k, DType::i64,  DType::q5_0};

// The experts of a layer in several tensors, as some files have them.
void take_apart(const convert::NamedTensor& tensor, const formats::NewTensor& whole, const std::string& prefix,
                bool gguf, Model& model) {
  const int64_t rows = whole.shape[1] / (tensor.gate_up ? 2 : 1);
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    model.tensors.push_back({name, whole.type, std::move(shape)});
  };
  if (gguf && tensor.gate_up) {
    for (const char* part : {"ffn_gate_exps", "ffn_up_exps"})
      add(cat("blk.", tensor.layer, '.', part, ".weight"), {whole.shape[0], rows, whole.shape[2]});
  } else if (gguf) {
    model.tensors.push_back(whole);
  } else {
    for (int64_t expert = 0; expert < whole.shape[0]; ++expert)
      for (const char* part : {"gate_proj", "up_proj", "down_proj"})
        if (tensor.gate_up != (std::string_view(part) == "down_proj"))
          add(cat(prefix, "layers.", tensor.layer, ".experts.", expert, '.', part, ".weight"), {rows, whole.shape[2]});
  }
}

// The tensors of a configuration with one edit.
Model model_of(const model::Config& config, bool gguf, Edits& edits) {
  constexpr std::array kPrefixes = {"model.", "model.language_model.", "language_model.model.", ""};
  const DType main = kTypes[edits.next(kTypes.size())], other = kTypes[edits.next(kTypes.size())];
  const auto edit = static_cast<Edit>(edits.next(static_cast<size_t>(Edit::kCount)));
  const std::string prefix = gguf ? "" : kPrefixes[edits.next(kPrefixes.size())];
  const std::vector<convert::NamedTensor> all = convert::tensors_of(config);
  const size_t which = edits.next(all.size());
  Model model;
  for (size_t i = 0; i < all.size(); ++i) {
    const convert::NamedTensor& tensor = all[i];
    const bool edited = i == which;
    if (edited && edit == Edit::absent) continue;
    formats::NewTensor made{gguf ? tensor.gguf : (tensor.prefixed ? prefix : "") + tensor.hf, main, tensor.shape};
    if (gguf && edit == Edit::dialect && !tensor.gguf_dialect.empty()) made.name = tensor.gguf_dialect;
    if (tensor.role == convert::Role::token_order) made.type = gguf ? DType::i32 : DType::i64;
    if (gguf && tensor.role != convert::Role::matrix && made.type == main) made.type = DType::f32;
    if (edited && edit == Edit::type) made.type = other;
    if (made.shape.back() % info(made.type).block != 0) made.type = DType::f32;
    if (edited && edit == Edit::shape) ++made.shape.front();
    if (edited && edit == Edit::name) made.name += "x";
    if (edit == Edit::experts && made.shape.size() == 3) {
      take_apart(tensor, made, prefix, gguf, model);
    } else {
      model.tensors.push_back(std::move(made));
    }
    const bool large = edited && edit == Edit::large, bad = edited && edit == Edit::non_finite;
    model.values.resize(model.tensors.size(), large ? kLarge : bad ? kNoNumber : kSmall);
  }
  const auto add = [&](const char* name, std::vector<int64_t> shape) {
    model.tensors.push_back({name, main == DType::i64 ? main : DType::f32, std::move(shape)});
  };
  if (edit == Edit::more) add("stray.weight", {2});
  if (edit == Edit::foreign) add("model.vision_tower.layers.0.weight", {2});
  if (edit == Edit::head) add("lm_head.weight", {config.vocab_size, config.width});
  if (gguf) {
    if (const std::vector<float> divisors = convert::rope_divisors(config); !divisors.empty())
      add("rope_freqs.weight", {static_cast<int64_t>(divisors.size())});
  }
  model.values.resize(model.tensors.size(), kSmall);
  return model;
}

bool is_small(const Model& model) {
  int64_t sum = 0;
  for (const formats::NewTensor& tensor : model.tensors) {
    const std::optional<int64_t> elements = formats::elements_of(tensor.shape);
    if (!elements || *elements > kElementsMax || (sum += *elements) > kElementsMax) return false;
  }
  return true;
}

bool write_model(formats::CheckpointWriter& writer, const Model& model, const model::Config& config) {
  const std::vector<float> divisors = convert::rope_divisors(config);
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    std::vector<std::byte> bytes(static_cast<size_t>(model.tensors[i].bytes()), model.values[i]);
    if (model.tensors[i].name == "rope_freqs.weight")
      std::ranges::copy(std::as_bytes(std::span(divisors)), bytes.begin());
    if (!writer.write(bytes).ok()) return false;
  }
  return writer.finish().ok();
}

void put(const fs::path& path, std::string_view text) {
  if (!text.empty()) FACET_CHECK(write_file_atomic(path, as_bytes(text)).ok());
}

// The many byte tokens need not be in the input.
std::string with_bytes(std::string text) {
  constexpr std::string_view kPlace = "BYTES", kDigits = "0123456789ABCDEF";
  const size_t place = text.find(kPlace);
  if (place == text.npos) return text;
  std::string bytes;
  for (size_t byte = 0; byte < 256; ++byte)
    bytes += cat(byte == 0 ? "" : ",", "\"<0x", kDigits[byte / 16], kDigits[byte % 16], ">\":", byte);
  return text.replace(place, kPlace.size(), bytes);
}

// The same decoder or drafter, in a file that opens.
void check_written(const fs::path& path, const model::Config& config, size_t tensors = 0) {
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(path);
  FACET_CHECK(checkpoint.ok() && (tensors == 0 || checkpoint->tensors().size() == tensors));
  const Result<model::Config> read = convert::read_any_config(*checkpoint);
  FACET_CHECK(read.ok() && convert::difference(config, *read).empty());
}

void check_quantize(const fs::path& file, const model::Config& config, const Place& place, Edits& edits) {
  const Result<formats::Checkpoint> in = formats::Checkpoint::open(file);
  FACET_CHECK(in.ok());
  convert::QuantizeOptions options;
  const convert::FileTypeInfo& type = convert::file_types()[edits.next(convert::file_types().size())];
  options.recipe.file = type.type;
  FACET_CHECK(*convert::file_type_named(type.name) == type.type && !convert::file_type_named("Q4_").ok());
  options.recipe.pure = edits.next(2) == 1;
  options.allow_requantize = edits.next(2) == 1;
  options.dry_run = edits.next(8) == 1;
  if (edits.next(2) == 1) options.recipe.token_embedding = kTypes[edits.next(kTypes.size())];
  constexpr std::array kOverrides = {"ffn_down=Q6_K", "blk.*v=IQ4_XS", "([=Q8_0", "a=B", "=", "a=I32", "^(a|b)+$=F16"};
  if (edits.next(2) == 1) {
    Result<convert::TypeOverride> parsed = convert::TypeOverride::parse(kOverrides[edits.next(kOverrides.size())]);
    if (parsed.ok()) options.recipe.overrides.push_back(*std::move(parsed));
  }
  formats::ImportanceMatrix importance;
  importance.entries["blk.0.attn_q.weight"] = {std::vector<float>(static_cast<size_t>(config.width), 1.0f), {1.0f}};
  if (edits.next(2) == 1) options.importance = &importance;
  ThreadPool pool(1);
  const fs::path out = place.empty("quantised") / "model.gguf";
  const Result<convert::QuantizeReport> report = convert::quantize(*in, out, options, pool);
  if (!report.ok()) return check_error(report.error());
  FACET_CHECK(in->container() == formats::Container::gguf);
  if (!options.dry_run) check_written(out, config, in->tensors().size());
}

void check_split(const fs::path& file, const model::Config& config, const Place& place, Edits& edits) {
  const fs::path folder = place.empty("parts");
  constexpr std::array kMost = {0, 1, 2, 3, 5, 8, 13, 10'000};
  const formats::SplitOptions split{.max_tensors = kMost[edits.next(kMost.size())]};
  const auto parts = convert::split_gguf(file, folder / "part", split, convert::Overwrite::no, nullptr);
  if (!parts.ok()) return check_error(parts.error());
  check_written(parts->front(), config);
  const Result<void> merged =
      convert::merge_gguf(parts->front(), folder / "whole.gguf", convert::Overwrite::no, nullptr);
  FACET_CHECK(merged.ok());
  check_written(folder / "whole.gguf", config);
  const Result<void> again = convert::merge_gguf(folder / "whole.gguf", file, convert::Overwrite::yes, nullptr);
  FACET_CHECK(!again.ok());
}

// There, and back again, which may be refused.
void check_convert(const fs::path& in, bool gguf, const model::Config& config, const Place& place, size_t type) {
  convert::ConvertOptions options;
  if (type > 0) options.type = std::array{DType::f32, DType::f16, DType::bf16}[type - 1];
  const fs::path out = gguf ? place.empty("out") : place.empty("out") / "model.gguf";
  const fs::path back = gguf ? place.empty("back") / "model.gguf" : place.empty("back");
  const Result<convert::Converted> converted = convert::convert(in, out, options);
  FACET_CHECK(!convert::convert(in, in, options).ok());  // two of one kind
  if (!converted.ok()) return check_error(converted.error());
  check_written(out, config);
  FACET_CHECK(!convert::convert(in, out, options).ok());  // is there already
  options.overwrite = convert::Overwrite::yes;
  FACET_CHECK(convert::convert(in, out, options).ok());
  check_written(out, config);
  const Result<convert::Converted> returned = convert::convert(out, back, options);
  if (!returned.ok()) return check_error(returned.error());
  check_written(back, config);
}

struct Input {
  std::string_view edits, config, tokenizer, settings;

  explicit Input(std::string_view text) {
    const auto until = [&](std::string_view end) {
      const std::string_view found = text.substr(0, text.find(end));
      text.remove_prefix(std::min(found.size() + end.size(), text.size()));
      return found;
    };
    edits = until("\n");
    config = until(kCut);
    tokenizer = until(kCut);
    settings = until(kCut);
  }

  std::optional<model::Config> parse() const {
    const Result<Json> json = Json::parse(config, "config.json");
    if (!json.ok()) return std::nullopt;
    Result<model::Config> parsed = model::config_from_json(*json, Json(), "config.json");
    if (!parsed.ok()) parsed = model::drafter_config_from_json(*json, Json(), "config.json");
    if (!parsed.ok()) return std::nullopt;
    return *std::move(parsed);
  }

  // False: the writers refuse such a model.
  bool write(const fs::path& path, bool gguf, const Model& model, const model::Config& parsed) const {
    if (gguf) {
      const Result<formats::GgufPairs> pairs = convert::config_pairs(parsed);
      if (!pairs.ok()) return false;
      const auto writer = formats::new_gguf(path, *pairs, model.tensors);
      return writer.ok() && write_model(**writer, model, parsed);
    }
    const auto writer = formats::new_safetensors(path, model.tensors);
    if (!writer.ok() || !write_model(**writer, model, parsed)) return false;
    put(path / "config.json", config);
    put(path / "tokenizer.json", with_bytes(std::string(tokenizer)));
    put(path / "tokenizer_config.json", settings);
    return true;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Place place;
  const Input input({static_cast<const char*>(static_cast<const void*>(data)), size});
  const std::optional<model::Config> config = input.parse();
  if (!config) return 0;
  Edits edits(input.edits);
  const bool gguf = edits.next(2) == 1;
  const size_t type = edits.next(4);
  const Model model = model_of(*config, gguf, edits);
  if (!is_small(model)) return 0;
  const fs::path in = gguf ? place.empty("in") / "model.gguf" : place.empty("in");
  if (!input.write(in, gguf, model, *config)) return 0;
  check_quantize(in, *config, place, edits);
  check_split(in, *config, place, edits);
  check_convert(in, gguf, *config, place, type);
  return 0;
}
