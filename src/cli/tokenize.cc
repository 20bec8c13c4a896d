// facet tokenize: text to token ids, and back.
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "formats/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace facet::cli {
namespace {

constexpr const char* kTokenizeFooter =
    R"(MODEL may be a GGUF file (of a vocabulary alone, too), a Hugging Face folder, or a tokenizer.json.

Examples:
  facet tokenize model.gguf "Hello world"
  facet tokenize model.gguf -f text.txt --no-bos
  facet tokenize model.gguf --ids "[2, 9259]"
  printf '"one"\n"two"\n' | facet tokenize model.gguf --jsonl)";

class Tokenize {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL [TEXT], or TEXT with -m").type_name("[MODEL] [TEXT]");
    command.option("-m,--model", model_.model, "where the vocabulary comes from").type_name("MODEL");
    model_.hub.add_to(command);
    text_.add_to(command);
    command.flag("--jsonl", jsonl_, "standard input holds a JSON string a line; print a JSON array of ids a line");
    command.flag("--no-special", no_special_, "control-token strings in the text are text");
    command.flag("--no-bos", no_bos_, "do not begin with the BOS token");
    command.flag("--ids", ids_, "the text is ids: print what they say");
    command.footer(kTokenizeFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_model(words_));
    FACET_TRY(const tokenizer::Tokenizer tokenizer, open());
    if (jsonl_) {
      FACET_TRY_VOID(lines(tokenizer));
      return 0;
    }
    FACET_TRY(const std::string text, text_.text(words_));
    if (ids_) {
      FACET_TRY(const std::vector<Token> tokens, parse_ids(text, tokenizer.size()));
      show(tokenizer.decode(tokens, no_special_ ? tokenizer::Markers::no : tokenizer::Markers::yes));
      return 0;
    }
    show(array_text(encode(tokenizer, text)) + "\n");
    return 0;
  }

 private:
  Result<tokenizer::Tokenizer> open() const {
    const std::filesystem::path path = model_.model;
    if (path.extension() == ".json") return tokenizer::Tokenizer::from_json_file(path);
    FACET_TRY(const formats::Checkpoint checkpoint, formats::Checkpoint::open(path));
    return tokenizer::Tokenizer::open(checkpoint);
  }

  std::vector<Token> encode(const tokenizer::Tokenizer& tokenizer, std::string_view text) const {
    std::vector<Token> tokens = tokenizer.encode(text, no_special_ ? tokenizer::Markers::no : tokenizer::Markers::yes);
    const std::optional<Token> bos = tokenizer.bos();
    if (!no_bos_ && bos && tokenizer.adds_bos() && (tokens.empty() || tokens.front() != *bos))
      tokens.insert(tokens.begin(), *bos);
    return tokens;
  }

  static std::string array_text(const std::vector<Token>& tokens) {
    std::string text = "[";
    for (const Token token : tokens) text += cat(text.size() > 1 ? ", " : "", token);
    return text + "]";
  }

  // "[1, 2]", "1 2" or "1,2".
  static Result<std::vector<Token>> parse_ids(std::string text, int64_t size) {
    for (char& c : text)
      if (c == '[' || c == ']' || c == ',') c = ' ';
    std::istringstream in(text);
    std::vector<Token> tokens;
    for (std::string word; in >> word;) {
      int64_t id = -1;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
      if (error != std::errc() || end != word.data() + word.size() || id < 0 || id >= size)
        return Error{.code = ErrorCode::invalid_argument,
                     .what = "is not a token id of this vocabulary",
                     .where = "--ids",
                     .expected = cat("0 to ", size - 1),
                     .found = word};
      tokens.push_back(static_cast<Token>(id));
    }
    return tokens;
  }

  Result<void> lines(const tokenizer::Tokenizer& tokenizer) const {
    int64_t number = 0;
    for (std::string line; std::getline(std::cin, line);) {
      ++number;
      FACET_TRY(const Json json, Json::parse(line, cat("standard input, line ", number)));
      if (json.string() == nullptr)
        return Error{.code = ErrorCode::invalid_argument,
                     .what = "line is not a JSON string",
                     .where = cat("standard input, line ", number),
                     .expected = "a string",
                     .found = json.kind()};
      std::cout << array_text(encode(tokenizer, *json.string())) << '\n';
    }
    std::cout << std::flush;
    return {};
  }

  ModelOptions model_;
  TextOptions text_;
  std::vector<std::string> words_;
  bool jsonl_ = false, no_special_ = false, no_bos_ = false, ids_ = false;
};

}  // namespace

void add_tokenize(Program& program) { program.add<Tokenize>("tokenize", "text to token ids, and back"); }

}  // namespace facet::cli
