// facet convert: Hugging Face folders to GGUF files, and back.
#include "convert/convert.h"

#include <string>

#include "cli/commands.h"
#include "cli/output_options.h"

namespace facet::cli {
namespace {

constexpr const char* kConvertFooter =
    R"(IN is a Hugging Face folder and OUT a name that ends in .gguf, or IN is a GGUF file and OUT a folder. Weights,
configuration, vocabulary, chat template and sampling defaults go along; encoders of pictures and sound do not yet.
Quantised files become BF16. Files appear when they are whole; Ctrl-C leaves nothing.

Examples:
  facet convert gemma-4-E2B-it gemma-4-E2B-it-BF16.gguf --type bf16
  facet convert gemma-4-E2B-it-Q4_K_M.gguf gemma-4-E2B-it-from-gguf --split-max-size 4G
  facet convert gemma-4-E2B-it-assistant drafter.gguf --sha256)";

class ConvertCommand {
 public:
  void add_to(Command& command) {
    command.word("in", in_, "Hugging Face folder, or GGUF file").required().type_name("IN");
    command.word("out", out_, "GGUF file, or folder").required().type_name("OUT");
    command.option("--type", type_, "type of matrices: keep, f32, f16, bf16")
        .one_of_in_any_case({"keep", "f32", "f16", "bf16"});
    command.option("--split-max-size", max_size_, "several files, of this many bytes at most: 2G, 500M, 1GiB")
        .type_name("SIZE");
    command.option("--split-max-tensors", options_.split.max_tensors, "several files, of this many tensors at most")
        .between(1, int64_t{1} << 31);
    output_.add_to(command);
    command.footer(kConvertFooter);
  }

  Result<int> run() {
    if (!max_size_.empty()) {
      FACET_TRY(options_.split.max_bytes, parse_size(max_size_, "--split-max-size"));
    }
    options_.type = dtype_named(type_);  // "keep" is none
    options_.overwrite = output_.overwrite();
    convert::Converted converted;
    {
      WriteProgress progress;
      options_.progress = &progress;
      FACET_TRY(converted, convert::convert(in_, out_, options_));
    }
    for (const std::string& remark : converted.remarks) note(remark);
    FACET_TRY_VOID(output_.show_written(converted.files));
    return 0;
  }

 private:
  std::string in_, out_, type_ = "keep", max_size_;
  convert::ConvertOptions options_;
  OutputOptions output_;
};

}  // namespace

void add_convert(Program& program) {
  program.add<ConvertCommand>("convert", "a Hugging Face folder to a GGUF file, or back");
}

}  // namespace facet::cli
