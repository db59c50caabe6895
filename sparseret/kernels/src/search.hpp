// Exact top-k by term-at-a-time accumulation over windows of documents.
//
//   score(d) = sum over the query's columns, ascending, of q_c * w_cd   (float32, no fused ops)
//
// which is the order and the arithmetic of scipy's float32 CSR product, so scores are equal to it
// bit for bit (reference.py). A window of up to 2^16 accumulators stays in the L2 cache.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "scan.hpp"
#include "segment.hpp"
#include "topk.hpp"
#include "values.hpp"

namespace sparseret {

struct QueryView {
    const std::int32_t* columns;  // ascending
    const float* values;
    std::size_t size;
};

// One segment as a search sees it: rows from `first_row` on, and the documents allowed in it.
struct SearchTarget {
    const SegmentView* segment;
    const std::uint64_t* allowed;  // bit per document, or null for all
    std::size_t begin, end;        // documents of a range
    std::int64_t first_row;
};

// Accumulators that live as long as their thread: clean (all untouched) between searches.
class Accumulators {
  public:
    static constexpr std::size_t kSize = std::size_t{1} << kMaxWindowBits;
    Accumulators() : data_(static_cast<float*>(::operator new(kSize * 4, std::align_val_t{64}))) {
        clear();
    }
    ~Accumulators() { ::operator delete(data_, std::align_val_t{64}); }
    Accumulators(const Accumulators&) = delete;
    Accumulators& operator=(const Accumulators&) = delete;
    float* data() { return data_; }
    void clear() { std::fill_n(data_, kSize, kUntouched); }

  private:
    float* data_;
};

class Searcher {
  public:
    Searcher(const QueryView& query, std::size_t k) : query_(query), top_(k) {}

    void run(const SearchTarget& target) {
        switch (target.segment->kind) {
            case ValueKind::plain: return visit(target, PlainValues(target.segment->posting_values));
            case ValueKind::code8:
                return visit(target, CodedValues<std::uint8_t>(target.segment->posting_values, target.segment->table,
                                                               target.segment->table_size));
            case ValueKind::code16:
                return visit(target, CodedValues<std::uint16_t>(target.segment->posting_values, target.segment->table,
                                                               target.segment->table_size));
            case ValueKind::code32:
                return visit(target, CodedValues<std::uint32_t>(target.segment->posting_values, target.segment->table,
                                                               target.segment->table_size));
        }
    }

    std::vector<Hit> finish() { return top_.finish(); }

  private:
    struct Cursor {
        float weight;
        std::uint32_t block, end;
        std::uint32_t window;
    };
    struct List {
        float weight;
        std::uint32_t begin, end;
    };

    template <class Values>
    void visit(const SearchTarget& target, const Values& values) {
        const SegmentView& segment = *target.segment;
        open_cursors(segment);
        while (!cursors_.empty()) {
            std::uint32_t window = std::numeric_limits<std::uint32_t>::max();
            for (const Cursor& cursor : cursors_) window = std::min(window, cursor.window);
            const std::size_t first = static_cast<std::size_t>(window) << segment.window_bits;
            if (first >= segment.n_docs) throw CorruptSegment("block_window is out of range");
            const std::size_t n = std::min(std::size_t{1} << segment.window_bits,
                                           segment.n_docs - first);
            take_lists(segment, window);
            if (first >= target.end) return;
            if (first + n > target.begin) score_window(target, values, first, n);
        }
    }

    void open_cursors(const SegmentView& segment) {
        cursors_.clear();
        for (std::size_t t = 0; t < query_.size; ++t) {
            const std::size_t at = segment.find(query_.columns[t]);
            if (at == segment.n_columns) continue;
            Cursor cursor{query_.values[t], 0, 0, 0};
            segment.block_range(at, cursor.block, cursor.end);
            if (cursor.block == cursor.end) continue;
            cursor.window = segment.block_window[cursor.block];
            cursors_.push_back(cursor);
        }
    }

    // Moves the lists of `window` into lists_, in query order, and drops exhausted cursors.
    void take_lists(const SegmentView& segment, std::uint32_t window) {
        lists_.clear();
        n_postings_ = 0;
        bool exhausted = false;
        for (Cursor& cursor : cursors_) {
            if (cursor.window != window) continue;
            const Block block = segment.block(cursor.block);
            lists_.push_back({cursor.weight, block.begin, block.end});
            n_postings_ += block.end - block.begin;
            if (++cursor.block == cursor.end) {
                exhausted = true;
                continue;
            }
            cursor.window = segment.block_window[cursor.block];
            if (cursor.window <= window) throw CorruptSegment("block_window is not ascending");
        }
        if (exhausted)
            std::erase_if(cursors_, [](const Cursor& c) { return c.block == c.end; });
    }

    template <class Values>
    void score_window(const SearchTarget& target, const Values& values, std::size_t first,
                      std::size_t n) {
        const std::uint16_t* docs = target.segment->posting_docs;
        const std::int64_t first_row = target.first_row + static_cast<std::int64_t>(first);
        const std::uint64_t* allowed = target.allowed;
        auto offer = [&](std::size_t i, float score) {
            const std::size_t doc = first + i;
            if (doc < target.begin || doc >= target.end) return;
            if (allowed) {
                if (!(allowed[doc >> 6] >> (doc & 63) & 1)) return;
            }
            top_.push(score, first_row + static_cast<std::int64_t>(i));
        };

        // Only an altered file names documents past the end; they must not reach the accumulators.
        if (n < Accumulators::kSize) check_documents(docs, n);
        static thread_local Accumulators accumulators;
        float* acc = accumulators.data();
        for (const List& list : lists_)
            for (std::size_t p = list.begin; p < list.end; ++p)
                acc[docs[p]] += list.weight * values[p] + 0.0f;

        try {
            if (n_postings_ * kSparseFactor >= n) {
                scan_and_clear(acc, n, top_.threshold(), offer);
            } else {
                for (const List& list : lists_)
                    for (std::size_t p = list.begin; p < list.end; ++p) {
                        const std::size_t i = docs[p];
                        const float score = acc[i];
                        if (!touched(score)) continue;  // offered already
                        acc[i] = kUntouched;
                        // Not in document order: an equal score may still win its tie.
                        if (score >= top_.threshold()) offer(i, score);
                    }
            }
        } catch (...) {  // out of memory: leave the accumulators clean for the next search
            accumulators.clear();
            throw;
        }
        top_.sharpen();
    }

    void check_documents(const std::uint16_t* docs, std::size_t n) const {
        for (const List& list : lists_) {
            std::uint16_t largest = 0;
            for (std::size_t p = list.begin; p < list.end; ++p)
                largest = std::max(largest, docs[p]);
            if (largest >= n) throw CorruptSegment("posting_docs is out of range");
        }
    }

    // Below one posting in this many documents, walking the lists again beats scanning the window.
    static constexpr std::size_t kSparseFactor = 32;

    QueryView query_;
    TopK top_;
    std::vector<Cursor> cursors_;
    std::vector<List> lists_;
    std::size_t n_postings_ = 0;
};

}  // namespace sparseret
