// Scores of codes, as Python sees them.
#pragma once

#include "bind_arrays.hpp"
#include "code_scores.hpp"

namespace sparseret_bindings {

// Scores of every row for every query, a query after the other.
inline Out<float> code_scores(In<std::uint8_t> codes, std::size_t width, In<float> tables) {
    require(width >= 1 && codes.size() % width == 0 &&
                tables.size() % (width * sparseret::kCodeValues) == 0,
            "codes, tables and width disagree");
    const std::size_t n_rows = codes.size() / width;
    const std::size_t n_queries = tables.size() / (width * sparseret::kCodeValues);
    auto out = allocate<float>(n_rows * n_queries);
    {
        nb::gil_scoped_release unlocked;
        sparseret::code_scores(codes.data(), n_rows, width, tables.data(), n_queries, out.data());
    }
    return out;
}

}  // namespace sparseret_bindings
