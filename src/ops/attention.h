// Attention over cached keys and values, and everything around it: rotation, writing the cache.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/kv_blocks.h"

namespace facet::ops {

// Cosines and sines of a batch's rows for one kind of layer: (T, head_dim / 2) each.
// angle = float(position) * frequency, both float32, as the reference computes it; cos and sin of that angle are then
// correct to float rounding for positions below 2^24.
void rope_angles(Context& ctx, Mat<float> cosine, Mat<float> sine, std::span<const int32_t> positions,
                 const Vector& frequencies);

// Rotates every head of every row of x: (T, heads * head_dim), in place. Half-split pairing.
void rope(Context& ctx, Mat<float> x, int64_t head_dim, Mat<const float> cosine, Mat<const float> sine);

// Stores rows of k and v, (rows, kv_heads * head_dim) each, at the writer's positions.
void write_kv(Context& ctx, const KvWriter& writer, Mat<const float> k, Mat<const float> v);

// The stored key and value of one head at a position the view reaches, as float: for observers. (head_dim) each.
void read_kv(std::span<float> k, std::span<float> v, const KvView& view, int64_t kv_head, int64_t position);
// The same as it is stored: turned (Table::hadamard) where its type turns it.
void read_stored_kv(std::span<float> k, std::span<float> v, const KvView& view, int64_t kv_head, int64_t position);

// Which keys a query row sees: sequence slot (index into the views) and positions [begin, end).
struct QueryRow {
  int32_t slot;
  int32_t begin, end;
};

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
  float scale;
};

// Scratch for split attention, sized at load.
class AttentionScratch {
 public:
  static Result<AttentionScratch> allocate(int n_threads, int64_t max_rows, int64_t heads, int64_t max_head_dim,
                                           int64_t max_context);
  int64_t bytes() const { return tiles_.size() + buffer_.size() + partials_.size(); }

 private:
  friend struct AttentionAccess;
  Buffer tiles_;  // one tile a row, at most
  int64_t max_rows_ = 0;
  Buffer buffer_;
  int64_t per_thread_ = 0;
  Buffer partials_;
  int64_t partial_count_ = 0;
};

// out = softmax(scale * q Kᵀ, visible keys only) V. q, out: (T, heads * head_dim); query head h reads KV head
// h / (heads / kv_heads). Online softmax over absolute blocks of 64 keys, restarted at absolute groups of 512 and
// folded left in ascending order: the same bits for any batch, chunk and thread count. Every row must see at least one
// key.
void attend(Context& ctx, Mat<float> out, Mat<const float> q, std::span<const KvView> views,
            std::span<const QueryRow> rows, const AttentionShape& shape, AttentionScratch& scratch);

}  // namespace facet::ops
