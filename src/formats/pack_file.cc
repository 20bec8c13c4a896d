#include "formats/pack_file.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/check.h"
#include "base/hash.h"
#include "base/strings.h"

namespace facet::formats {
namespace {

constexpr std::string_view kPackMagic = "facetpak";
constexpr size_t kHashAt = 40, kFixedBytes = 48;
constexpr size_t kEntryBytes = 48;  // without its name
// Far above what models have (some 400, or 800 where experts are apart).
constexpr uint32_t kMaxEntries = 1 << 16;
constexpr int64_t kWriteBytes = int64_t{8} << 20;     // between two reports of progress
constexpr int64_t kFlushBytes = int64_t{256} << 20;   // so that the disk keeps up with the progress that is shown
constexpr int64_t kPopulateBytes = int64_t{8} << 20;  // between two looks at whether to stop

int64_t aligned(int64_t offset) { return (offset + kPackAlignment - 1) / kPackAlignment * kPackAlignment; }

// Reads forward; the first read beyond the end makes everything after it zero, and ok() false.
class Cursor {
 public:
  explicit Cursor(Bytes bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }

  Bytes take(uint64_t n) {
    ok_ = ok_ && n <= bytes_.size();
    const Bytes part = bytes_.first(ok_ ? n : 0);
    bytes_ = bytes_.subspan(part.size());
    return part;
  }
  template <class T>
  T number() {
    T value = 0;
    const Bytes part = take(sizeof value);
    if (ok_) std::memcpy(&value, part.data(), sizeof value);
    return value;
  }
  std::string text(uint64_t n) { return std::string(as_text(take(n))); }

 private:
  Bytes bytes_;
  bool ok_ = true;
};

class Writer {
 public:
  void text(std::string_view text) {
    const Bytes bytes = as_bytes(text);
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  template <class T>
  void number(T value) {
    text({static_cast<const char*>(static_cast<const void*>(&value)), sizeof value});
  }
  std::vector<std::byte>& out() { return out_; }

 private:
  std::vector<std::byte> out_;
};

// Bytes of a head before the padding.
int64_t head_bytes(const PackHead& head) {
  size_t bytes = kFixedBytes + head.identity.size() + head.source.size();
  for (const PackEntry& entry : head.entries) bytes += kEntryBytes + entry.name.size();
  return static_cast<int64_t>(bytes);
}

PackEntry read_entry(Cursor& in) {
  PackEntry entry;
  const auto name_bytes = in.number<uint32_t>();
  const auto type = in.number<uint32_t>();
  entry.type = type < all_dtypes().size() ? all_dtypes()[type].type : DType::f32;
  for (int64_t* field : {&entry.rows, &entry.cols, &entry.groups, &entry.offset, &entry.bytes})
    *field = in.number<int64_t>();
  if (type >= all_dtypes().size()) entry.rows = -1;
  entry.name = in.text(name_bytes);
  return entry;
}

}  // namespace

uint64_t pack_hash(Bytes head) {
  Hash64 hash;
  hash.add(head.first(kHashAt));
  hash.add(head.subspan(kFixedBytes));
  return hash.value();
}

PackHead PackHead::of(std::string identity, std::string source, std::span<const PackedMatrix> matrices) {
  PackHead head{.identity = std::move(identity), .source = std::move(source), .file_bytes = 0, .entries = {}};
  for (const auto& [name, weight] : matrices)
    head.entries.push_back({.name = name,
                            .type = weight.type,
                            .rows = weight.rows,
                            .cols = weight.cols,
                            .groups = weight.groups,
                            .bytes = static_cast<int64_t>(weight.data.size())});
  head.file_bytes = aligned(head_bytes(head));
  for (PackEntry& entry : head.entries) {
    entry.offset = aligned(head.file_bytes);
    head.file_bytes = entry.offset + entry.bytes;
  }
  return head;
}

Result<PackHead> PackHead::parse(Bytes bytes, int64_t file_bytes, const std::string& name) {
  const auto wrong = [&](std::string what, std::string expected = {}, std::string found = {}) {
    return Error{.code = ErrorCode::corrupt,
                 .what = std::move(what),
                 .where = name,
                 .expected = std::move(expected),
                 .found = std::move(found)};
  };
  Cursor fixed(bytes);
  if (fixed.text(kPackMagic.size()) != kPackMagic) return wrong("is no pack of weights");
  if (const auto version = fixed.number<uint32_t>(); version != kPackVersion) {
    Error error = wrong("pack has another version", cat(kPackVersion), cat(version));
    error.code = ErrorCode::unsupported;
    return error;
  }
  PackHead head;
  const auto n_entries = fixed.number<uint32_t>();
  head.file_bytes = fixed.number<int64_t>();
  const auto all = fixed.number<int64_t>();
  const auto identity_bytes = fixed.number<uint32_t>(), source_bytes = fixed.number<uint32_t>();
  const auto hash = fixed.number<uint64_t>();
  if (!fixed.ok()) return wrong("pack ends inside its head");
  if (head.file_bytes != file_bytes)
    return wrong("pack is cut or has grown", cat(head.file_bytes, " bytes"), cat(file_bytes));
  if (all < static_cast<int64_t>(kFixedBytes) || all > static_cast<int64_t>(bytes.size()))
    return wrong("head of the pack does not fit in it", cat("at most ", bytes.size(), " bytes"), cat(all));
  if (hash != pack_hash(bytes.first(static_cast<size_t>(all)))) return wrong("head of the pack is damaged");

  // The hash proves that facet wrote it; what follows keeps a wrong writer, or a right guess, from harm.
  Cursor in(bytes.subspan(kFixedBytes, static_cast<size_t>(all) - kFixedBytes));
  head.identity = in.text(identity_bytes);
  head.source = in.text(source_bytes);
  if (n_entries > kMaxEntries) return wrong("pack has too many matrices", cat("at most ", kMaxEntries), cat(n_entries));
  std::unordered_set<std::string> names;
  int64_t end = all;
  for (uint32_t i = 0; i < n_entries; ++i) {
    PackEntry entry = read_entry(in);
    if (!in.ok()) break;
    const bool right = entry.rows > 0 && entry.cols > 0 && entry.groups > 0 && entry.bytes > 0 &&
                       entry.offset % kPackAlignment == 0 && entry.offset >= end && entry.offset <= file_bytes &&
                       entry.bytes <= file_bytes - entry.offset && names.insert(entry.name).second;
    if (!right) return wrong(cat("matrix ", i, " of the pack is wrong"));
    end = entry.offset + entry.bytes;
    head.entries.push_back(std::move(entry));
  }
  if (!in.ok()) return wrong("pack ends inside its head");
  return head;
}

std::vector<std::byte> PackHead::bytes() const {
  const int64_t all = aligned(head_bytes(*this));
  Writer head;
  head.text(kPackMagic);
  head.number(kPackVersion);
  head.number(static_cast<uint32_t>(entries.size()));
  head.number(file_bytes);
  head.number(all);
  head.number(static_cast<uint32_t>(identity.size()));
  head.number(static_cast<uint32_t>(source.size()));
  head.number(uint64_t{0});
  head.text(identity);
  head.text(source);
  for (const PackEntry& entry : entries) {
    head.number(static_cast<uint32_t>(entry.name.size()));
    head.number(static_cast<uint32_t>(&info(entry.type) - all_dtypes().data()));
    for (const int64_t field : {entry.rows, entry.cols, entry.groups, entry.offset, entry.bytes}) head.number(field);
    head.text(entry.name);
  }
  std::vector<std::byte>& out = head.out();
  out.resize(static_cast<size_t>(all));
  const uint64_t hash = pack_hash(out);
  std::memcpy(out.data() + kHashAt, &hash, sizeof hash);
  return std::move(out);
}

Result<std::shared_ptr<const PackFile>> PackFile::open(const std::filesystem::path& path) {
  auto pack = std::make_shared<PackFile>();
  FACET_TRY(pack->file_, MappedFile::open(path));
  pack->file_.prefer_large_pages();
  FACET_TRY(pack->head_,
            PackHead::parse(pack->file_.bytes(), static_cast<int64_t>(pack->file_.bytes().size()), path.string()));
  for (const PackEntry& entry : pack->head_.entries) pack->index_.emplace(entry.name, &entry);
  return std::shared_ptr<const PackFile>(std::move(pack));
}

std::optional<Weight> PackFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) return std::nullopt;
  const PackEntry& entry = *found->second;
  return Weight{.type = entry.type,
                .layout = Layout::panels,
                .rows = entry.rows,
                .cols = entry.cols,
                .groups = entry.groups,
                .data = file_.bytes().subspan(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.bytes))};
}

void PackFile::populate(FunctionRef<bool()> goes_on) const {
  // No advice on what comes next: the kernel reads ahead by itself, and what is advised it reads into small pages.
  Bytes rest = file_.bytes();
  while (!rest.empty() && goes_on()) {
    const Bytes part = rest.first(std::min<size_t>(kPopulateBytes, rest.size()));
    file_.populate(part);
    rest = rest.subspan(part.size());
  }
}

Result<void> write_pack(const std::filesystem::path& path, const PackHead& head, std::span<const PackedMatrix> matrices,
                        Progress* progress) {
  FACET_CHECK(head.entries.size() == matrices.size());
  FACET_TRY(NewFile file, NewFile::create(path, static_cast<uint64_t>(head.file_bytes)));
  FACET_TRY_VOID(file.write(head.bytes()));
  const std::vector<std::byte> zeros(kPackAlignment);
  int64_t flushed = 0;
  for (size_t i = 0; i < matrices.size(); ++i) {
    const auto offset = static_cast<uint64_t>(head.entries[i].offset);
    FACET_TRY_VOID(file.write(Bytes(zeros).first(offset - file.written())));
    for (Bytes rest = matrices[i].weight.data; !rest.empty();) {
      const Bytes part = rest.first(std::min<size_t>(rest.size(), kWriteBytes));
      FACET_TRY_VOID(file.write(part));
      rest = rest.subspan(part.size());
      const auto written = static_cast<int64_t>(file.written());
      if (written - flushed >= kFlushBytes) {
        FACET_TRY_VOID(file.flush());
        flushed = written;
      }
      if (progress != nullptr && !progress->update("keeping packed weights", written, head.file_bytes))
        return Error{.code = ErrorCode::cancelled, .what = "loading was stopped", .where = path.string()};
    }
  }
  return file.commit();
}

}  // namespace facet::formats
