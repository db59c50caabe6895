// Turns rows (document -> columns) into postings (column -> documents), by counting sort.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sparseret {

// Directory of the inverted part (docs/storage.md).
struct Postings {
    std::vector<std::int32_t> columns;
    std::vector<std::uint32_t> column_ptr;
    std::vector<std::uint16_t> block_window;
    std::vector<std::uint32_t> block_ptr;
};

// Position of each distinct column in ascending order.
class ColumnMap {
  public:
    ColumnMap(const std::int32_t* columns, std::size_t n) {
        std::int32_t largest = -1;
        for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, columns[i]);
        const std::size_t range = static_cast<std::size_t>(largest) + 1;
        if (range <= 4 * n + 65536) {  // dense: a table by column
            position_.assign(range, 0);
            for (std::size_t i = 0; i < n; ++i) position_[static_cast<std::size_t>(columns[i])] = 1;
            for (std::size_t c = 0; c < range; ++c)
                if (position_[c]) {
                    position_[c] = static_cast<std::uint32_t>(distinct_.size());
                    distinct_.push_back(static_cast<std::int32_t>(c));
                }
        } else {  // few columns far apart: binary search
            distinct_.assign(columns, columns + n);
            std::sort(distinct_.begin(), distinct_.end());
            distinct_.erase(std::unique(distinct_.begin(), distinct_.end()), distinct_.end());
        }
    }

    std::size_t operator()(std::int32_t column) const {
        if (!position_.empty()) return position_[static_cast<std::size_t>(column)];
        return static_cast<std::size_t>(
            std::lower_bound(distinct_.begin(), distinct_.end(), column) - distinct_.begin());
    }

    std::vector<std::int32_t>& distinct() { return distinct_; }

  private:
    std::vector<std::uint32_t> position_;
    std::vector<std::int32_t> distinct_;
};

// columns and values are row-major, nnz = row_ptr[n_docs]; posting_docs and posting_values have
// room for nnz. The caller has checked row_ptr and that columns are non-negative and unique in
// each row, and that n_docs <= 2^(window_bits + 16) and nnz < 2^32.
template <class Value>
Postings invert(std::size_t n_docs, unsigned window_bits, const std::int64_t* row_ptr,
                const std::int32_t* columns, const Value* values, std::uint16_t* posting_docs,
                Value* posting_values) {
    const auto nnz = static_cast<std::size_t>(row_ptr[n_docs]);
    ColumnMap map(columns, nnz);
    const std::size_t n_columns = map.distinct().size();

    constexpr std::uint32_t kNone = 0xffffffffu;
    std::vector<std::uint32_t> n_postings(n_columns, 0), n_blocks(n_columns, 0);
    std::vector<std::uint32_t> last_window(n_columns, kNone);
    for (std::size_t doc = 0; doc < n_docs; ++doc) {
        const auto window = static_cast<std::uint32_t>(doc >> window_bits);
        for (auto i = row_ptr[doc]; i < row_ptr[doc + 1]; ++i) {
            const std::size_t at = map(columns[i]);
            ++n_postings[at];
            if (last_window[at] != window) {
                last_window[at] = window;
                ++n_blocks[at];
            }
        }
    }

    Postings out;
    out.column_ptr.resize(n_columns + 1, 0);
    std::vector<std::uint32_t> next_posting(n_columns), next_block(n_columns);
    std::uint32_t posting = 0;
    for (std::size_t at = 0; at < n_columns; ++at) {
        next_posting[at] = posting;
        posting += n_postings[at];
        next_block[at] = out.column_ptr[at];
        out.column_ptr[at + 1] = out.column_ptr[at] + n_blocks[at];
    }
    const std::size_t total_blocks = out.column_ptr[n_columns];
    out.block_window.resize(total_blocks);
    out.block_ptr.resize(total_blocks + 1);
    out.block_ptr[total_blocks] = posting;

    std::fill(last_window.begin(), last_window.end(), kNone);
    const std::size_t mask = (std::size_t{1} << window_bits) - 1;
    for (std::size_t doc = 0; doc < n_docs; ++doc) {
        const auto window = static_cast<std::uint32_t>(doc >> window_bits);
        for (auto i = row_ptr[doc]; i < row_ptr[doc + 1]; ++i) {
            const std::size_t at = map(columns[i]);
            const std::uint32_t p = next_posting[at]++;
            if (last_window[at] != window) {
                last_window[at] = window;
                const std::uint32_t b = next_block[at]++;
                out.block_window[b] = static_cast<std::uint16_t>(window);
                out.block_ptr[b] = p;
            }
            posting_docs[p] = static_cast<std::uint16_t>(doc & mask);
            posting_values[p] = values[i];
        }
    }
    out.columns = std::move(map.distinct());
    return out;
}

}  // namespace sparseret
