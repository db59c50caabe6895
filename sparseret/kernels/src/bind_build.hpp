// Building of impact-ordered segments, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <limits>

#include "bind_arrays.hpp"
#include "impact_build.hpp"
#include "invert.hpp"
#include "parallel.hpp"

namespace sparseret_bindings {

// Collects the lists of a segment while its windows pass by.
struct ImpactBuilder {
    std::size_t n_columns;
    unsigned window_bits;
    std::vector<float> column_max;
    std::vector<std::uint32_t> list_ranks;
    std::vector<sparseret::ImpactList> lists;
    std::size_t n_docs = 0, n_words = 0;

    ImpactBuilder(In<float> column_max_, unsigned window_bits_)
        : n_columns(column_max_.size()),
          window_bits(window_bits_),
          column_max(column_max_.data(), column_max_.data() + column_max_.size()) {
        require(window_bits >= 5 && window_bits <= sparseret::kMaxImpactBits,
                "window_bits must lie in 5..16");
    }

    // Rows of whole windows (only the last call may end within one); returns the words of their lists.
    Out<std::uint16_t> add(In<std::int64_t> row_ptr, AnyIn ranks, In<float> weights,
                           std::size_t n_threads) {
        require_offsets(row_ptr, weights.size());
        const std::size_t nnz = static_cast<std::size_t>(row_ptr(row_ptr.size() - 1));
        require(ranks.size() == nnz && weights.size() == nnz, "ranks and weights differ in length");
        require((n_docs & ((std::size_t{1} << window_bits) - 1)) == 0,
                "rows were added after a window that was not full");
        if (ranks.dtype() == nb::dtype<std::uint16_t>())
            return add_as<std::uint16_t>(row_ptr, ranks, weights, n_threads);
        require(ranks.dtype() == nb::dtype<std::uint32_t>(), "ranks: wrong dtype");
        return add_as<std::uint32_t>(row_ptr, ranks, weights, n_threads);
    }

    template <class Rank>
    Out<std::uint16_t> add_as(const In<std::int64_t>& row_ptr, const AnyIn& ranks,
                              const In<float>& weights, std::size_t n_threads) {
        constexpr float kLargest = std::numeric_limits<float>::max();
        const auto* data = static_cast<const Rank*>(ranks.data());
        for (std::size_t i = 0; i < ranks.size(); ++i)
            require(data[i] < n_columns && weights(i) > 0.0f && weights(i) <= kLargest &&
                        weights(i) <= column_max[data[i]],
                    "a rank or weight is out of range");
        const std::size_t n = row_ptr.size() - 1, size = std::size_t{1} << window_bits;
        require(n_docs + n <= std::size_t{1} << (window_bits + 16),
                "too many documents for one segment");
        std::vector<sparseret::WindowLists> windows((n + size - 1) / size);
        {
            nb::gil_scoped_release unlocked;
            sparseret::parallel_for(windows.size(), n_threads, [&](std::size_t w) {
                const std::size_t first = w * size;
                const auto base = static_cast<std::size_t>(row_ptr(first));
                windows[w] = sparseret::build_window<Rank>(
                    std::min(size, n - first), row_ptr.data() + first, data + base,
                    weights.data() + base, n_columns, column_max.data());
            });
        }
        std::size_t added = 0;
        for (const auto& window : windows) added += window.words.size();
        require(n_words + added < 0xffffffffu, "too many values for one segment");
        auto out = allocate<std::uint16_t>(added);
        std::uint16_t* to = out.data();
        for (std::size_t w = 0; w < windows.size(); ++w) {
            const auto number = static_cast<std::uint32_t>((n_docs >> window_bits) + w);
            for (std::size_t l = 0; l < windows[w].ranks.size(); ++l) {
                const sparseret::ImpactList list{static_cast<std::uint32_t>(n_words),
                                                 number << 16 | windows[w].sizes[l]};
                list_ranks.push_back(windows[w].ranks[l]);
                lists.push_back(list);
                n_words += list.n_words();
            }
            to = std::copy(windows[w].words.begin(), windows[w].words.end(), to);
        }
        n_docs += n;
        return out;
    }

    // The directory, term by term; empties the builder.
    nb::tuple finish() {
        std::vector<std::uint32_t> column_ptr(n_columns + 1, 0);
        for (const std::uint32_t rank : list_ranks) ++column_ptr[rank + 1];
        for (std::size_t c = 0; c < n_columns; ++c) column_ptr[c + 1] += column_ptr[c];
        std::vector<std::uint32_t> next(column_ptr.begin(), column_ptr.end() - 1);
        std::vector<std::uint32_t> sorted(2 * lists.size());
        for (std::size_t l = 0; l < lists.size(); ++l) {
            std::uint32_t* out = sorted.data() + std::size_t{2} * next[list_ranks[l]]++;
            out[0] = lists[l].begin;
            out[1] = lists[l].window_and_size;
        }
        lists.clear();
        list_ranks.clear();
        n_docs = n_words = 0;
        return nb::make_tuple(adopt(std::move(column_ptr)), adopt(std::move(sorted)));
    }
};

template <class Rank>
Out<Rank> ranks_of(const sparseret::ColumnMap& map, const In<std::int32_t>& columns) {
    auto out = allocate<Rank>(columns.size());
    Rank* data = out.data();
    for (std::size_t i = 0; i < columns.size(); ++i)
        data[i] = static_cast<Rank>(map(columns(i)));
    return out;
}

// Distinct columns, the largest value of each, and each value's position among them.
inline nb::tuple rank_columns(In<std::int32_t> columns, In<float> values) {
    require(columns.size() == values.size(), "columns and values differ in length");
    for (std::size_t i = 0; i < columns.size(); ++i)
        require(columns(i) >= 0, "columns must not be negative");
    sparseret::ColumnMap map(columns.data(), columns.size());
    std::vector<float> largest(map.distinct().size(), 0.0f);
    for (std::size_t i = 0; i < columns.size(); ++i) {
        float& known = largest[map(columns(i))];
        known = std::max(known, values(i));
    }
    nb::object ranks = map.distinct().size() <= 65536
                           ? nb::cast(ranks_of<std::uint16_t>(map, columns))
                           : nb::cast(ranks_of<std::uint32_t>(map, columns));
    std::vector<std::int32_t> distinct = map.distinct();
    return nb::make_tuple(adopt(std::move(distinct)), adopt(std::move(largest)), ranks);
}

}  // namespace sparseret_bindings
