// facet quantize: a GGUF file in a smaller type.
#include "convert/quantize.h"

#include <cstdio>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/output_options.h"
#include "engine/memory_plan.h"

namespace facet::cli {
namespace {

std::string footer() {
  std::string text = "Types:\n";
  for (const convert::FileTypeInfo& type : convert::file_types()) {
    const std::string name = type.name;
    text += cat("  ", name, std::string(12 - name.size(), ' '), type.about, "\n");
  }
  return text + R"(
Some tensors get more than the type says: the mixtures are those of published files of that name (--pure: none).

Examples:
  facet quantize gemma-4-E2B-it-BF16.gguf gemma-4-E2B-it-Q4_K_M.gguf Q4_K_M
  facet quantize model.gguf small.gguf IQ4_XS --imatrix imatrix.gguf --tensor-type "ffn_down=Q6_K"
  facet quantize model.gguf small.gguf Q4_0 --dry-run)";
}

class Quantize {
 public:
  void add_to(Command& command) {
    command.word("in", in_, "GGUF file, or the first part of a split one").required().type_name("IN");
    command.word("out", out_, "GGUF file to write").required().type_name("OUT");
    command.word("type", type_, "one of the types below").required().type_name("TYPE");
    command.flag("--pure", options_.recipe.pure, "every matrix gets the type, without exceptions");
    command.option("--imatrix", options_.importance_file, "importance matrix, as facet imatrix writes it")
        .type_name("FILE");
    command.option("--tensor-type", overrides_, "type of the tensors whose names a pattern finds; may be repeated")
        .type_name("REGEX=TYPE");
    command.option("--token-embedding-type", token_embedding_, "type of the token tables").type_name("TYPE");
    command.flag("--allow-requantize", options_.allow_requantize, "also from types that have lost already");
    command.option("--split-max-size", max_size_, "write parts of at most so many bytes: 2G").type_name("SIZE");
    command.option("-t,--threads", threads_, "threads; default: all processors").between(1, 1024);
    command.flag("--dry-run", options_.dry_run, "say what would be written");
    command.flag("--json", json_, "print one JSON object");
    output_.add_to(command);
    command.footer(footer());
  }

  Result<int> run() {
    FACET_TRY(options_.recipe.file, convert::file_type_named(type_));
    for (const std::string& text : overrides_) {
      FACET_TRY(convert::TypeOverride made, convert::TypeOverride::parse(text));
      options_.recipe.overrides.push_back(std::move(made));
    }
    FACET_TRY_VOID(read_token_embedding());
    if (!max_size_.empty()) {
      FACET_TRY(options_.split.max_bytes, parse_size(max_size_, "--split-max-size"));
    }
    formats::ImportanceMatrix importance;
    if (!options_.importance_file.empty()) {
      FACET_TRY(importance, formats::ImportanceMatrix::read(options_.importance_file));
      options_.importance = &importance;
    }
    FACET_TRY(const formats::Checkpoint in, formats::Checkpoint::open(in_));
    options_.overwrite = output_.overwrite();
    ThreadPool pool(threads_or_all(threads_));
    convert::QuantizeReport report;
    {
      WriteProgress progress;
      options_.progress = &progress;
      FACET_TRY(report, convert::quantize(in, out_, options_, pool));
    }
    if (json_) {
      show(json_of(report).dump(2) + "\n");
    } else {
      FACET_TRY_VOID(print(report));
    }
    return 0;
  }

 private:
  Result<void> read_token_embedding() {
    if (token_embedding_.empty()) return {};
    options_.recipe.token_embedding = dtype_named(token_embedding_);
    if (options_.recipe.token_embedding && convert::can_write(*options_.recipe.token_embedding)) return {};
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "not a type that can be written",
                 .where = "--token-embedding-type",
                 .expected = "a type such as Q6_K",
                 .found = token_embedding_};
  }

  Result<void> print(const convert::QuantizeReport& report) const {
    for (const std::string& remark : report.remarks) note(remark);
    for (const auto& [type, share] : report.types)
      std::printf("%-8s %5lld tensors, %s\n", type.c_str(), static_cast<long long>(share.tensors),
                  engine::readable_bytes(share.bytes).c_str());
    std::printf("%s -> %s\n", engine::readable_bytes(report.bytes_before).c_str(),
                engine::readable_bytes(report.bytes_after).c_str());
    return output_.show_written(report.files);
  }

  static Json json_of(const convert::QuantizeReport& report) {
    Json types, json;
    for (const auto& [type, share] : report.types) {
      Json row;
      row.set("tensors", share.tensors);
      row.set("bytes", share.bytes);
      types.set(type, std::move(row));
    }
    Json::Array files, remarks;
    for (const std::filesystem::path& path : report.files) files.emplace_back(path.string());
    for (const std::string& remark : report.remarks) remarks.emplace_back(remark);
    json.set("types", std::move(types));
    json.set("bytes_before", report.bytes_before);
    json.set("bytes_after", report.bytes_after);
    json.set("files", std::move(files));
    json.set("remarks", std::move(remarks));
    return json;
  }

  std::string in_, out_, type_, token_embedding_, max_size_;
  std::vector<std::string> overrides_;
  convert::QuantizeOptions options_;
  int threads_ = 0;
  bool json_ = false;
  OutputOptions output_;
};

}  // namespace

void add_quantize(Program& program) { program.add<Quantize>("quantize", "a GGUF file in a smaller type"); }

}  // namespace facet::cli
