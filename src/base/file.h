// Files: read-only mappings and atomic replacement. Nothing about their contents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facet/result.h"

namespace facet {

using Bytes = std::span<const std::byte>;

inline Bytes as_bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string_view as_text(Bytes bytes) {
  return {static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size()};
}

// What tells whether a file is still the one that was seen: whoever writes to a file changes `changed`, and no program
// can set that back (where the file system keeps it: FAT and some network file systems do not).
struct FileStamp {
  int64_t size = 0;
  int64_t modified = 0, changed = 0;  // nanoseconds since 1970: of the contents; of contents, name, owner or mode
  // It had not changed for two seconds. Times of files go forward in steps, 2 s at the coarsest: a change within the
  // step of `changed` would not show later.
  bool settled = false;

  // Errors: not_found, io.
  static Result<FileStamp> of(const std::filesystem::path& path);
  bool same_file(const FileStamp& other) const {
    return size == other.size && modified == other.modified && changed == other.changed;
  }
};

// A whole file mapped for reading. Move-only; the bytes live as long as the object. Any thread may read.
// If another process truncates the file while it is mapped, reading beyond the new end is a bus error: the operating
// system offers no way to turn that into an Error, so writers must replace files, not truncate them.
class MappedFile {
 public:
  // Errors: not_found, io (not a regular file, no permission).
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  Bytes bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  const FileStamp& stamp() const { return stamp_; }  // when it was opened

  // Tells the kernel that these bytes will soon be read (all pages they touch), or will not be read again (pages that
  // hold nothing else may be dropped).
  void will_need(Bytes part) const;
  void release(Bytes part) const;
  // Asks for large pages, of which the kernel then reads the file in and maps as many as its file system can.
  void prefer_large_pages() const;
  // Reads the part and maps its pages now, so that nobody waits for them later. Any thread.
  void populate(Bytes part) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
  FileStamp stamp_;
};

// The pages that `part` touches, or those that lie entirely inside it; may be empty, then without an address.
enum class Pages : uint8_t { touched, inside };
Bytes pages_of(Bytes part, Pages which);

// The whole file as a string. Errors: not_found, io; exhausted when it is larger than max_bytes.
Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes);

// A file being written. It has no name until commit(), which makes it appear whole under its path, in place of what was
// there; until then a process that dies leaves nothing behind (where the file system knows no nameless files: a hidden
// one beside the path, ".NAME.part", which the next writer of that path takes over). Move-only.
class NewFile {
 public:
  // size: bytes that will be written, if known; room for them is taken at once. Errors: io (folder, permissions),
  // exhausted (the disk has no room: what is needed, what is free), unavailable (another process is writing the same
  // file).
  enum class Until : uint8_t { nameless, hidden };  // hidden: as where there are no nameless files (tests)
  static Result<NewFile> create(const std::filesystem::path& path, uint64_t size = 0, Until until = Until::nameless);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&& other) noexcept;
  ~NewFile();  // without commit(): nothing stays

  const std::filesystem::path& path() const { return path_; }
  uint64_t written() const { return written_; }

  Result<void> write(Bytes more);
  // Everything written is on the disk.
  Result<void> flush();
  // flush(), then the file appears. Nothing may be written afterwards.
  Result<void> commit();

 private:
  explicit NewFile(std::filesystem::path path) : path_(std::move(path)) {}
  Result<void> open(Until until);
  Result<void> name_it();
  Result<void> take_room(uint64_t size) const;
  std::filesystem::path part() const;
  void abandon();

  std::filesystem::path path_;
  int file_ = -1;
  bool nameless_ = false;
  uint64_t written_ = 0;
  std::vector<std::byte> buffer_;  // the last bytes written, up to a whole block
};

// The whole contents through a NewFile: readers see the old or the new ones.
Result<void> write_file_atomic(const std::filesystem::path& path, Bytes contents);

}  // namespace facet
