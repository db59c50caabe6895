// Products of dense rows, as Python sees them.
#pragma once

#include "bind_arrays.hpp"
#include "dense_products.hpp"

namespace sparseret_bindings {

// Products of every query with every row, a query after the other.
template <class Value>
Out<float> dense_products(In<Value> rows, std::size_t width, In<float> queries) {
    require(width >= 1 && rows.size() % width == 0 && queries.size() % width == 0,
            "rows, queries and width disagree");
    const std::size_t n_rows = rows.size() / width, n_queries = queries.size() / width;
    auto out = allocate<float>(n_rows * n_queries);
    {
        nb::gil_scoped_release unlocked;
        sparseret::dense_products(rows.data(), n_rows, width, queries.data(), n_queries,
                                  out.data());
    }
    return out;
}

}  // namespace sparseret_bindings
