// Passes over a window of 16-bit accumulators.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "scan.hpp"

namespace sparseret {

// offer(i, acc[i]) for ascending i with acc[i] >= threshold >= 1; clears all n accumulators unless
// `keep`. acc has room for a multiple of 32 values, those from n on are zero.
template <bool keep, class Offer>
void scan16_scalar(std::uint16_t* acc, std::size_t n, std::uint16_t threshold, Offer&& offer) {
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint16_t value = acc[i];
        if constexpr (!keep) acc[i] = 0;
        if (value >= threshold) offer(i, value);
    }
}

#ifdef SPARSERET_X86
template <bool keep, class Offer>
__attribute__((target("avx2"))) void scan16_avx2(std::uint16_t* acc, std::size_t n,
                                                 std::uint16_t threshold, Offer&& offer) {
    const __m256i bound = _mm256_set1_epi16(static_cast<short>(threshold));
    for (std::size_t i = 0; i < n; i += 16) {
        auto* at = reinterpret_cast<__m256i*>(acc + i);
        const __m256i value = _mm256_load_si256(at);
        const __m256i above = _mm256_cmpeq_epi16(_mm256_max_epu16(value, bound), value);
        auto mask = static_cast<unsigned>(_mm256_movemask_epi8(above)) & 0x55555555u;
        while (mask) {
            const unsigned lane = static_cast<unsigned>(std::countr_zero(mask)) / 2;
            mask &= mask - 1;
            offer(i + lane, acc[i + lane]);
        }
        if constexpr (!keep) _mm256_store_si256(at, _mm256_setzero_si256());
    }
}

template <bool keep, class Offer>
__attribute__((target("avx512f,avx512bw"))) void scan16_avx512(std::uint16_t* acc, std::size_t n,
                                                               std::uint16_t threshold,
                                                               Offer&& offer) {
    const __m512i bound = _mm512_set1_epi16(static_cast<short>(threshold));
    for (std::size_t i = 0; i < n; i += 32) {
        const __m512i value = _mm512_load_si512(acc + i);
        std::uint32_t mask = _mm512_cmpge_epu16_mask(value, bound);
        while (mask) {
            const unsigned lane = static_cast<unsigned>(std::countr_zero(mask));
            mask &= mask - 1;
            offer(i + lane, acc[i + lane]);
        }
        if constexpr (!keep) _mm512_store_si512(acc + i, _mm512_setzero_si512());
    }
}

__attribute__((target("avx512f,avx512bw"))) inline std::size_t count16_avx512(
    const std::uint16_t* acc, std::size_t n, std::uint16_t threshold) {
    const __m512i bound = _mm512_set1_epi16(static_cast<short>(threshold));
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; i += 32)
        count += static_cast<std::size_t>(
            std::popcount(_mm512_cmpge_epu16_mask(_mm512_load_si512(acc + i), bound)));
    return count;
}
#endif

template <bool keep, class Offer>
void scan16(std::uint16_t* acc, std::size_t n, std::uint16_t threshold, Offer&& offer) {
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512: return scan16_avx512<keep>(acc, n, threshold, offer);
        case Isa::avx2: return scan16_avx2<keep>(acc, n, threshold, offer);
        case Isa::scalar: break;
    }
#endif
    scan16_scalar<keep>(acc, n, threshold, offer);
}

// Largest of the accumulators i, i + kFolds, i + 2 * kFolds, ... for each i below kFolds.
inline constexpr std::size_t kFolds = 1024;
using Folds = std::array<std::uint16_t, kFolds>;

inline void fold16_scalar(const std::uint16_t* acc, std::size_t n, Folds& most) {
    most.fill(0);
    for (std::size_t from = 0; from < n; from += kFolds)
        for (std::size_t i = 0; i < kFolds; ++i) most[i] = std::max(most[i], acc[from + i]);
}

#ifdef SPARSERET_X86
__attribute__((target("avx512f,avx512bw"))) inline void fold16_avx512(const std::uint16_t* acc,
                                                                      std::size_t n, Folds& most) {
    constexpr std::size_t kHeld = 16;  // registers; each holds 32 of the folds
    for (std::size_t part = 0; part < kFolds; part += kHeld * 32) {
        __m512i held[kHeld];
        for (auto& one : held) one = _mm512_setzero_si512();
        for (std::size_t from = part; from < n; from += kFolds)
            for (std::size_t r = 0; r < kHeld; ++r)
                held[r] = _mm512_max_epu16(held[r], _mm512_load_si512(acc + from + r * 32));
        for (std::size_t r = 0; r < kHeld; ++r) _mm512_storeu_si512(&most[part + r * 32], held[r]);
    }
}
#endif

// n is a multiple of kFolds.
inline void fold16(const std::uint16_t* acc, std::size_t n, Folds& most) {
#ifdef SPARSERET_X86
    if (active_isa() == Isa::avx512) return fold16_avx512(acc, n, most);
#endif
    fold16_scalar(acc, n, most);
}

// How many accumulators are at least `threshold` (>= 1).
inline std::size_t count16(const std::uint16_t* acc, std::size_t n, std::uint16_t threshold) {
#ifdef SPARSERET_X86
    if (active_isa() == Isa::avx512) return count16_avx512(acc, n, threshold);
#endif
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; ++i) count += acc[i] >= threshold;
    return count;
}

}  // namespace sparseret
