#include "formats/byte_source.h"

#include <cstring>

#include "base/strings.h"

namespace facet::formats {
namespace {

// Bytes that can be addressed: a mapped file, or memory of somebody else.
class AddressableSource : public ByteSource {
 public:
  AddressableSource(std::string name, MappedFile file)
      : name_(std::move(name)), file_(std::move(file)), bytes_(file_.bytes()) {}
  AddressableSource(std::string name, Bytes bytes) : name_(std::move(name)), bytes_(bytes) {}

  const std::string& name() const override { return name_; }
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }

  Result<void> read(int64_t offset, std::span<std::byte> out) const override {
    const Bytes part = mapped(offset, static_cast<int64_t>(out.size()));
    if (part.size() != out.size()) {
      return Error{.code = ErrorCode::corrupt,
                   .what = "read beyond the end",
                   .where = name_,
                   .expected = cat("at most ", size(), " bytes"),
                   .found = cat(out.size(), " bytes at ", offset)};
    }
    if (!out.empty()) std::memcpy(out.data(), part.data(), out.size());
    return {};
  }

  Bytes mapped(int64_t offset, int64_t length) const override {
    if (offset < 0 || length < 0 || offset > size() || length > size() - offset) return {};
    return bytes_.subspan(static_cast<size_t>(offset), static_cast<size_t>(length));
  }

  void will_need(int64_t offset, int64_t length) const override { file_.will_need(mapped(offset, length)); }
  void release(int64_t offset, int64_t length) const override {
    if (!file_.bytes().empty()) file_.release(mapped(offset, length));
  }
  std::optional<FileStamp> stamp() const override {
    return file_.path().empty() ? std::nullopt : std::optional(file_.stamp());
  }

 private:
  std::string name_;
  MappedFile file_;
  Bytes bytes_;
};

}  // namespace

Result<std::shared_ptr<const ByteSource>> open_mapped(const std::filesystem::path& path) {
  FACET_TRY(MappedFile file, MappedFile::open(path));
  return std::shared_ptr<const ByteSource>(std::make_shared<AddressableSource>(path.string(), std::move(file)));
}

std::shared_ptr<const ByteSource> memory_source(std::string name, Bytes bytes) {
  return std::make_shared<AddressableSource>(std::move(name), bytes);
}

}  // namespace facet::formats
