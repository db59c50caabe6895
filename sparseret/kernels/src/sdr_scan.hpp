// Reads a block of overlap counters, offers those that reach a bound, and clears them, in one pass.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "scan.hpp"

namespace sparseret {

// `offer(i, counts[i])` for ascending i with counts[i] >= bound, which offer may raise. counts has
// room for a multiple of 64 values; those from n on are zero, and bound >= 1.
template <class Count, class Offer>
void take_counts_scalar(Count* counts, std::size_t n, const std::uint32_t& bound, Offer&& offer) {
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint32_t value = counts[i];
        counts[i] = 0;
        if (value >= bound) offer(i, value);
    }
}

#ifdef SPARSERET_X86
template <class Offer>
__attribute__((target("avx2"))) void take_counts_avx2(std::uint8_t* counts, std::size_t n,
                                                      const std::uint32_t& bound, Offer&& offer) {
    for (std::size_t i = 0; i < n; i += 32) {
        auto* at = reinterpret_cast<__m256i*>(counts + i);
        const __m256i value = _mm256_load_si256(at);
        const __m256i least = _mm256_set1_epi8(static_cast<char>(bound));
        auto mask = static_cast<std::uint32_t>(
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(value, least), value)));
        while (mask) {
            const auto lane = static_cast<unsigned>(std::countr_zero(mask));
            mask &= mask - 1;
            offer(i + lane, std::uint32_t{counts[i + lane]});
        }
        _mm256_store_si256(at, _mm256_setzero_si256());
        if (bound > 255) {  // no count is as large, and the comparison above would wrap
            std::memset(counts + i, 0, n - i);
            return;
        }
    }
}

template <class Offer>
__attribute__((target("avx512f,avx512bw"))) void take_counts_avx512(std::uint8_t* counts,
                                                                    std::size_t n,
                                                                    const std::uint32_t& bound,
                                                                    Offer&& offer) {
    for (std::size_t i = 0; i < n; i += 64) {
        const __m512i value = _mm512_load_si512(counts + i);
        std::uint64_t mask =
            _mm512_cmpge_epu8_mask(value, _mm512_set1_epi8(static_cast<char>(bound)));
        while (mask) {
            const auto lane = static_cast<unsigned>(std::countr_zero(mask));
            mask &= mask - 1;
            offer(i + lane, std::uint32_t{counts[i + lane]});
        }
        _mm512_store_si512(counts + i, _mm512_setzero_si512());
        if (bound > 255) {
            if (i + 64 < n) std::memset(counts + i, 0, n - i);
            return;
        }
    }
}
#endif

template <class Offer>
void take_counts(std::uint8_t* counts, std::size_t n, const std::uint32_t& bound, Offer&& offer) {
    if (bound > 255) {
        std::memset(counts, 0, n);
        return;
    }
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512: return take_counts_avx512(counts, n, bound, offer);
        case Isa::avx2: return take_counts_avx2(counts, n, bound, offer);
        case Isa::scalar: break;
    }
#endif
    take_counts_scalar(counts, n, bound, offer);
}

// Dense codes are rare, and their counting takes longer than this: no need of more.
template <class Offer>
void take_counts(std::uint16_t* counts, std::size_t n, const std::uint32_t& bound, Offer&& offer) {
    take_counts_scalar(counts, n, bound, offer);
}

}  // namespace sparseret
