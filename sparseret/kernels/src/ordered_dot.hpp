// Dot products of float32 whose order of additions is fixed, on every processor.
//
// Sixteen sums: sum l adds the products of places l, l + 16, l + 32, ... in that order, without
// fused operations. Then halves are added: l and l + 8, l and l + 4, l and l + 2, 0 and 1.
#pragma once

#include <cstddef>

#include "scan.hpp"

namespace sparseret {

inline float ordered_dot_scalar(const float* a, const float* b, std::size_t n) {
    float sums[16] = {};
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (std::size_t l = 0; l < 16; ++l) sums[l] += a[i + l] * b[i + l];
    for (std::size_t l = 0; i + l < n; ++l) sums[l] += a[i + l] * b[i + l];
    for (std::size_t half = 8; half; half /= 2)
        for (std::size_t l = 0; l < half; ++l) sums[l] += sums[l + half];
    return sums[0];
}

#ifdef SPARSERET_X86
__attribute__((target("avx2"))) inline float fold8(__m256 eight) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

__attribute__((target("avx2"))) inline float ordered_dot_avx2(const float* a, const float* b,
                                                              std::size_t n) {
    __m256 low = _mm256_setzero_ps(), high = low;
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        low = _mm256_add_ps(low, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
        high = _mm256_add_ps(
            high, _mm256_mul_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8)));
    }
    if (i < n) {
        alignas(32) float last[16] = {};
        for (std::size_t l = 0; i + l < n; ++l) last[l] = a[i + l] * b[i + l];
        low = _mm256_add_ps(low, _mm256_load_ps(last));
        high = _mm256_add_ps(high, _mm256_load_ps(last + 8));
    }
    return fold8(_mm256_add_ps(low, high));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12 takes what its intrinsics leave undefined for a mistake
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
__attribute__((target("avx512f"))) inline float ordered_dot_avx512(const float* a, const float* b,
                                                                   std::size_t n) {
    __m512 sum = _mm512_setzero_ps();
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16)
        sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i)));
    if (i < n) {
        const auto lanes = static_cast<__mmask16>((1u << (n - i)) - 1);
        sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, a + i),
                                               _mm512_maskz_loadu_ps(lanes, b + i)));
    }
    const __m256 low = _mm512_castps512_ps256(sum);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1));
    return fold8(_mm256_add_ps(low, high));
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

inline float ordered_dot(const float* a, const float* b, std::size_t n) {
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512: return ordered_dot_avx512(a, b, n);
        case Isa::avx2: return ordered_dot_avx2(a, b, n);
        case Isa::scalar: break;
    }
#endif
    return ordered_dot_scalar(a, b, n);
}

}  // namespace sparseret
