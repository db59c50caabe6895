// Inner products of dense rows and queries in float32; rows of float16 are widened as they are read.
//
// Additions are those of ordered_dot, so a product is the same on every processor.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ordered_dot.hpp"

namespace sparseret {

// The value of IEEE 754 binary16, which float32 holds exactly.
inline float widen_half(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
    if (exponent == 0) {  // subnormal: multiples of 2^-24
        const float size = static_cast<float>(fraction) * 0x1p-24f;
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(size));
    }
    const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
    return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

#ifdef SPARSERET_X86
__attribute__((target("avx2,f16c"))) inline std::size_t widen_halves_f16c(const std::uint16_t* from,
                                                                          std::size_t n,
                                                                          float* to) {
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(
            to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
    return i;
}

inline bool has_f16c() {
    static const bool has = __builtin_cpu_supports("f16c");
    return has;
}
#endif

inline void widen_halves(const std::uint16_t* from, std::size_t n, float* to) {
    std::size_t i = 0;
#ifdef SPARSERET_X86
    if (active_isa() != Isa::scalar && has_f16c()) i = widen_halves_f16c(from, n, to);
#endif
    for (; i < n; ++i) to[i] = widen_half(from[i]);
}

// out[q * n_rows + r] is the product of query q and row r.
inline void dense_products(const float* rows, std::size_t n_rows, std::size_t width,
                           const float* queries, std::size_t n_queries, float* out) {
    for (std::size_t r = 0; r < n_rows; ++r)
        for (std::size_t q = 0; q < n_queries; ++q)
            out[q * n_rows + r] = ordered_dot(rows + r * width, queries + q * width, width);
}

inline void dense_products(const std::uint16_t* rows, std::size_t n_rows, std::size_t width,
                           const float* queries, std::size_t n_queries, float* out) {
    std::vector<float> row(width);
    for (std::size_t r = 0; r < n_rows; ++r) {
        widen_halves(rows + r * width, width, row.data());
        for (std::size_t q = 0; q < n_queries; ++q)
            out[q * n_rows + r] = ordered_dot(row.data(), queries + q * width, width);
    }
}

}  // namespace sparseret
