// Reads a window of accumulators, offers those above the threshold, and clears them, in one pass.
//
// An untouched accumulator holds -0.0. Adding any product to -0.0 gives that product, and no sum
// of products that starts with `+ 0.0f` can give -0.0 back, so the sign bit of a zero tells a
// document that no posting reached from one whose score is zero.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SPARSERET_X86 1
#include <immintrin.h>
#endif

namespace sparseret {

inline constexpr float kUntouched = -0.0f;
inline constexpr std::uint32_t kUntouchedBits = 0x80000000u;

inline bool touched(float value) { return std::bit_cast<std::uint32_t>(value) != kUntouchedBits; }

enum class Isa { scalar, avx2, avx512 };

inline Isa best_isa() {
#ifdef SPARSERET_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return Isa::avx512;
    if (__builtin_cpu_supports("avx2")) return Isa::avx2;
#endif
    return Isa::scalar;
}

// What the scans below use; tests lower it to compare the variants.
inline Isa& active_isa() {
    static Isa isa = best_isa();
    return isa;
}

// `offer(i, score)` is called for ascending i with every touched acc[i] > threshold, and may raise
// the threshold. acc has room for a multiple of 16 values; those from n on are untouched.
template <class Offer>
void scan_scalar(float* acc, std::size_t n, const float& threshold, Offer&& offer) {
    for (std::size_t i = 0; i < n; ++i) {
        const float value = acc[i];
        acc[i] = kUntouched;
        if (value > threshold && touched(value)) offer(i, value);
    }
}

#ifdef SPARSERET_X86
template <class Offer>
__attribute__((target("avx2"))) void scan_avx2(float* acc, std::size_t n, const float& threshold,
                                               Offer&& offer) {
    const __m256 untouched = _mm256_set1_ps(kUntouched);
    for (std::size_t i = 0; i < n; i += 8) {
        const __m256 value = _mm256_load_ps(acc + i);
        const __m256 above = _mm256_cmp_ps(value, _mm256_set1_ps(threshold), _CMP_GT_OQ);
        const __m256i idle =
            _mm256_cmpeq_epi32(_mm256_castps_si256(value), _mm256_castps_si256(untouched));
        unsigned mask = static_cast<unsigned>(
            _mm256_movemask_ps(_mm256_andnot_ps(_mm256_castsi256_ps(idle), above)));
        if (mask) {
            do {
                const unsigned lane = static_cast<unsigned>(std::countr_zero(mask));
                const float score = acc[i + lane];
                if (score > threshold) offer(i + lane, score);
                mask &= mask - 1;
            } while (mask);
        }
        _mm256_store_ps(acc + i, untouched);
    }
}

template <class Offer>
__attribute__((target("avx512f"))) void scan_avx512(float* acc, std::size_t n,
                                                    const float& threshold, Offer&& offer) {
    const __m512 untouched = _mm512_set1_ps(kUntouched);
    const __m512i idle = _mm512_set1_epi32(static_cast<int>(kUntouchedBits));
    for (std::size_t i = 0; i < n; i += 16) {
        const __m512 value = _mm512_load_ps(acc + i);
        const __mmask16 above = _mm512_cmp_ps_mask(value, _mm512_set1_ps(threshold), _CMP_GT_OQ);
        unsigned mask = _mm512_mask_cmpneq_epi32_mask(above, _mm512_castps_si512(value), idle);
        if (mask) {
            do {
                const unsigned lane = static_cast<unsigned>(std::countr_zero(mask));
                const float score = acc[i + lane];
                if (score > threshold) offer(i + lane, score);
                mask &= mask - 1;
            } while (mask);
        }
        _mm512_store_ps(acc + i, untouched);
    }
}
#endif

template <class Offer>
void scan_and_clear(float* acc, std::size_t n, const float& threshold, Offer&& offer) {
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512: return scan_avx512(acc, n, threshold, offer);
        case Isa::avx2: return scan_avx2(acc, n, threshold, offer);
        case Isa::scalar: break;
    }
#endif
    scan_scalar(acc, n, threshold, offer);
}

}  // namespace sparseret
