// What every kernel expects of a CSR matrix.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace sparseret {

struct CsrView {
    const std::int64_t* ptr;  // n_rows + 1
    std::size_t n_rows;
    const std::int32_t* columns;
    const float* values;
    std::size_t nnz;
};

// Whether the arrays form CSR rows that every kernel accepts: ascending columns inside the matrix,
// finite non-zero values, none negative unless `is_signed`.
inline bool is_canonical(const CsrView& m, std::int64_t n_columns, bool is_signed) {
    if (m.ptr[0] != 0 || static_cast<std::size_t>(m.ptr[m.n_rows]) != m.nnz) return false;
    for (std::size_t r = 0; r < m.n_rows; ++r) {
        const std::int64_t begin = m.ptr[r], end = m.ptr[r + 1];
        if (end < begin || static_cast<std::size_t>(end) > m.nnz) return false;
        std::int64_t last = -1;
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            const float value = m.values[i];
            if (m.columns[i] <= last || m.columns[i] >= n_columns || !std::isfinite(value) ||
                value == 0.0f || (value < 0.0f && !is_signed))
                return false;
            last = m.columns[i];
        }
    }
    return true;
}

// The largest sum of absolute values of a row of a canonical matrix.
inline double heaviest_row(const CsrView& m) {
    double most = 0.0;
    for (std::size_t r = 0; r < m.n_rows; ++r) {
        double sum = 0.0;
        for (std::int64_t i = m.ptr[r]; i < m.ptr[r + 1]; ++i)
            sum += std::fabs(static_cast<double>(m.values[i]));
        most = std::max(most, sum);
    }
    return most;
}

}  // namespace sparseret
