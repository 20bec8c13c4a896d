// Merger: turns one run of text into tokens by merging neighbours, best pair first, leftmost first among equals.
//
// Short runs look for the best pair anew each time; longer ones keep the pairs in a heap. Runs of any length cost
// linear time: they are merged in windows. Two facts make that exact. First, merges inside a stretch do not depend on
// what lies beyond its borders until one crosses a border. So, second, a row of tokens is the right one if and only if
// every two neighbours are what their joined text alone would give. A window therefore begins at a token of the one
// before, and if its first token is that token again, all neighbours have been seen together. Otherwise the windows
// were too small, and the run starts again with larger ones.
#pragma once

#include <algorithm>
#include <functional>
#include <string_view>
#include <vector>

#include "tokenizer/merge_rules.h"

namespace facet::tokenizer {

template <class Rules>
class Merger {
 public:
  Merger(const Vocab& vocab, const Rules& rules) : vocab_(vocab), rules_(rules) {}

  // Appends the tokens of run, in which spaces are plain.
  void append(std::string_view run, std::vector<Token>& out) {
    const size_t mark = out.size();
    for (size_t window = smallest_window(); !append_in_windows(run, window, out); window *= 2) out.resize(mark);
  }

 private:
  static constexpr size_t kShortRun = 24;  // symbols
  static constexpr size_t kWindow = 1024;  // bytes; smaller heaps are faster, larger windows overlap less
  static constexpr uint32_t kNone = UINT32_MAX;

  // A symbol and the pair that it begins.
  struct Item {
    Symbol symbol;
    Merge merge;
    uint32_t previous, next;  // heap only
  };

  size_t smallest_window() const { return std::max(kWindow, 8 * vocab_.longest_piece()); }

  // False: a window did not begin with the token on which it was set.
  bool append_in_windows(std::string_view run, size_t window, std::vector<Token>& out) {
    for (size_t at = 0, expected = 0;;) {  // expected: the size of the first token, 0 where any will do
      const bool last = run.size() - at <= window;
      const std::string_view text = last ? run.substr(at) : run.substr(at, window);
      merge(text);
      if (expected != 0 && items_[0].symbol.size != expected) return false;
      if (last) {
        for (const Item& item : items_) emit(text, item.symbol, out);
        return true;
      }
      // Tokens near the end would be others if the window were longer. (It may also have cut a character.)
      const size_t sure = window - 2 * vocab_.longest_piece() - 4;
      size_t i = 0;
      for (; items_[i].symbol.begin + items_[i].symbol.size < sure; ++i) emit(text, items_[i].symbol, out);
      at += items_[i].symbol.begin;
      expected = items_[i].symbol.size;
    }
  }

  // Fills items_ with the tokens of text.
  void merge(std::string_view text) {
    items_.clear();
    for (size_t at = 0; at < text.size();) {
      const Character character = character_at(text, at);
      const Symbol symbol{static_cast<uint32_t>(at), character.size, vocab_.find_character(character.code)};
      items_.push_back({symbol, {}, 0, 0});
      at += character.size;
    }
    for (size_t i = 0; i + 1 < items_.size(); ++i) look_at_pair(text, items_[i], items_[i + 1]);
    items_.size() <= kShortRun ? merge_short(text) : merge_long(text);
  }

  void look_at_pair(std::string_view text, Item& left, const Item& right) {
    left.merge = rules_.find(text, left.symbol, right.symbol);
  }

  void merge_short(std::string_view text) {
    for (;;) {
      const auto best = std::ranges::min_element(items_, {}, [](const Item& item) { return item.merge.rank; });
      if (best == items_.end() || best->merge.rank == Merge::kNever) return;
      best->symbol = {best->symbol.begin, best->symbol.size + (best + 1)->symbol.size, best->merge.result};
      items_.erase(best + 1);
      best->merge = {};
      if (best + 1 != items_.end()) look_at_pair(text, *best, *(best + 1));
      if (best != items_.begin()) look_at_pair(text, *(best - 1), *best);
    }
  }

  void merge_long(std::string_view text) {
    link_and_fill_heap();
    while (!heap_.empty()) {
      std::ranges::pop_heap(heap_, std::greater());
      const uint64_t top = heap_.back();
      heap_.pop_back();
      const auto i = static_cast<uint32_t>(top);
      // A pair that has changed since it was queued has another rank now, or none. One queued twice with the same rank
      // is as good as new.
      if (items_[i].merge.rank == Merge::kNever || queued(i) != top) continue;
      merge_next(text, i);
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != kNone; i = items_[i].next) items_[kept++] = items_[i];
    items_.resize(kept);
  }

  uint64_t queued(uint32_t i) const { return uint64_t{items_[i].merge.rank} << 32 | i; }

  void link_and_fill_heap() {
    heap_.clear();
    const auto count = static_cast<uint32_t>(items_.size());
    for (uint32_t i = 0; i < count; ++i) {
      items_[i].previous = i - 1;  // kNone for the first
      items_[i].next = i + 1 < count ? i + 1 : kNone;
      if (items_[i].merge.rank != Merge::kNever) heap_.push_back(queued(i));
    }
    std::ranges::make_heap(heap_, std::greater());
  }

  void merge_next(std::string_view text, uint32_t i) {
    Item& left = items_[i];
    Item& right = items_[left.next];
    left.symbol = {left.symbol.begin, left.symbol.size + right.symbol.size, left.merge.result};
    left.next = right.next;
    left.merge = right.merge = {};
    if (left.next != kNone) {
      items_[left.next].previous = i;
      queue(text, i);
    }
    if (left.previous != kNone) queue(text, left.previous);
  }

  void queue(std::string_view text, uint32_t i) {
    look_at_pair(text, items_[i], items_[items_[i].next]);
    if (items_[i].merge.rank == Merge::kNever) return;
    heap_.push_back(queued(i));
    std::ranges::push_heap(heap_, std::greater());
  }

  void emit(std::string_view text, const Symbol& symbol, std::vector<Token>& out) const {
    if (symbol.token >= 0) {
      out.push_back(symbol.token);
      return;
    }
    for (const char byte : text.substr(symbol.begin, symbol.size)) out.push_back(vocab_.byte_token(byte));
  }

  const Vocab& vocab_;
  const Rules& rules_;
  std::vector<Item> items_;
  std::vector<uint64_t> heap_;  // rank, then place: the smallest on top
};

}  // namespace facet::tokenizer
