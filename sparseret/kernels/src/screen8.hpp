// Products of 8-bit rows and a tile of 8-bit columns, with running maxima.
//
// Rows come in blocks of at most kBlockRows, each block as [group of 4 places][row][4 places], as
// unsigned bytes: the integer plus kOffset. A tile of kTile columns is stored as [group of 4
// places][column][4 places], signed. So a multiply-add of four bytes a lane (VNNI) has one row's four
// bytes against sixteen columns, and the sums of a block stay in registers.
//
// For row r and column c, out[r][c] = float(init[c] + sum of bytes) * scale[r], rounded twice to
// nearest; every processor gives the same. `init` takes the offset of the rows out again.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "scan.hpp"

namespace sparseret {

inline constexpr std::size_t kTile = 32;
inline constexpr std::size_t kBlockRows = 12;
inline constexpr int kOffset = 128;

// `groups` groups of four places. best[c] is raised to the largest out[r][c].
using ScreenBlock = void (*)(const std::uint8_t* rows, const std::int8_t* tile, std::size_t groups,
                             const std::int32_t* init, const float* scales, float* out, float* best);

template <std::size_t R>
void screen_scalar(const std::uint8_t* rows, const std::int8_t* tile, std::size_t groups,
                   const std::int32_t* init, const float* scales, float* out, float* best) {
    for (std::size_t r = 0; r < R; ++r) {
        std::int32_t sums[kTile];
        std::copy_n(init, kTile, sums);
        for (std::size_t g = 0; g < groups; ++g) {
            const std::uint8_t* four = rows + (g * R + r) * 4;
            const std::int8_t* columns = tile + g * kTile * 4;
            for (std::size_t c = 0; c < kTile; ++c)
                for (std::size_t p = 0; p < 4; ++p) sums[c] += four[p] * columns[4 * c + p];
        }
        for (std::size_t c = 0; c < kTile; ++c) {
            const float value = static_cast<float>(sums[c]) * scales[r];
            out[r * kTile + c] = value;
            best[c] = std::max(best[c], value);
        }
    }
}

#ifdef SPARSERET_X86
// Bytes are widened to 16 bits: products of unsigned and signed bytes, added in pairs, would not fit
// the 16 bits of the byte instruction.
template <std::size_t R>
__attribute__((target("avx2"))) void screen_avx2(const std::uint8_t* rows, const std::int8_t* tile,
                                                 std::size_t groups, const std::int32_t* init,
                                                 const float* scales, float* out, float* best) {
    constexpr std::size_t kRows = 4;  // at once: eight registers of sums
    for (std::size_t first = 0; first < R; first += kRows) {
        const std::size_t n = std::min(kRows, R - first);
        for (std::size_t c = 0; c < kTile; c += 8) {
            __m256i sums[kRows][2];
            for (std::size_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
            for (std::size_t g = 0; g < groups; ++g) {
                const auto* at = reinterpret_cast<const __m128i*>(tile + (g * kTile + c) * 4);
                const __m256i low = _mm256_cvtepi8_epi16(_mm_load_si128(at));
                const __m256i high = _mm256_cvtepi8_epi16(_mm_load_si128(at + 1));
#pragma GCC unroll 4
                for (std::size_t r = 0; r < kRows; ++r) {
                    // Rows beyond the block's last repeat it, so that the loop has no branch.
                    std::int32_t four;
                    std::memcpy(&four, rows + (g * R + std::min(first + r, R - 1)) * 4, 4);
                    const __m256i row = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
                    sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(row, low));
                    sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(row, high));
                }
            }
            const __m256i start =
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(init + c));
            __m256 largest = _mm256_loadu_ps(best + c);
            for (std::size_t r = 0; r < n; ++r) {
                const __m256i pairs = _mm256_hadd_epi32(sums[r][0], sums[r][1]);
                const __m256i sum =
                    _mm256_add_epi32(start, _mm256_permute4x64_epi64(pairs, 0b11011000));
                const __m256 value =
                    _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scales[first + r]));
                _mm256_storeu_ps(out + (first + r) * kTile + c, value);
                largest = _mm256_max_ps(largest, value);
            }
            _mm256_storeu_ps(best + c, largest);
        }
    }
}

#define SPARSERET_VNNI __attribute__((target("avx512f,avx512vnni"), always_inline)) inline

// The sums of R rows: a structure in a structure, for GCC keeps an array of them in memory.
template <std::size_t R>
struct VnniSums {
    __m512i low, high;
    VnniSums<R - 1> rest;

    SPARSERET_VNNI void start(__m512i low_, __m512i high_) {
        low = low_;
        high = high_;
        rest.start(low_, high_);
    }
    SPARSERET_VNNI void add(const std::uint8_t* rows, __m512i columns0, __m512i columns1) {
        std::int32_t four;
        std::memcpy(&four, rows, 4);
        const __m512i row = _mm512_set1_epi32(four);
        // For the intrinsic, GCC copies every sum twice each time, which halves the speed.
        asm("vpdpbusd %2, %1, %0" : "+v"(low) : "v"(row), "v"(columns0));
        asm("vpdpbusd %2, %1, %0" : "+v"(high) : "v"(row), "v"(columns1));
        rest.add(rows + 4, columns0, columns1);
    }
    SPARSERET_VNNI void finish(const float* scales, float* out, __m512& best0, __m512& best1) {
        const __m512 scale = _mm512_set1_ps(*scales);
        const __m512 first = _mm512_mul_ps(_mm512_cvtepi32_ps(low), scale);
        const __m512 second = _mm512_mul_ps(_mm512_cvtepi32_ps(high), scale);
        _mm512_storeu_ps(out, first);
        _mm512_storeu_ps(out + 16, second);
        best0 = _mm512_max_ps(best0, first);
        best1 = _mm512_max_ps(best1, second);
        rest.finish(scales + 1, out + kTile, best0, best1);
    }
};
template <>
struct VnniSums<0> {
    SPARSERET_VNNI void start(__m512i, __m512i) {}
    SPARSERET_VNNI void add(const std::uint8_t*, __m512i, __m512i) {}
    SPARSERET_VNNI void finish(const float*, float*, __m512&, __m512&) {}
};

template <std::size_t R>
__attribute__((target("avx512f,avx512vnni"))) void screen_vnni(
    const std::uint8_t* rows, const std::int8_t* tile, std::size_t groups, const std::int32_t* init,
    const float* scales, float* out, float* best) {
    VnniSums<R> sums;
    sums.start(_mm512_loadu_si512(init), _mm512_loadu_si512(init + 16));
    for (std::size_t g = 0; g < groups; ++g, rows += 4 * R, tile += 4 * kTile)
        sums.add(rows, _mm512_load_si512(tile), _mm512_load_si512(tile + 64));
    __m512 best0 = _mm512_loadu_ps(best), best1 = _mm512_loadu_ps(best + 16);
    sums.finish(scales, out, best0, best1);
    _mm512_storeu_ps(best, best0);
    _mm512_storeu_ps(best + 16, best1);
}
#undef SPARSERET_VNNI
#endif

// One function for each number of rows, 1 to kBlockRows; entry 0 is that of one row.
using ScreenBlocks = std::array<ScreenBlock, kBlockRows>;

inline const ScreenBlocks& screen_blocks() {
    constexpr auto sizes = std::make_index_sequence<kBlockRows>();
#ifdef SPARSERET_X86
    static const ScreenBlocks vnni = []<std::size_t... I>(std::index_sequence<I...>) {
        return ScreenBlocks{screen_vnni<I + 1>...};
    }(sizes);
    static const ScreenBlocks avx2 = []<std::size_t... I>(std::index_sequence<I...>) {
        return ScreenBlocks{screen_avx2<I + 1>...};
    }(sizes);
    static const bool has_vnni = __builtin_cpu_supports("avx512vnni");
    if (active_isa() == Isa::avx512 && has_vnni) return vnni;
    if (active_isa() != Isa::scalar) return avx2;
#endif
    static const ScreenBlocks scalar = []<std::size_t... I>(std::index_sequence<I...>) {
        return ScreenBlocks{screen_scalar<I + 1>...};
    }(sizes);
    return scalar;
}

}  // namespace sparseret
