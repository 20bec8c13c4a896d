#include "engine/model_files.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace facet::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPuppetPrefix = "puppet:";
constexpr uint64_t kMaxText = uint64_t{16} << 20;  // puppet scripts and chat templates

void add_once(std::vector<Token>& tokens, std::span<const Token> more) {
  for (const Token token : more)
    if (std::ranges::find(tokens, token) == tokens.end()) tokens.push_back(token);
}

// GGUF files do not number the tokens that stand for pictures and sounds: they are found by their text.
void find_placeholders(const tokenizer::Tokenizer& tokenizer, model::Config& config) {
  if (!config.placeholders.empty()) return;
  for (const char* text : {"<|image|>", "<|audio|>", "<|video|>"})
    if (const std::optional<Token> token = tokenizer.find(text)) config.placeholders.push_back(*token);
}

Result<std::optional<std::string>> template_text(const formats::Checkpoint& checkpoint) {
  if (!checkpoint.template_file()) return std::optional<std::string>();
  FACET_TRY(std::string text, read_file(*checkpoint.template_file(), kMaxText));
  return std::optional(std::move(text));
}

// The vocabulary and the chat format, which is written in its tokens.
Result<void> read_vocabulary(ModelFiles& files) {
  FACET_TRY(files.tokenizer, tokenizer::Tokenizer::open(*files.checkpoint));
  if (files.tokenizer->size() > files.config.vocab_size) {
    return Error{.code = ErrorCode::corrupt,
                 .what = "vocabulary has more tokens than the model",
                 .where = files.path,
                 .expected = cat("at most ", files.config.vocab_size),
                 .found = cat(files.tokenizer->size())};
  }
  find_placeholders(*files.tokenizer, files.config);
  FACET_TRY(const std::optional<std::string> own, template_text(*files.checkpoint));
  std::optional<std::string_view> text = files.tokenizer->chat_template();
  if (own) text = *own;
  Result<std::optional<chat::ChatFormat>> chat =
      chat::ChatFormat::detect(*files.tokenizer, text, files.config.ple_width == 0);
  if (!chat.ok() && chat.error().code == ErrorCode::unsupported) {  // raw text works all the same
    files.remarks.push_back(chat.error().message());
    return {};
  }
  FACET_TRY(files.chat, std::move(chat));
  return {};
}

Result<void> open_checkpoint(ModelFiles& files) {
  FACET_TRY(files.checkpoint, formats::Checkpoint::open(files.path));
  FACET_TRY(files.config, model::read_config(*files.checkpoint));
  const auto remarks = files.checkpoint->remarks();
  files.remarks.assign(remarks.begin(), remarks.end());
  return {};
}

// The vocabulary of a puppet: a path relative to the script.
Result<tokenizer::Tokenizer> puppet_tokenizer(const fs::path& path) {
  if (path.extension() == ".json") return tokenizer::Tokenizer::from_json_file(path);
  FACET_TRY(const formats::Checkpoint checkpoint, formats::Checkpoint::open(path));
  return tokenizer::Tokenizer::open(checkpoint);
}

Result<void> open_puppet(ModelFiles& files, const fs::path& script) {
  FACET_TRY(const std::string text, read_file(script, kMaxText));
  FACET_TRY(files.puppet, Json::parse(text, script.string()));
  FACET_TRY(const model::PuppetFiles named, model::puppet_files(*files.puppet, script.string()));
  FACET_TRY(files.tokenizer, puppet_tokenizer(script.parent_path() / named.vocabulary));
  files.config.name = script.filename().string();
  files.config.vocab_size = files.tokenizer->size();
  FACET_TRY(files.chat, chat::ChatFormat::detect(*files.tokenizer, files.tokenizer->chat_template(),
                                                 named.large_model.value_or(false)));
  return {};
}

}  // namespace

Result<std::unique_ptr<ModelFiles>> ModelFiles::open(const std::string& path, Vocabulary vocabulary) {
  FACET_TRY(std::unique_ptr<ModelFiles> files, open_weights(path));
  FACET_TRY_VOID(files->open_vocabulary(vocabulary));
  return files;
}

Result<void> ModelFiles::open_vocabulary(Vocabulary vocabulary) {
  if (!checkpoint) return {};
  Result<void> opened = read_vocabulary(*this);
  if (!opened.ok() && opened.error().code == ErrorCode::not_found && vocabulary == Vocabulary::optional) {
    remarks.push_back(opened.error().message());
    return {};
  }
  return opened;
}

Result<std::unique_ptr<ModelFiles>> ModelFiles::open_weights(const std::string& path) {
  auto files = std::make_unique<ModelFiles>();
  files->path = path;
  if (path.starts_with(kPuppetPrefix)) {
    FACET_TRY_VOID(open_puppet(*files, path.substr(kPuppetPrefix.size())));
  } else {
    FACET_TRY_VOID(open_checkpoint(*files));
  }
  return files;
}

std::vector<Token> ModelFiles::stop_tokens() const {
  std::vector<Token> tokens = config.eos;
  add_once(tokens, tokenizer->end_tokens());
  if (chat) add_once(tokens, chat->stop_tokens());
  return tokens;
}

std::vector<Token> ModelFiles::banned_tokens(bool allow_reserved) const {
  std::vector<Token> tokens = config.suppress;
  if (allow_reserved) return tokens;
  add_once(tokens, config.placeholders);
  add_once(tokens, tokenizer->never_sampled());
  const std::vector<Token> stops = stop_tokens();
  std::erase_if(tokens, [&](Token token) {
    return std::ranges::find(stops, token) != stops.end() &&
           std::ranges::find(config.suppress, token) == config.suppress.end();
  });
  return tokens;
}

std::vector<Token> ModelFiles::encode(std::string_view text, tokenizer::Markers markers, bool add_bos) const {
  std::vector<Token> tokens = tokenizer->encode(text, markers);
  const std::optional<Token> bos = tokenizer->bos();
  if (add_bos && bos && tokenizer->adds_bos() && (tokens.empty() || tokens.front() != *bos))
    tokens.insert(tokens.begin(), *bos);
  return tokens;
}

ModelInfo ModelFiles::info() const {
  ModelInfo info;
  info.path = path;
  info.name = config.name;
  info.vocab_size = config.vocab_size;
  info.has_chat_template = chat.has_value();
  info.remarks = remarks;
  if (!checkpoint) {
    info.description = "puppet";
    info.architecture = "puppet";
    return info;
  }
  info.description = model::describe(config);
  info.architecture = config.family == model::Family::gemma4 ? "gemma4" : "gemma3";
  info.layers = config.n_layers();
  info.width = config.width;
  info.trained_context = config.context;
  info.file_bytes = checkpoint->file_bytes();
  for (const formats::TensorInfo& tensor : checkpoint->tensors()) info.parameters += tensor.elements();
  return info;
}

}  // namespace facet::engine
