// facet split and facet merge: GGUF files in parts.
#include "convert/split.h"

#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/output_options.h"

namespace facet::cli {
namespace {

constexpr const char* kSplitFooter =
    R"(Writes OUT-00001-of-00003.gguf and so on; the first one is opened as the model. No tensor is cut, so a part that holds
one alone may be larger. Ctrl-C leaves nothing.

Examples:
  facet split gemma-4-31B-it-Q8_0.gguf parts/gemma-4-31B-it-Q8_0 --max-size 4G
  facet split model.gguf model --max-tensors 100 --sha256)";

constexpr const char* kMergeFooter = R"(Example:
  facet merge parts/gemma-4-31B-it-Q8_0-00001-of-00008.gguf gemma-4-31B-it-Q8_0.gguf)";

class SplitCommand {
 public:
  void add_to(Command& command) {
    command.word("in", in_, "GGUF file").required().type_name("IN");
    command.word("out", out_, "beginning of the names of the parts").required().type_name("OUT");
    command.option("--max-size", max_size_, "bytes of a part at most: 2G, 500M, 1GiB").type_name("SIZE");
    command.option("--max-tensors", split_.max_tensors, "tensors of a part at most").between(1, int64_t{1} << 31);
    output_.add_to(command);
    command.footer(kSplitFooter);
  }

  Result<int> run() {
    if (!max_size_.empty()) {
      FACET_TRY(split_.max_bytes, parse_size(max_size_, "--max-size"));
    }
    std::vector<std::filesystem::path> parts;
    {
      WriteProgress progress;
      FACET_TRY(parts, convert::split_gguf(in_, out_, split_, output_.overwrite(), &progress));
    }
    FACET_TRY_VOID(output_.show_written(parts));
    return 0;
  }

 private:
  std::string in_, out_, max_size_;
  formats::SplitOptions split_;
  OutputOptions output_;
};

class MergeCommand {
 public:
  void add_to(Command& command) {
    command.word("first", first_, "first part of a split GGUF file").required().type_name("FIRST-PART");
    command.word("out", out_, "GGUF file to write").required().type_name("OUT");
    output_.add_to(command);
    command.footer(kMergeFooter);
  }

  Result<int> run() {
    {
      WriteProgress progress;
      FACET_TRY_VOID(convert::merge_gguf(first_, out_, output_.overwrite(), &progress));
    }
    const std::vector<std::filesystem::path> written = {out_};
    FACET_TRY_VOID(output_.show_written(written));
    return 0;
  }

 private:
  std::string first_, out_;
  OutputOptions output_;
};

}  // namespace

void add_split(Program& program) { program.add<SplitCommand>("split", "one GGUF file into parts"); }
void add_merge(Program& program) { program.add<MergeCommand>("merge", "the parts of a GGUF file into one"); }

}  // namespace facet::cli
