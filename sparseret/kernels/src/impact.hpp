// Read-only view of a segment of non-negative vectors in impact order (docs/storage.md).
//
// Documents are grouped in windows of 2^window_bits. The postings of one term inside one window
// are a *list*: document numbers within the window, ordered by weight, heaviest first. Every 8
// postings (a *block*) share one code of 8 bits that bounds their weights from above:
//
//   weight of each posting of a block  <=  code * column_max / 255        (bound)
//
// so a posting takes 2 bytes and an eighth. Lists of kLongList postings or more carry a table of
// how many of their blocks have a code >= kLevels[i]: with it a query is planned, and every list
// cut, before a posting is touched. Table, codes and documents of a list lie side by side in
// `words` of 16 bits, so that a short look at a list costs one place in memory:
//
//   [table: kLevels.size() words, long lists only] [codes: two a word, the last one padded] [docs]
//
// The rows (document -> columns, values) are kept beside: they are the truth that decides.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "segment.hpp"

namespace sparseret {

inline constexpr std::size_t kBlock = 8;
inline constexpr unsigned kMaxImpactBits = 16;
inline constexpr std::size_t kLongList = 64;
// Thresholds at which lists may be cut, besides "keep all".
inline constexpr std::array<std::uint8_t, 8> kLevels{160, 112, 80, 56, 40, 28, 18, 10};

struct ImpactList {
    std::uint32_t begin;            // first word
    std::uint32_t window_and_size;  // window << 16 | postings - 1

    std::uint32_t window() const { return window_and_size >> 16; }
    std::uint32_t size() const { return (window_and_size & 0xffff) + 1; }
    std::uint32_t n_blocks() const { return (size() + kBlock - 1) / kBlock; }
    std::size_t table_words() const { return size() >= kLongList ? kLevels.size() : 0; }
    std::size_t code_words() const { return (n_blocks() + 1) / 2; }
    std::size_t n_words() const { return table_words() + code_words() + size(); }
};

// Blocks of a list whose code is at least kLevels[level]. `levels` is its table, null in short lists.
inline std::uint32_t blocks_at(const std::uint16_t* levels, const std::uint8_t* codes,
                               std::uint32_t n_blocks, std::size_t level) {
    if (levels) return std::min<std::uint32_t>(levels[level], n_blocks);  // if a file was altered
    std::uint32_t n = 0;
    while (n < n_blocks && codes[n] >= kLevels[level]) ++n;
    return n;
}

struct ImpactView {
    std::size_t n_docs = 0;
    unsigned window_bits = 14;
    std::size_t n_columns = 0;
    const std::int32_t* columns = nullptr;      // ascending
    const float* column_max = nullptr;          // largest weight of each column
    const std::uint32_t* column_ptr = nullptr;  // n_columns + 1, into lists
    std::size_t n_lists = 0;
    const ImpactList* lists = nullptr;    // windows ascend within a column
    std::size_t n_words = 0;
    const std::uint16_t* words = nullptr;
    std::size_t n_postings = 0;
    const std::int64_t* row_ptr = nullptr;  // n_docs + 1
    bool wide_ranks = false;
    const void* row_ranks = nullptr;  // position in `columns`, ascending, 16 or 32 bits
    ValueKind kind = ValueKind::plain;
    const void* row_values = nullptr;
    const float* table = nullptr;  // of codes, as in SegmentView
    std::size_t table_size = 0;

    // Position of a column in `columns`, or n_columns. Columns ascend, so a column is at most as far
    // from the place of the same number as there are columns missing: few, in a full vocabulary.
    std::size_t find(std::int32_t column) const {
        if (!n_columns || column < 0 || column < columns[0] || column > columns[n_columns - 1])
            return n_columns;
        const auto wanted = static_cast<std::size_t>(column);
        const auto missing = static_cast<std::size_t>(columns[n_columns - 1]) + 1 - n_columns;
        const std::int32_t* from = columns + (wanted > missing ? wanted - missing : 0);
        const std::int32_t* to = columns + std::min(wanted + 1, n_columns);
        if (from >= to) return n_columns;  // only in an altered file
        const auto* at = std::lower_bound(from, to, column);
        return at != to && *at == column ? static_cast<std::size_t>(at - columns) : n_columns;
    }

    // Offsets come from a file and are not trusted.
    void list_range(std::size_t rank, std::uint32_t& begin, std::uint32_t& end) const {
        begin = column_ptr[rank];
        end = column_ptr[rank + 1];
        if (begin > end || end > n_lists) throw CorruptSegment("column_ptr is out of range");
    }

    void check(const ImpactList& list) const {
        if (list.begin + list.n_words() > n_words ||
            (std::size_t{list.window()} << window_bits) >= n_docs)
            throw CorruptSegment("a list is out of range");
    }
};

}  // namespace sparseret
