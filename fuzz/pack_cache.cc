// The head of a pack of any bytes: an Error, or a head whose matrices lie in the file, apart from each other, and that
// is written again as it was read.
//
// Nobody finds the right hash by chance: where the first byte of the input is odd, it is corrected first. The rest is
// the file.
//
// covers: src/formats/pack_file.cc
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <vector>

#include <unistd.h>

#include "base/check.h"
#include "base/strings.h"
#include "formats/pack_file.h"

using namespace facet;
using formats::PackHead;

namespace {

constexpr size_t kHeadBytesAt = 24, kHashAt = 40, kFixedBytes = 48;

void correct_hash(std::vector<std::byte>& file) {
  uint64_t head = 0;
  if (file.size() < kFixedBytes) return;
  std::memcpy(&head, file.data() + kHeadBytesAt, sizeof head);
  if (head < kFixedBytes || head > file.size()) return;
  const uint64_t hash = formats::pack_hash(Bytes(file).first(head));
  std::memcpy(file.data() + kHashAt, &hash, sizeof hash);
}

const std::filesystem::path& scratch() {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / cat("facet-fuzz-pack-", ::getpid());
  return path;
}

// The matrices as a file maps them are those of the head, and a pack written of them says the same.
void map_and_write(const std::vector<std::byte>& file, const PackHead& head) {
  FACET_CHECK(write_file_atomic(scratch(), file).ok());
  const auto pack = formats::PackFile::open(scratch());
  FACET_CHECK(pack.ok());
  (*pack)->populate([] { return true; });
  std::vector<formats::PackedMatrix> matrices;
  unsigned sum = 0;
  for (const formats::PackEntry& entry : head.entries) {
    const std::optional<Weight> weight = (*pack)->find(entry.name);
    FACET_CHECK(weight && static_cast<int64_t>(weight->data.size()) == entry.bytes);
    for (const std::byte b : weight->data) sum += std::to_integer<unsigned>(b);  // all of it can be read
    matrices.push_back({.name = entry.name, .weight = *weight});
  }
  const volatile unsigned read = sum;
  static_cast<void>(read);
  const PackHead again = PackHead::of(head.identity, head.source, matrices);
  FACET_CHECK(formats::write_pack(scratch(), again, matrices, nullptr).ok());
  const auto second = formats::PackFile::open(scratch());
  FACET_CHECK(second.ok() && (*second)->head().entries.size() == head.entries.size());
  FACET_CHECK((*second)->head().identity == head.identity && (*second)->head().source == head.source);
  std::filesystem::remove(scratch());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Bytes rest = std::as_bytes(std::span(data + 1, size - 1));
  std::vector<std::byte> file(rest.begin(), rest.end());
  if (data[0] % 2 == 1) correct_hash(file);
  const auto bytes = static_cast<int64_t>(file.size());
  const Result<PackHead> head = PackHead::parse(file, bytes, "pack");
  if (!head.ok()) {
    FACET_CHECK(!head.error().message().empty());
    return 0;
  }
  int64_t end = static_cast<int64_t>(kFixedBytes);
  for (const formats::PackEntry& entry : head->entries) {
    FACET_CHECK(entry.offset >= end && entry.bytes > 0 && entry.bytes <= bytes - entry.offset);
    FACET_CHECK(entry.rows > 0 && entry.cols > 0 && entry.groups > 0);
    end = entry.offset + entry.bytes;
  }
  map_and_write(file, *head);
  return 0;
}
