// Pack files: the packed matrices of a model on disk, in the layout that kernels read, to be mapped (docs/packs.md).
//
// Little-endian. At 0: magic "facetpak", u32 version, u32 number of matrices, u64 bytes of the file, u64 bytes of the
// head (all that is before the first matrix), u32 bytes of the identity, u32 bytes of the source's path, u64 hash of
// the head without these 8 bytes. At 48: the identity, the source's path, and an entry a matrix: u32 bytes of its name,
// u32 number of its type, i64 rows, cols, groups, offset and bytes, its name. Then the matrices, each at a multiple of
// 4096; zeros between.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/function_ref.h"
#include "base/progress.h"
#include "tensor/weight.h"

namespace facet::formats {

inline constexpr uint32_t kPackVersion = 1;
inline constexpr int64_t kPackAlignment = 4096;

// One matrix of a WeightStore. name: which tensors and rows it was made of.
struct PackedMatrix {
  std::string name;
  Weight weight;
};

struct PackEntry {
  std::string name;
  DType type = DType::f32;
  int64_t rows = 0, cols = 0, groups = 1;
  int64_t offset = 0, bytes = 0;  // in the file
};

struct PackHead {
  std::string identity;  // what it was made from, and how (pack_identity.h)
  std::string source;    // the model's path, for people
  int64_t file_bytes = 0;
  std::vector<PackEntry> entries;  // in the order of their offsets

  // The head of a file that will hold these matrices, one after the other. Their names must differ.
  static PackHead of(std::string identity, std::string source, std::span<const PackedMatrix> matrices);
  // bytes: the file, or as much of it as the head takes. Everything is checked; memory taken is proportional to the
  // bytes. name: for messages. Errors: corrupt, unsupported (another version).
  static Result<PackHead> parse(Bytes bytes, int64_t file_bytes, const std::string& name);
  // All that is before the first matrix.
  std::vector<std::byte> bytes() const;
};

// What a head's hash has to be, given its bytes (48 at least).
uint64_t pack_hash(Bytes head);

// A pack, mapped. The bytes of its matrices live as long as the object.
class PackFile {
 public:
  // Errors: not_found, corrupt, unsupported, io.
  static Result<std::shared_ptr<const PackFile>> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const PackHead& head() const { return head_; }
  // The matrix of this name, as it was given to write_pack(); nullopt: there is none.
  std::optional<Weight> find(const std::string& name) const;
  // Reads the matrices from the disk and maps their pages, in order, as long as goes_on().
  void populate(FunctionRef<bool()> goes_on) const;

 private:
  MappedFile file_;
  PackHead head_;
  std::unordered_map<std::string_view, const PackEntry*> index_;  // into head_
};

// The file appears whole or not at all. head: of these matrices. Errors: those of NewFile; cancelled.
Result<void> write_pack(const std::filesystem::path& path, const PackHead& head, std::span<const PackedMatrix> matrices,
                        Progress* progress);

}  // namespace facet::formats
