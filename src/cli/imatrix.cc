// facet imatrix: how large the inputs of each linear are over a text, for quantisers.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output_options.h"
#include "engine/importance_run.h"

namespace facet::cli {
namespace {

constexpr const char* kImatrixFooter =
    R"(The file is that of llama.cpp's tools; --format dat writes the older form of it.

Examples:
  facet imatrix gemma-4-E2B-it-BF16.gguf -f calibration.txt -o imatrix.gguf
  facet imatrix model.gguf -f more.txt --in-file imatrix.gguf -o both.gguf
  facet quantize model.gguf small.gguf IQ4_XS --imatrix imatrix.gguf)";

class Imatrix {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL [FILE], or FILE with -m").type_name("[MODEL] [FILE]");
    model_.add_to(command);
    text_.add_to(command);
    command.option("-o,--output", out_, "file to write").type_name("FILE").required();
    command.option("--format", format_, "gguf, or dat: the form before 2025").one_of({"gguf", "dat"});
    command.option("--chunk", chunk_, "tokens of a piece of text").between(2, int64_t{1} << 20);
    command.option("--chunks", chunks_, "pieces at most").between(1, int64_t{1} << 40);
    command.option("--in-file", in_files_, "importance matrices to add; may be repeated").type_name("FILE");
    command.flag("--special", special_, "control-token strings in the text are control tokens");
    output_.add_to(command);
    command.footer(kImatrixFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_model(words_));
    if (words_.size() == 1 && text_.file.empty() && !text_.prompt) {
      text_.file = words_.front();
      words_.clear();
    }
    FACET_TRY(const std::string text, text_.text(words_));
    const std::vector<std::filesystem::path> written = {out_};
    FACET_TRY_VOID(convert::check_absent(written, output_.overwrite()));
    FACET_TRY(formats::ImportanceMatrix matrix, collect(text));
    for (const std::string& path : in_files_) {
      FACET_TRY(const formats::ImportanceMatrix other, formats::ImportanceMatrix::read(path));
      FACET_TRY_VOID(matrix.add(other));
    }
    const bool legacy = format_ == "dat" || (format_.empty() && out_.ends_with(".dat"));
    FACET_TRY_VOID(matrix.write(
        out_, legacy ? formats::ImportanceMatrix::Format::legacy : formats::ImportanceMatrix::Format::gguf));
    std::printf("%zu entries from %lld pieces of %lld tokens\n", matrix.entries.size(),
                static_cast<long long>(matrix.chunk_count), static_cast<long long>(matrix.chunk_size));
    FACET_TRY_VOID(output_.show_written(written));
    return 0;
  }

 private:
  Result<formats::ImportanceMatrix> collect(const std::string& text) {
    const Interrupt interrupt;
    FACET_TRY(const std::unique_ptr<engine::ModelFiles> files, engine::ModelFiles::open(model_.model));
    std::vector<Token> tokens = files->encode(text, special_ ? tokenizer::Markers::yes : tokenizer::Markers::no, true);
    const int64_t most = chunks_ > 0 ? chunks_ * chunk_ : static_cast<int64_t>(tokens.size());
    if (most < static_cast<int64_t>(tokens.size())) tokens.resize(static_cast<size_t>(most));
    ProgressBar bar;
    LoadOptions load = model_.load_options();
    load.progress = [&](std::string_view phase, int64_t done, int64_t total) {
      bar.update(phase, done, total);
      return !Interrupt::requested();
    };
    PackUse pack;
    FACET_TRY(formats::ImportanceMatrix matrix, engine::collect_importance(*files, tokens, chunk_, load, &pack));
    bar.clear();
    note(pack);
    if (!text_.file.empty() && text_.file != "-") matrix.datasets = {text_.file};
    return matrix;
  }

  ModelOptions model_;
  TextOptions text_;
  OutputOptions output_;
  std::vector<std::string> words_, in_files_;
  std::string out_, format_;
  int64_t chunk_ = 512, chunks_ = 0;
  bool special_ = false;
};

}  // namespace

void add_imatrix(Program& program) {
  program.add<Imatrix>("imatrix", "importance of weights over a text, for quantize");
}

}  // namespace facet::cli
