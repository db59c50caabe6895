// What every kernel expects of a CSR matrix.
#pragma once

#include <algorithm>
#include <bit>
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
        if (begin == end) continue;
        // Sums of bits instead of comparisons one by one, which compilers make vectors of.
        const std::int32_t* columns = m.columns + begin;
        const float* values = m.values + begin;
        const auto n = static_cast<std::size_t>(end - begin);
        bool wrong = columns[0] < 0 || columns[n - 1] >= n_columns;
        for (std::size_t i = 1; i < n; ++i) wrong |= columns[i] <= columns[i - 1];
        for (std::size_t i = 0; i < n; ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(values[i]);
            const std::uint32_t size = bits & 0x7fffffffu;  // 0x7f800000 is infinity, NaN above
            wrong |= (size >= 0x7f800000u) | (size == 0) | (bits > size && !is_signed);
        }
        if (wrong) return false;
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
