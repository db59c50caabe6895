// Vectors rounded to 8 bits, with the norms that bound what rounding does to a dot product.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace sparseret {

// A vector v and its rounded form: scale * q with integers q of -127..127.
struct Rounding8 {
    float scale;
    float length;    // at least |q|, the Euclidean norm
    float residual;  // at least |v / scale - q|
};

// The scale is never smaller: products of two scaled integers then stay far above the denormal
// numbers, whose absolute rounding errors no relative bound covers.
inline constexpr float kLeastScale = 0x1p-60f;

// Values are finite, at most 1e15 in magnitude; n <= 16384.
inline Rounding8 round8(const float* values, std::size_t n, std::int8_t* out) {
    // Sums in lanes, so that loops are vectors without another order of additions.
    constexpr std::size_t kLanes = 16;
    float tops[kLanes] = {}, squares[kLanes] = {}, errors[kLanes] = {};
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (std::size_t l = 0; l < kLanes; ++l) tops[l] = std::max(tops[l], std::fabs(values[i + l]));
    for (; i < n; ++i) tops[0] = std::max(tops[0], std::fabs(values[i]));
    const float largest = *std::max_element(tops, tops + kLanes);
    const float scale = std::max(largest / 127.0f, kLeastScale);
    for (i = 0; i < n; i += kLanes) {
        // Through arrays of its own: what `out` points to might be anything to a compiler.
        const std::size_t lanes = std::min(kLanes, n - i);
        float some[kLanes] = {}, integers[kLanes];
        std::copy_n(values + i, lanes, some);
        for (std::size_t l = 0; l < kLanes; ++l) {
            // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
            constexpr float kRound = 12582912.0f;
            const float quotient = some[l] / scale;
            const float q = (quotient + kRound) - kRound;  // |quotient| < 127.5
            const float error = quotient - q;
            integers[l] = q;
            squares[l] += q * q;
            errors[l] += error * error;
        }
        std::int8_t bytes[kLanes];
        for (std::size_t l = 0; l < kLanes; ++l)
            bytes[l] = static_cast<std::int8_t>(static_cast<std::int32_t>(integers[l]));
        std::copy_n(bytes, lanes, out + i);
    }
    double square = 0.0, error = 0.0;
    for (std::size_t l = 0; l < kLanes; ++l) {
        square += squares[l];
        error += errors[l];
    }
    // A sum of n / 16 squares errs by 2e-4 of it at most; a quotient by 2^-24 of
    // 127 and a bit, and so its error, which the subtraction leaves alone.
    constexpr double kUp = 1.0 + 2e-4, kQuotient = 1e-5;
    const double length = std::sqrt(square) * kUp;
    const double residual = std::sqrt(error) * kUp + kQuotient * std::sqrt(static_cast<double>(n));
    return {scale, static_cast<float>(length), static_cast<float>(residual)};
}

}  // namespace sparseret
