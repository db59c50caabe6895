// Random projection, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <bit>

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
    const float* data = values.data();
    std::int32_t all = 0;  // negative if one of them is
    std::uint32_t largest = 0;  // of the bits without the sign, which order magnitudes, NaN last
    for (std::size_t i = 0, n = columns.size(); i < n; ++i) {
        all |= features[i];
        largest = std::max(largest, std::bit_cast<std::uint32_t>(data[i]) & 0x7fffffffu);
    }
    require(all >= 0, "columns must not be negative");
    require(largest <= std::bit_cast<std::uint32_t>(1e20f),
            "values must be finite, and at most 1e20 in magnitude");
    const std::size_t n_rows = indptr.size() - 1;
    require(n_rows <= (std::size_t{1} << 60) / n_components, "the result is too large");
    auto out = allocate<float>(n_rows * n_components);
    float* product = out.data();
    nb::gil_scoped_release unlocked;
    sparseret::project_rows(indptr.data(), features, data, n_rows,
                            {seed, density, n_components, is_signed}, scale, n_threads, product);
    return out;
}

}  // namespace sparseret_bindings
