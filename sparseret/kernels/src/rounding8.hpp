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
    float residual;  // at least |v - scale * q| / scale
};

// The scale is never smaller: products of two scaled integers then stay far above the denormal
// numbers, whose absolute rounding errors no relative bound covers.
inline constexpr float kLeastScale = 0x1p-60f;

// Values are finite, at most 1e15 in magnitude.
inline Rounding8 round8(const float* values, std::size_t n, std::int8_t* out) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(values[i]));
    Rounding8 made{std::max(largest / 127.0f, kLeastScale), 0.0f, 0.0f};
    // Independent sums, so that the loop needs no order of additions.
    constexpr std::size_t kLanes = 8;
    double squares[kLanes] = {}, errors[kLanes] = {};
    const auto one = [&](std::size_t i, std::size_t lane) {
        // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
        constexpr float kRound = 12582912.0f;
        const float quotient = values[i] / made.scale;
        const float q = std::clamp((quotient + kRound) - kRound, -127.0f, 127.0f);
        out[i] = static_cast<std::int8_t>(q);
        const double error = static_cast<double>(values[i]) - static_cast<double>(made.scale) * q;
        squares[lane] += static_cast<double>(q) * q;
        errors[lane] += error * error;
    };
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane) one(i + lane, lane);
    for (; i < n; ++i) one(i, 0);
    double square = 0.0, error = 0.0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        square += squares[lane];
        error += errors[lane];
    }
    // More than rounding took away, here and in the conversions.
    constexpr double kUp = 1.0 + 1e-6;
    made.length = static_cast<float>(std::sqrt(square) * kUp);
    made.residual = static_cast<float>(std::sqrt(error) / made.scale * kUp);
    return made;
}

}  // namespace sparseret
