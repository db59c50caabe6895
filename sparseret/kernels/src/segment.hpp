// Read-only view of one segment's inverted part (docs/storage.md gives the layout).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "values.hpp"

namespace sparseret {

// An offset inside the file points outside it. The Python layer turns this into CorruptIndexError.
struct CorruptSegment : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline constexpr unsigned kMaxWindowBits = 16;

// Postings of one term inside one window of 2^window_bits documents.
struct Block {
    std::uint32_t window;
    std::uint32_t begin, end;  // into posting_docs and posting_values
};

struct SegmentView {
    std::size_t n_docs = 0;
    unsigned window_bits = kMaxWindowBits;
    const std::int32_t* columns = nullptr;  // n_columns, ascending
    std::size_t n_columns = 0;
    const std::uint32_t* column_ptr = nullptr;    // n_columns + 1, into blocks
    const std::uint16_t* block_window = nullptr;  // n_blocks
    std::size_t n_blocks = 0;
    const std::uint32_t* block_ptr = nullptr;     // n_blocks + 1, into postings
    const std::uint16_t* posting_docs = nullptr;  // n_postings, document number inside its window
    std::size_t n_postings = 0;
    ValueKind kind = ValueKind::plain;
    const void* posting_values = nullptr;  // n_postings, float32 or codes
    // Weight of each code; for 8- and 16-bit codes as long as the code can count, so that no
    // posting can point past its end.
    const float* table = nullptr;
    std::size_t table_size = 0;

    // Position of a column in `columns`, or n_columns where the segment lacks it.
    std::size_t find(std::int32_t column) const {
        const auto* at = std::lower_bound(columns, columns + n_columns, column);
        return at != columns + n_columns && *at == column
                   ? static_cast<std::size_t>(at - columns)
                   : n_columns;
    }

    // Blocks of the column at position `at`. Offsets come from a file and are not trusted.
    void block_range(std::size_t at, std::uint32_t& begin, std::uint32_t& end) const {
        begin = column_ptr[at];
        end = column_ptr[at + 1];
        if (begin > end || end > n_blocks) throw CorruptSegment("column_ptr is out of range");
    }

    Block block(std::uint32_t b) const {
        const Block out{block_window[b], block_ptr[b], block_ptr[b + 1]};
        if (out.begin > out.end || out.end > n_postings)
            throw CorruptSegment("block_ptr is out of range");
        return out;
    }

    // Number of documents that hold the column at position `at`.
    std::uint32_t document_frequency(std::size_t at) const {
        std::uint32_t begin, end;
        block_range(at, begin, end);
        const std::uint32_t first = block_ptr[begin], last = block_ptr[end];
        if (first > last || last > n_postings) throw CorruptSegment("block_ptr is out of range");
        return last - first;
    }
};

}  // namespace sparseret
