// Weighted term counts of token streams: the sparse rows of a bag of words.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sparseret {

struct Rows {
    std::vector<std::int64_t> indptr;
    std::vector<std::int32_t> columns;  // ascending and unique in a row
    std::vector<float> values;
};

// Row r consists of n_fields runs of tokens, run r * n_fields + f in
// [run_ptr[run], run_ptr[run + 1]), each token counting weights[f]. Negative tokens are skipped.
// The weights of a column are added up in double, in order of fields.
inline Rows count_terms(std::size_t n_rows, std::size_t n_fields, const std::int64_t* run_ptr,
                        const std::int32_t* tokens, const double* weights) {
    Rows out;
    out.indptr.reserve(n_rows + 1);
    out.indptr.push_back(0);
    std::vector<std::pair<std::int32_t, std::uint32_t>> row;  // (column, field)
    for (std::size_t r = 0; r < n_rows; ++r) {
        row.clear();
        for (std::size_t f = 0; f < n_fields; ++f) {
            const std::size_t run = r * n_fields + f;
            for (auto i = run_ptr[run]; i < run_ptr[run + 1]; ++i)
                if (tokens[i] >= 0) row.emplace_back(tokens[i], static_cast<std::uint32_t>(f));
        }
        std::sort(row.begin(), row.end());
        for (std::size_t i = 0; i < row.size();) {
            const std::int32_t column = row[i].first;
            double total = 0;
            for (; i < row.size() && row[i].first == column; ++i) total += weights[row[i].second];
            out.columns.push_back(column);
            out.values.push_back(static_cast<float>(total));
        }
        out.indptr.push_back(static_cast<std::int64_t>(out.columns.size()));
    }
    return out;
}

}  // namespace sparseret
