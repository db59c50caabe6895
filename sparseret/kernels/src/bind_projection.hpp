// Random projection, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "bind_arrays.hpp"
#include "random_projection.hpp"

namespace sparseret_bindings {

inline Out<float> random_projection(In<std::int64_t> indptr, In<std::int32_t> columns,
                                    In<float> values, std::size_t n_components,
                                    std::uint64_t density, std::uint64_t seed, bool is_signed,
                                    float scale, std::size_t n_threads) {
    require(n_components >= 1 && n_components <= 0x7fffffffu,
            "n_components must lie in 1..2**31 - 1");
    require(density >= 1 && density <= std::uint64_t{1} << sparseret::kDigits,
            "density must lie in 1..2**32");
    require(columns.size() == values.size(), "columns and values differ in length");
    require_offsets(indptr, columns.size());
    const std::int32_t* features = columns.data();
    std::int32_t all = 0;  // negative if one of them is
    for (std::size_t i = 0, n = columns.size(); i < n; ++i) all |= features[i];
    require(all >= 0, "columns must not be negative");
    const std::size_t n_rows = indptr.size() - 1;
    require(n_rows <= (std::size_t{1} << 60) / n_components, "the result is too large");
    auto out = allocate<float>(n_rows * n_components);
    float* data = out.data();
    nb::gil_scoped_release unlocked;
    sparseret::project_rows(indptr.data(), columns.data(), values.data(), n_rows,
                            {seed, density, n_components, is_signed}, scale, n_threads, data);
    return out;
}

}  // namespace sparseret_bindings
