// Overlap search by inverted lists: for each block of codes and each cell, which codes of the block
// have the cell. A query counts, block by block, how often its cells' lists name a code; counters
// and lists of a block stay in the nearest caches, and a code costs two bytes an active cell.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "aligned.hpp"
#include "sdr_scan.hpp"
#include "sdr_top.hpp"

namespace sparseret {

inline constexpr unsigned kMaxSdrBlockBits = 16;
inline constexpr std::size_t kMaxSdrActive = 65535;

// Rows of a binary CSR matrix, columns ascending and unique within a row.
struct SdrRows {
    const std::int64_t* indptr;
    const std::int32_t* columns;
    std::size_t n;

    const std::int32_t* begin(std::size_t row) const { return columns + indptr[row]; }
    std::size_t active(std::size_t row) const {
        return static_cast<std::size_t>(indptr[row + 1] - indptr[row]);
    }
};

struct SdrListArrays {
    std::vector<std::uint16_t> docs;   // within their block: block after block, cell after cell
    std::vector<std::uint32_t> ptr;    // n_cells + 1 offsets a block, from the block's first
    std::vector<std::int64_t> blocks;  // where each block begins in docs, and their end
};

inline std::size_t sdr_blocks(std::size_t n_docs, unsigned bits) {
    return (n_docs + (std::size_t{1} << bits) - 1) >> bits;
}

// By counting sort; columns lie in 0..n_cells-1, and a row has at most kMaxSdrActive.
inline SdrListArrays build_sdr_lists(const SdrRows& rows, std::size_t n_cells, unsigned bits) {
    SdrListArrays out;
    const std::size_t n_blocks = sdr_blocks(rows.n, bits);
    out.docs.resize(static_cast<std::size_t>(rows.indptr[rows.n]));
    out.ptr.assign(n_blocks * (n_cells + 1), 0);
    out.blocks.reserve(n_blocks + 1);
    out.blocks.push_back(0);
    std::vector<std::uint32_t> next(n_cells);
    for (std::size_t b = 0; b < n_blocks; ++b) {
        const std::size_t first = b << bits;
        const std::size_t end = std::min(rows.n, first + (std::size_t{1} << bits));
        std::uint32_t* ptr = out.ptr.data() + b * (n_cells + 1);
        std::uint16_t* docs = out.docs.data() + rows.indptr[first];
        for (std::int64_t i = rows.indptr[first]; i < rows.indptr[end]; ++i)
            ++ptr[static_cast<std::size_t>(rows.columns[i]) + 1];
        for (std::size_t c = 0; c < n_cells; ++c) ptr[c + 1] += ptr[c];
        std::copy_n(ptr, n_cells, next.begin());
        for (std::size_t row = first; row < end; ++row)
            for (std::int64_t i = rows.indptr[row]; i < rows.indptr[row + 1]; ++i)
                docs[next[static_cast<std::size_t>(rows.columns[i])]++] =
                    static_cast<std::uint16_t>(row - first);
        out.blocks.push_back(rows.indptr[end]);
    }
    return out;
}

class SdrLists {
  public:
    // Throws std::invalid_argument where the arrays are no lists of n_docs codes: they may be read
    // from a file. A code in a list twice is not noticed; it gives a wrong overlap and no more.
    SdrLists(std::size_t n_docs, std::size_t n_cells, std::size_t most_active, unsigned bits,
             const std::uint16_t* docs, std::size_t n_postings, const std::uint32_t* ptr,
             std::size_t n_ptr, const std::int64_t* blocks, std::size_t n_bounds)
        : n_docs_(n_docs), n_cells_(n_cells), most_active_(most_active), bits_(bits), docs_(docs),
          ptr_(ptr), blocks_(blocks) {
        const std::size_t n_blocks = sdr_blocks(n_docs, bits);
        bool sound = n_bounds == n_blocks + 1 && n_ptr == n_blocks * (n_cells + 1) &&
                     blocks[0] == 0 && blocks[n_blocks] == static_cast<std::int64_t>(n_postings);
        for (std::size_t b = 0; sound && b < n_blocks; ++b) {
            // Any descent would show in a later block's end, too: all lie in order from 0 to the end.
            sound = blocks[b] <= blocks[b + 1];
            const std::uint32_t* own = ptr + b * (n_cells + 1);
            sound = sound && own[0] == 0 && own[n_cells] == blocks[b + 1] - blocks[b];
            for (std::size_t c = 0; sound && c < n_cells; ++c) sound = own[c] <= own[c + 1];
        }
        for (std::size_t b = 0; sound && b < n_blocks; ++b) {
            std::uint16_t most = 0;
            for (std::int64_t i = blocks[b]; i < blocks[b + 1]; ++i) most = std::max(most, docs[i]);
            sound = most < size_of(b) || blocks[b] == blocks[b + 1];
        }
        if (!sound) throw std::invalid_argument("the arrays are no lists of these codes");
    }

    std::size_t n_docs() const { return n_docs_; }
    std::size_t most_active() const { return most_active_; }

    // The best k of each of the rows first..end-1, whose columns lie in 0..n_cells-1.
    void search(const SdrRows& queries, std::size_t first, std::size_t end, std::size_t k,
                std::uint32_t least, std::vector<Match>* found) const {
        const std::size_t room = std::max<std::size_t>(64, std::min(n_docs_, std::size_t{1} << bits_));
        AlignedArray<std::uint8_t> narrow((room + 63) / 64 * 64);
        AlignedArray<std::uint16_t> wide;
        for (std::size_t q = first; q < end; ++q) {
            const std::size_t most = std::min(queries.active(q), most_active_);
            TopOverlaps top(k, least, static_cast<std::uint32_t>(most));
            if (most >= least) {
                if (most <= 255) {
                    count(queries, q, narrow.data(), top);
                } else {
                    if (!wide.data()) wide = AlignedArray<std::uint16_t>((room + 63) / 64 * 64);
                    count(queries, q, wide.data(), top);
                }
            }
            found[q] = top.finish();
        }
    }

  private:
    std::size_t size_of(std::size_t block) const {
        return std::min(std::size_t{1} << bits_, n_docs_ - (block << bits_));
    }

    template <class Count>
    void count(const SdrRows& queries, std::size_t q, Count* counts, TopOverlaps& top) const {
        const std::int32_t* cells = queries.begin(q);
        const std::size_t n = queries.active(q);
        const std::size_t n_blocks = sdr_blocks(n_docs_, bits_);
        for (std::size_t b = 0; b < n_blocks; ++b) {
            const std::uint32_t* ptr = ptr_ + b * (n_cells_ + 1);
            const std::uint16_t* docs = docs_ + blocks_[b];
            for (std::size_t j = 0; j < n; ++j) {
#if defined(__GNUC__) || defined(__clang__)
                // The processor foresees the rest of a list, but not where the next one starts.
                if (j + 2 < n) {
                    const auto* ahead = docs + ptr[cells[j + 2]];
                    __builtin_prefetch(ahead);
                    __builtin_prefetch(ahead + 32);
                }
#endif
                const std::uint16_t* doc = docs + ptr[cells[j]];
                const std::uint16_t* stop = docs + ptr[cells[j] + 1];
                for (; stop - doc >= 4; doc += 4) {
                    ++counts[doc[0]];
                    ++counts[doc[1]];
                    ++counts[doc[2]];
                    ++counts[doc[3]];
                }
                for (; doc != stop; ++doc) ++counts[*doc];
            }
            const auto base = static_cast<std::uint32_t>(b << bits_);
            // Lists of an altered file may count more than a code can have.
            const auto most = static_cast<std::uint32_t>(std::min(n, most_active_));
            take_counts(counts, size_of(b), top.bound(),
                        [&](std::size_t i, std::uint32_t overlap) {
                            top.offer(base + static_cast<std::uint32_t>(i), std::min(overlap, most));
                        });
        }
    }

    std::size_t n_docs_, n_cells_, most_active_;
    unsigned bits_;
    const std::uint16_t* docs_;
    const std::uint32_t* ptr_;
    const std::int64_t* blocks_;
};

}  // namespace sparseret
