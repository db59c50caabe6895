// The vocabulary head, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <limits>
#include <optional>

#include "bind_arrays.hpp"
#include "vocabulary_head.hpp"

namespace sparseret_bindings {

struct VocabularyHead {
    std::size_t n_columns, width;
    std::optional<In<float>> weight;  // keeps what the head reads; None where it reads nothing
    std::optional<sparseret::VocabularyHead> head;

    VocabularyHead(In<float> weight_, In<float> bias, bool exact) : n_columns(bias.size()) {
        require(n_columns > 0 && n_columns <= 0x7fffffffu, "bias: 1 to 2**31 - 1 columns");
        require(weight_.size() % n_columns == 0, "weight and bias disagree");
        width = weight_.size() / n_columns;
        require(width >= 1 && width <= sparseret::kMaxWidth, "width must lie in 1..16384");
        if (exact) weight = weight_;
        nb::gil_scoped_release unlocked;
        head.emplace(weight_.data(), bias.data(), n_columns, width, exact);
    }

    nb::tuple pool(In<float> hidden, In<std::int64_t> offsets, bool log_sum, float threshold,
                   std::size_t n_threads) const {
        require_offsets(offsets, hidden.size() / width);
        const std::size_t n_texts = offsets.size() - 1;
        require(static_cast<std::size_t>(offsets(n_texts)) * width == hidden.size(),
                "hidden and offsets disagree");
        std::vector<std::int64_t> indptr(n_texts + 1, 0);
        std::vector<std::int32_t> columns;
        std::vector<float> values;
        {
            nb::gil_scoped_release unlocked;
            const auto found = head->pool(
                {hidden.data(), offsets.data(), n_texts},
                log_sum ? sparseret::Pooling::log_sum : sparseret::Pooling::maximum, threshold,
                n_threads);
            for (const auto& part : found)
                for (const auto& entry : part) ++indptr[entry.text + 1];
            for (std::size_t t = 0; t < n_texts; ++t) indptr[t + 1] += indptr[t];
            columns.resize(static_cast<std::size_t>(indptr[n_texts]));
            values.resize(columns.size());
            std::vector<std::int64_t> next(indptr.begin(), indptr.end() - 1);
            for (const auto& part : found)
                for (const auto& entry : part) {
                    const auto at = static_cast<std::size_t>(next[entry.text]++);
                    columns[at] = entry.column;
                    values[at] = entry.value;
                }
        }
        return nb::make_tuple(adopt(std::move(indptr)), adopt(std::move(columns)),
                              adopt(std::move(values)));
    }
};

}  // namespace sparseret_bindings
