// A saved sequence of any bytes: an Error that leaves no block taken, or a sequence that goes on and saves the same
// bytes.
//
// The first byte of the input chooses. Even: the rest is the stream. Odd: the rest damages a valid stream, since no
// fuzzer finds the 9 numbers that must agree: length, start and rows of a span, then edits of three bytes each (a place
// of 16 bits, a value to xor), then the length is cut by what is left over.
//
// covers: src/model/kv_cache_save.cc
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "kernels/table.h"
#include "model/kv_cache.h"
#include "support/byte_stream.h"

using namespace facet;
using model::KvCache;
using testing::MemoryReader;
using testing::MemorySink;

namespace {

constexpr int64_t kContext = 200, kWindow = 70;

// One sliding and one full layer: the smallest that has every part of a saved sequence.
KvCache make_cache() {
  model::Config config;
  config.heads = 1;
  config.window = kWindow;
  config.layers = {{.full = false, .head_dim = 2, .kv_heads = 1, .donor = 0},
                   {.full = true, .head_dim = 2, .kv_heads = 1, .donor = 1}};
  const model::KvOptions options{.sliding_k = DType::f16,
                                 .sliding_v = DType::f16,
                                 .full_k = DType::bf16,
                                 .full_v = DType::bf16,
                                 .context = kContext,
                                 .max_chunk = kContext,
                                 .sequences = 2};
  Result<KvCache> cache = KvCache::create(kernels::usable_tables()[0], config, options);
  FACET_CHECK(cache.ok());
  return *std::move(cache);
}

int64_t free_blocks(const KvCache& cache) {
  return cache.free_blocks(KvPool::sliding) + cache.free_blocks(KvPool::full);
}

std::vector<std::byte> saved(const KvCache& cache, SeqId id) {
  MemorySink sink;
  FACET_CHECK(cache.save(id, sink).ok());
  return std::move(sink.bytes);
}

// What a sequence of `length` positions with one span is saved as.
std::vector<std::byte> valid_stream(KvCache& cache, int32_t length, int32_t first, int32_t rows) {
  const Result<SeqId> id = cache.create_sequence();
  FACET_CHECK(id.ok());
  std::vector<std::pair<int32_t, int32_t>> spans;
  if (rows > 0 && first + rows <= length) spans.emplace_back(first, first + rows);
  FACET_CHECK(cache.reserve(*id, length, spans).ok());
  cache.advance(*id, length);
  std::vector<std::byte> bytes = saved(cache, *id);
  cache.release(*id);
  return bytes;
}

std::vector<std::byte> damaged_stream(KvCache& cache, std::span<const uint8_t> input) {
  if (input.size() < 3) return {};
  std::vector<std::byte> bytes = valid_stream(cache, input[0] % kContext + 1, input[1], input[2]);
  size_t at = 3;
  for (; at + 3 <= input.size(); at += 3) {
    const size_t place = (input[at] | size_t{input[at + 1]} << 8) % bytes.size();
    bytes[place] ^= std::byte{input[at + 2]};
  }
  bytes.resize(bytes.size() - (input.size() - at));
  return bytes;
}

// Errors when the stream is not accepted.
void restore(KvCache& cache, Bytes stream) {
  MemoryReader in(stream);
  const Result<SeqId> id = cache.restore(in);
  if (!id.ok()) {
    FACET_CHECK(!id.error().message().empty());
    return;
  }
  FACET_CHECK(cache.resumable(*id, cache.length(*id)));
  FACET_CHECK(std::ranges::equal(saved(cache, *id), stream.first(stream.size() - in.remaining())));
  FACET_CHECK(cache.reserve(*id, std::min<int64_t>(1, kContext - cache.length(*id))).ok());
  cache.release(*id);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static KvCache cache = make_cache();
  static const int64_t all = free_blocks(cache);
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    restore(cache, std::as_bytes(rest));
  } else {
    restore(cache, damaged_stream(cache, rest));
  }
  FACET_CHECK(free_blocks(cache) == all);
  return 0;
}
