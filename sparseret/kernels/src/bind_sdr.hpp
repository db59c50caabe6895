// Overlap search of binary codes, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "bind_arrays.hpp"
#include "parallel.hpp"
#include "sdr_bits.hpp"
#include "sdr_lists.hpp"

namespace sparseret_bindings {

inline constexpr std::int64_t kMaxSdrCells = std::int64_t{1} << 20;

// Rows that are sound; `most` is how many columns a row may have.
inline sparseret::SdrRows sdr_rows(const In<std::int64_t>& indptr, const In<std::int32_t>& columns,
                                   std::size_t n_cells, std::size_t most) {
    require(n_cells >= 1 && n_cells <= static_cast<std::size_t>(kMaxSdrCells),
            "n_cells must lie in 1..2**20");
    require_offsets(indptr, columns.size());
    const std::size_t n = indptr.size() - 1;
    require(n < 0xffffffffu, "too many codes");
    for (std::size_t row = 0; row < n; ++row) {
        require(static_cast<std::size_t>(indptr(row + 1) - indptr(row)) <= most,
                "a code has too many active cells");
        for (std::int64_t i = indptr(row); i < indptr(row + 1); ++i) {
            const std::int32_t column = columns(static_cast<std::size_t>(i));
            require(column >= 0 && static_cast<std::size_t>(column) < n_cells,
                    "a column is out of range");
            require(i == indptr(row) || columns(static_cast<std::size_t>(i) - 1) < column,
                    "columns must ascend within a row");
        }
    }
    return {indptr.data(), columns.data(), n};
}

// (matches a query, rows, overlaps) of any search by parts of the queries.
template <class Engine>
nb::tuple search_sdr(const Engine& engine, std::size_t n_cells, const In<std::int64_t>& indptr,
                     const In<std::int32_t>& columns, std::size_t k, std::uint32_t least,
                     std::size_t n_threads) {
    require(k >= 1 && least >= 1, "k and threshold must be at least 1");
    const auto queries = sdr_rows(indptr, columns, n_cells, n_cells);
    std::vector<std::int64_t> counts(queries.n), rows;
    std::vector<std::int32_t> overlaps;
    {
        nb::gil_scoped_release unlocked;
        std::vector<std::vector<sparseret::Match>> found(queries.n);
        // Parts of the queries, more than there are threads: they differ in cost.
        const std::size_t threads = std::clamp<std::size_t>(n_threads, 1, queries.n + 1);
        const std::size_t parts = std::min(queries.n, threads == 1 ? 1 : threads * 4);
        sparseret::parallel_for(parts, threads, [&](std::size_t part) {
            engine.search(queries, queries.n * part / parts, queries.n * (part + 1) / parts, k,
                          least, found.data());
        });
        for (std::size_t q = 0; q < queries.n; ++q) {
            counts[q] = static_cast<std::int64_t>(found[q].size());
            for (const auto& match : found[q]) {
                rows.push_back(match.row);
                overlaps.push_back(static_cast<std::int32_t>(match.overlap));
            }
        }
    }
    return nb::make_tuple(adopt(std::move(counts)), adopt(std::move(rows)),
                          adopt(std::move(overlaps)));
}

struct SdrLists {
    In<std::uint16_t> docs;  // keep what the lists read
    In<std::uint32_t> ptr;
    In<std::int64_t> blocks;
    std::size_t n_cells;
    std::optional<sparseret::SdrLists> lists;

    SdrLists(std::size_t n_docs, std::size_t n_cells_, std::size_t most_active, unsigned block_bits,
             In<std::uint16_t> docs_, In<std::uint32_t> ptr_, In<std::int64_t> blocks_)
        : docs(docs_), ptr(ptr_), blocks(blocks_), n_cells(n_cells_) {
        require(n_docs < 0xffffffffu, "too many codes");
        require(n_cells >= 1 && n_cells <= static_cast<std::size_t>(kMaxSdrCells),
                "n_cells must lie in 1..2**20");
        require(block_bits >= 1 && block_bits <= sparseret::kMaxSdrBlockBits,
                "block_bits must lie in 1..16");
        require(most_active <= sparseret::kMaxSdrActive, "most_active is above 65535");
        require(blocks.size() >= 1, "blocks is empty");
        nb::gil_scoped_release unlocked;
        lists.emplace(n_docs, n_cells, most_active, block_bits, docs.data(), docs.size(),
                      ptr.data(), ptr.size(), blocks.data(), blocks.size());
    }

    nb::tuple search(In<std::int64_t> indptr, In<std::int32_t> columns, std::size_t k,
                     std::uint32_t least, std::size_t n_threads) const {
        return search_sdr(*lists, n_cells, indptr, columns, k, least, n_threads);
    }
};

struct SdrBits {
    In<std::uint64_t> words;  // keeps what the scan reads
    std::size_t n_cells;
    std::optional<sparseret::SdrBits> bits;

    SdrBits(std::size_t n_docs, std::size_t n_cells_, In<std::uint64_t> words_)
        : words(words_), n_cells(n_cells_) {
        require(n_docs < 0xffffffffu, "too many codes");
        require(n_cells >= 1 && n_cells <= static_cast<std::size_t>(kMaxSdrCells),
                "n_cells must lie in 1..2**20");
        require(words.size() == n_docs * sparseret::sdr_words(n_cells), "words and n_docs disagree");
        bits.emplace(n_docs, n_cells, words.data());
    }

    nb::tuple search(In<std::int64_t> indptr, In<std::int32_t> columns, std::size_t k,
                     std::uint32_t least, std::size_t n_threads) const {
        return search_sdr(*bits, n_cells, indptr, columns, k, least, n_threads);
    }
};

inline nb::tuple build_sdr_lists(std::size_t n_cells, unsigned block_bits,
                                 In<std::int64_t> indptr, In<std::int32_t> columns) {
    require(block_bits >= 1 && block_bits <= sparseret::kMaxSdrBlockBits,
            "block_bits must lie in 1..16");
    const auto rows = sdr_rows(indptr, columns, n_cells, sparseret::kMaxSdrActive);
    sparseret::SdrListArrays made;
    {
        nb::gil_scoped_release unlocked;
        made = sparseret::build_sdr_lists(rows, n_cells, block_bits);
    }
    return nb::make_tuple(adopt(std::move(made.docs)), adopt(std::move(made.ptr)),
                          adopt(std::move(made.blocks)));
}

inline nb::object pack_sdr(std::size_t n_cells, In<std::int64_t> indptr,
                           In<std::int32_t> columns) {
    const auto rows = sdr_rows(indptr, columns, n_cells, n_cells);
    const std::size_t n_words = sparseret::sdr_words(n_cells);
    auto words = allocate<std::uint64_t>(rows.n * n_words);
    std::uint64_t* data = words.data();
    {
        nb::gil_scoped_release unlocked;
        std::fill_n(data, rows.n * n_words, std::uint64_t{0});
        for (std::size_t row = 0; row < rows.n; ++row)
            sparseret::pack_sdr(rows.begin(row), rows.active(row), data + row * n_words);
    }
    return nb::cast(words);
}

}  // namespace sparseret_bindings
