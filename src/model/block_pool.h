// BlockPool: which blocks of one pool are free, and how many tables refer to each of the others.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "ops/kv_blocks.h"

namespace facet::model {

class BlockPool {
 public:
  explicit BlockPool(int64_t capacity = 0) : references_(static_cast<size_t>(capacity)) {
    free_.reserve(references_.size());
    // Low numbers go first and a freed block goes before one never used: memory that was never touched costs nothing.
    for (int64_t block = capacity - 1; block >= 0; --block) free_.push_back(static_cast<BlockId>(block));
  }

  int64_t capacity() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_count() const { return static_cast<int64_t>(free_.size()); }
  std::span<const BlockId> free_blocks() const { return free_; }
  int32_t references(BlockId block) const { return references_[static_cast<size_t>(block)]; }

  // Requires free_count() > 0. The block has one reference; its contents are whatever they were.
  BlockId take() {
    FACET_CHECK(!free_.empty());
    const BlockId block = free_.back();
    free_.pop_back();
    references_[static_cast<size_t>(block)] = 1;
    return block;
  }
  void share(BlockId block) {
    FACET_CHECK(references(block) > 0);
    ++references_[static_cast<size_t>(block)];
  }
  void release(BlockId block) {
    FACET_CHECK(references(block) > 0);
    if (--references_[static_cast<size_t>(block)] == 0) free_.push_back(block);
  }

 private:
  std::vector<int32_t> references_;  // 0: free
  std::vector<BlockId> free_;
};

}  // namespace facet::model
