#include "formats/checkpoint.h"

#include <algorithm>
#include <unordered_set>

#include "base/strings.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace facet::formats {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxJson = uint64_t{64} << 20;  // index files of large models are a few MB

Result<Json> read_json(const fs::path& path) {
  FACET_TRY(const std::string text, read_file(path, kMaxJson));
  return Json::parse(text, path.string());
}

bool present(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// model-00002-of-00003.gguf, and the like: five digits on both sides, and not the first.
bool is_later_part(std::string_view name) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";
  if (name.size() < kPattern.size()) return false;
  name.remove_prefix(name.size() - kPattern.size());
  for (size_t i = 0; i < name.size(); ++i) {
    const bool digit = name[i] >= '0' && name[i] <= '9';
    if (kPattern[i] == '0' ? !digit : name[i] != kPattern[i]) return false;
  }
  return !name.starts_with("-00001-");
}

}  // namespace

std::optional<int64_t> elements_of(std::span<const int64_t> shape) {
  int64_t bound = 1;
  for (const int64_t dim : shape)
    if (__builtin_mul_overflow(bound, std::max<int64_t>(dim, 1), &bound)) return std::nullopt;
  return std::ranges::find(shape, 0) == shape.end() ? bound : 0;
}

int64_t TensorInfo::elements() const {
  int64_t n = 1;
  for (const int64_t dim : shape) n *= dim;
  return n;
}

// Fills a checkpoint from one of the containers.
class CheckpointBuilder {
 public:
  explicit CheckpointBuilder(const fs::path& path) { out_.path_ = path; }

  Result<Checkpoint> gguf() {
    out_.container_ = Container::gguf;
    FACET_TRY_VOID(add_gguf(out_.path_));
    FACET_TRY(const std::vector<fs::path> parts, gguf_parts(out_.path_, out_.metadata_));
    for (size_t i = 1; i < parts.size(); ++i) FACET_TRY_VOID(add_gguf_part(parts[i], static_cast<int64_t>(i)));
    if (parts.size() > 1) {
      FACET_TRY(const std::optional<int64_t> total, out_.metadata_.integer("split.tensors.count"));
      if (total && *total != static_cast<int64_t>(out_.tensors_.size()))
        return error("parts of the split file hold another number of tensors than it says", cat(*total),
                     cat(out_.tensors_.size()));
    }
    return finish();
  }

  Result<Checkpoint> safetensors_file() {
    out_.container_ = Container::safetensors;
    FACET_TRY_VOID(add_safetensors(out_.path_));
    return finish();
  }

  Result<Checkpoint> folder() {
    const fs::path& path = out_.path_;
    const fs::path single = path / "model.safetensors", index = path / "model.safetensors.index.json";
    if (!present(single) && !present(index)) return lone_gguf();
    out_.container_ = Container::safetensors;
    if (present(single)) {
      FACET_TRY_VOID(add_safetensors(single));
    } else {
      FACET_TRY_VOID(add_shards(index));
    }
    if (!present(path / "config.json"))
      return Error{.code = ErrorCode::not_found,
                   .what = "folder has weights but no config.json",
                   .where = path.string(),
                   .expected = "config.json",
                   .found = "none"};
    FACET_TRY(out_.config_, read_json(path / "config.json"));
    if (present(path / "generation_config.json")) {
      FACET_TRY(out_.generation_config_, read_json(path / "generation_config.json"));
    }
    if (present(path / "tokenizer.json")) out_.tokenizer_file_ = path / "tokenizer.json";
    if (present(path / "chat_template.jinja")) out_.template_file_ = path / "chat_template.jinja";
    return finish();
  }

 private:
  Error error(std::string what, std::string expected, std::string found) const {
    return {.code = ErrorCode::corrupt,
            .what = std::move(what),
            .where = out_.path_.string(),
            .expected = std::move(expected),
            .found = std::move(found)};
  }

  Result<GgufFile> open_gguf(const fs::path& path) {
    FACET_TRY(std::shared_ptr<const ByteSource> source, open_mapped(path));
    FACET_TRY(GgufFile file, read_gguf(*source));
    for (TensorInfo& tensor : file.tensors) tensor.source = static_cast<int>(out_.sources_.size());
    out_.sources_.push_back(std::move(source));
    std::ranges::move(file.remarks, std::back_inserter(out_.remarks_));
    return file;
  }

  Result<void> add_gguf(const fs::path& path) {
    FACET_TRY(GgufFile file, open_gguf(path));
    out_.metadata_ = std::move(file.metadata);
    out_.tensors_ = std::move(file.tensors);
    return {};
  }

  Result<void> add_gguf_part(const fs::path& path, int64_t number) {
    Result<GgufFile> file = open_gguf(path);
    if (!file.ok() && file.error().code == ErrorCode::not_found)
      return error("part of the split file is missing", path.filename().string(), "no such file");
    if (!file.ok()) return std::move(file).error();
    FACET_TRY(const std::optional<int64_t> stored, file->metadata.integer("split.no"));
    if (stored.value_or(-1) != number)
      return error(cat("file ", path.filename(), " is another part than its name says"), cat("split.no ", number),
                   stored ? cat(*stored) : "no split.no");
    std::ranges::move(file->tensors, std::back_inserter(out_.tensors_));
    return {};
  }

  Result<void> add_safetensors(const fs::path& path) {
    FACET_TRY(std::shared_ptr<const ByteSource> source, open_mapped(path));
    FACET_TRY(std::vector<TensorInfo> tensors, read_safetensors(*source));
    for (TensorInfo& tensor : tensors) tensor.source = static_cast<int>(out_.sources_.size());
    out_.sources_.push_back(std::move(source));
    std::ranges::move(tensors, std::back_inserter(out_.tensors_));
    return {};
  }

  Result<void> add_shards(const fs::path& index_path) {
    FACET_TRY(const Json json, read_json(index_path));
    FACET_TRY(const ShardIndex index, read_shard_index(json, index_path.string()));
    for (const std::string& file : index.files) FACET_TRY_VOID(add_safetensors(out_.path_ / file));
    // Where each tensor shall be; a copy in another shard is as good as not there.
    std::unordered_map<std::string_view, int> source_of, shard_of;
    for (size_t i = 0; i < index.files.size(); ++i) source_of.emplace(index.files[i], static_cast<int>(i));
    for (const ShardIndex::Entry& entry : index.entries) shard_of.emplace(entry.tensor, source_of.at(entry.file));
    const size_t before = out_.tensors_.size();
    std::erase_if(out_.tensors_, [&](const TensorInfo& tensor) {
      const auto shard = shard_of.find(tensor.name);
      return shard == shard_of.end() || shard->second != tensor.source;
    });
    std::unordered_set<std::string_view> found;
    for (const TensorInfo& tensor : out_.tensors_) found.insert(tensor.name);
    for (const ShardIndex::Entry& entry : index.entries)
      if (!found.contains(entry.tensor))
        return error(cat("shard lacks a tensor that ", index_path.filename(), " promises"),
                     cat(entry.tensor, " in ", entry.file), "no such tensor");
    if (out_.tensors_.size() != before)
      out_.remarks_.push_back(
          cat(before - out_.tensors_.size(), " tensors of the shards are not in the index and were left out"));
    return {};
  }

  // A folder may hold one GGUF file (or the parts of one).
  Result<Checkpoint> lone_gguf() {
    std::vector<fs::path> files;
    std::error_code problem;
    for (fs::directory_iterator at(out_.path_, problem), end; !problem && at != end; at.increment(problem)) {
      const std::string name = at->path().filename().string();
      if (name.ends_with(".gguf") && !name.starts_with("mmproj") && !is_later_part(name)) files.push_back(at->path());
    }
    if (problem)
      return Error{.code = ErrorCode::io,
                   .what = cat("cannot read the folder: ", problem.message()),
                   .where = out_.path_.string()};
    if (files.size() == 1) return Checkpoint::open(files.front());
    if (files.empty())
      return Error{.code = ErrorCode::not_found,
                   .what = "folder holds no model",
                   .where = out_.path_.string(),
                   .expected = "model.safetensors, model.safetensors.index.json or a .gguf file",
                   .found = "none of them"};
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "folder holds several GGUF files; name one",
                 .where = out_.path_.string(),
                 .expected = "one",
                 .found = cat(files.size())};
  }

  Result<Checkpoint> finish() {
    for (size_t i = 0; i < out_.tensors_.size(); ++i) {
      if (!out_.index_.emplace(out_.tensors_[i].name, i).second)
        return error("two parts hold a tensor of the same name", "each name once", out_.tensors_[i].name);
    }
    return std::move(out_);
  }

  Checkpoint out_;
};

Result<Checkpoint> Checkpoint::open(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return CheckpointBuilder(path).folder();
  if (path.extension() == ".safetensors") return CheckpointBuilder(path).safetensors_file();
  return CheckpointBuilder(path).gguf();
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

Bytes Checkpoint::bytes(const TensorInfo& tensor) const {
  return sources_[static_cast<size_t>(tensor.source)]->mapped(tensor.offset, tensor.bytes);
}
void Checkpoint::release(const TensorInfo& tensor) const {
  sources_[static_cast<size_t>(tensor.source)]->release(tensor.offset, tensor.bytes);
}

void Checkpoint::will_need(const TensorInfo& tensor, int64_t offset, int64_t length) const {
  sources_[static_cast<size_t>(tensor.source)]->will_need(tensor.offset + offset, length);
}

int64_t Checkpoint::file_bytes() const {
  int64_t bytes = 0;
  for (const auto& source : sources_) bytes += source->size();
  return bytes;
}

}  // namespace facet::formats
