// The largest values of rows, as Python sees it.
#pragma once

#include <atomic>

#include "bind_arrays.hpp"
#include "largest.hpp"
#include "parallel.hpp"

namespace sparseret_bindings {

inline constexpr std::size_t kNoRow = ~std::size_t{0};

// Remembers the first row of all threads that could not be used.
inline void note_row(std::atomic<std::size_t>& first, std::size_t row) {
    std::size_t known = first.load(std::memory_order_relaxed);
    while (row < known && !first.compare_exchange_weak(known, row)) {
    }
}

// Columns of the k largest values of each row, and the first row that holds what is not a number,
// or -1.
inline nb::tuple top_k(In<float> rows, std::size_t width, std::size_t k, std::size_t n_threads) {
    require(width >= 1 && width <= 0x7fffffffu && rows.size() % width == 0, "rows and width disagree");
    require(k >= 1 && k <= width, "k must be 1 to the width");
    const std::size_t n = rows.size() / width;
    auto columns = allocate<std::int32_t>(n * k);
    std::atomic<std::size_t> bad{kNoRow};
    {
        nb::gil_scoped_release unlocked;
        sparseret::parallel_for(n, n_threads, [&](std::size_t row) {
            thread_local sparseret::Largest largest;
            if (!largest.find(rows.data() + row * width, width, k, columns.data() + row * k))
                note_row(bad, row);
        });
    }
    return nb::make_tuple(columns, bad == kNoRow ? -1 : static_cast<std::int64_t>(bad.load()));
}

// CSR offsets and columns of the values above so many standard deviations, and a row as above.
inline nb::tuple above_deviations(In<float> rows, std::size_t width, double deviations,
                                  std::size_t n_threads) {
    require(width >= 1 && width <= 0x7fffffffu && rows.size() % width == 0, "rows and width disagree");
    const std::size_t n = rows.size() / width;
    std::vector<std::vector<std::int32_t>> found(n);
    std::vector<std::int64_t> indptr(n + 1, 0);
    std::vector<std::int32_t> columns;
    std::atomic<std::size_t> bad{kNoRow};
    {
        nb::gil_scoped_release unlocked;
        sparseret::parallel_for(n, n_threads, [&](std::size_t row) {
            thread_local sparseret::Largest largest;
            if (!largest.find_above(rows.data() + row * width, width, deviations, found[row]))
                note_row(bad, row);
        });
        for (std::size_t row = 0; row < n; ++row)
            indptr[row + 1] = indptr[row] + static_cast<std::int64_t>(found[row].size());
        columns.reserve(static_cast<std::size_t>(indptr[n]));
        for (const auto& part : found) columns.insert(columns.end(), part.begin(), part.end());
    }
    return nb::make_tuple(adopt(std::move(indptr)), adopt(std::move(columns)),
                          bad == kNoRow ? -1 : static_cast<std::int64_t>(bad.load()));
}

}  // namespace sparseret_bindings
