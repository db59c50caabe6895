// Scores of codes: of each row, the sum over its bytes of what a table holds for them.
//
// The order of additions is that of the bytes, so a score is the same on every processor. Eight
// rows are summed side by side, as one sum alone would wait for its own additions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sparseret {

constexpr std::size_t kCodeValues = 256;

template <std::size_t Rows>
inline void add_codes(const std::uint8_t* codes, std::size_t width, const float* tables,
                      float* out) {
    float sums[Rows] = {};
    for (std::size_t m = 0; m < width; ++m) {
        const float* table = tables + m * kCodeValues;
        for (std::size_t r = 0; r < Rows; ++r) sums[r] += table[codes[r * width + m]];
    }
    std::copy(sums, sums + Rows, out);
}

// out[q * n_rows + r] is the score of row r by the tables of query q: width tables of 256 values.
inline void code_scores(const std::uint8_t* codes, std::size_t n_rows, std::size_t width,
                        const float* tables, std::size_t n_queries, float* out) {
    constexpr std::size_t together = 8;
    for (std::size_t q = 0; q < n_queries; ++q) {
        const float* own = tables + q * width * kCodeValues;
        float* scores = out + q * n_rows;
        std::size_t r = 0;
        for (; r + together <= n_rows; r += together)
            add_codes<together>(codes + r * width, width, own, scores + r);
        for (; r < n_rows; ++r) add_codes<1>(codes + r * width, width, own, scores + r);
    }
}

}  // namespace sparseret
