#include "convert/convert.h"

#include "base/strings.h"

namespace facet::convert {
namespace {

bool is_drafter(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() == formats::Container::gguf) {
    const formats::GgufValue* architecture = checkpoint.metadata().find("general.architecture");
    const std::optional<std::string_view> name = architecture == nullptr ? std::nullopt : architecture->string();
    return name == "gemma4-assistant" || name == "gemma4_assistant";
  }
  const Json* type = checkpoint.config().find("model_type");
  return type != nullptr && type->string() != nullptr && type->string()->ends_with("_assistant");
}

}  // namespace

Result<model::Config> read_any_config(const formats::Checkpoint& checkpoint) {
  return is_drafter(checkpoint) ? model::read_drafter_config(checkpoint) : model::read_config(checkpoint);
}

Result<Converted> convert(const std::filesystem::path& in, const std::filesystem::path& out,
                          const ConvertOptions& options) {
  FACET_TRY(const formats::Checkpoint checkpoint, formats::Checkpoint::open(in));
  const bool from_gguf = checkpoint.container() == formats::Container::gguf;
  if (from_gguf != (out.extension() != ".gguf"))
    return Error{.code = ErrorCode::invalid_argument,
                 .what = from_gguf ? "a GGUF file is converted to a folder" : "a folder is converted to a GGUF file",
                 .where = out.string(),
                 .expected = from_gguf ? "a name that does not end in .gguf" : "a name that ends in .gguf",
                 .found = out.filename().string()};
  Result<Converted> converted = from_gguf ? to_folder(checkpoint, out, options) : to_gguf(checkpoint, out, options);
  if (converted.ok())
    converted->remarks.insert(converted->remarks.begin(), checkpoint.remarks().begin(), checkpoint.remarks().end());
  return converted;
}

}  // namespace facet::convert
