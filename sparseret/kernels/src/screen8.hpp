// Products of 8-bit rows and a tile of 8-bit columns, with running maxima.
//
// Rows come in blocks of at most kBlockRows, each block as [group of 4 places][row][4 places]: bytes
// that hold the integer plus an offset. A tile of kTile columns is stored as [group of 4
// places][column][4 places]. So a multiply-add of four bytes a lane (VNNI) has one row's four bytes
// against sixteen columns, and the sums of a block stay in registers.
//
// For row r and column c, out[r][c] = float(start[c] + sum of products of bytes) * scale[r], rounded
// to nearest twice; every processor gives the same. `start` takes the offset of the rows out again.
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

// `groups` groups of four places. best[c] is raised to the largest out[r][c].
using ScreenBlock = void (*)(const std::uint8_t* rows, const std::int8_t* tile, std::size_t groups,
                             const std::int32_t* start, const float* scales, float* out,
                             float* best);

// Plain loops of a shape that compilers make vectors of.
template <std::size_t R>
void screen_scalar(const std::uint8_t* rows, const std::int8_t* tile, std::size_t groups,
                   const std::int32_t* start, const float* scales, float* out, float* best) {
    std::int32_t sums[R][kTile];
    for (auto& sum : sums) std::copy_n(start, kTile, sum);
    for (std::size_t g = 0; g < groups; ++g, rows += 4 * R, tile += 4 * kTile) {
        std::int16_t columns[4][kTile];
        for (std::size_t c = 0; c < kTile; ++c)
            for (std::size_t p = 0; p < 4; ++p) columns[p][c] = tile[4 * c + p];
        for (std::size_t r = 0; r < R; ++r)
            for (std::size_t p = 0; p < 4; ++p) {
                const auto place = static_cast<std::int16_t>(static_cast<std::int8_t>(rows[4 * r + p]));
                for (std::size_t c = 0; c < kTile; ++c) sums[r][c] += place * columns[p][c];
            }
    }
    for (std::size_t r = 0; r < R; ++r)
        for (std::size_t c = 0; c < kTile; ++c) {
            const float value = static_cast<float>(sums[r][c]) * scales[r];
            out[r * kTile + c] = value;
            best[c] = std::max(best[c], value);
        }
}

#ifdef SPARSERET_X86
// Sums of R rows are a structure in a structure, for GCC keeps an array of them in memory.
#define SPARSERET_AVX2 __attribute__((target("avx2"), always_inline)) inline

// Of sixteen columns.
template <std::size_t R>
struct Avx2Sums {
    __m256i low, high;
    Avx2Sums<R - 1> rest;

    SPARSERET_AVX2 void start(__m256i low_, __m256i high_) {
        low = low_;
        high = high_;
        rest.start(low_, high_);
    }
    SPARSERET_AVX2 void add(const std::uint8_t* rows, __m256i columns0, __m256i columns1) {
        std::int32_t four;
        std::memcpy(&four, rows, 4);
        const __m256i row = _mm256_set1_epi32(four), size = _mm256_abs_epi8(row);
        low = _mm256_add_epi32(low, products(row, size, columns0));
        high = _mm256_add_epi32(high, products(row, size, columns1));
        rest.add(rows + 4, columns0, columns1);
    }
    // The instruction takes unsigned bytes on one side, so signs go to the other. Two products of
    // at most 127 * 127 fit its 16 bits.
    SPARSERET_AVX2 static __m256i products(__m256i row, __m256i size, __m256i columns) {
        return _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_sign_epi8(columns, row)),
                                 _mm256_set1_epi16(1));
    }
    SPARSERET_AVX2 void finish(const float* scales, float* out, __m256& best0, __m256& best1) {
        const __m256 scale = _mm256_set1_ps(*scales);
        const __m256 first = _mm256_mul_ps(_mm256_cvtepi32_ps(low), scale);
        const __m256 second = _mm256_mul_ps(_mm256_cvtepi32_ps(high), scale);
        _mm256_storeu_ps(out, first);
        _mm256_storeu_ps(out + 8, second);
        best0 = _mm256_max_ps(best0, first);
        best1 = _mm256_max_ps(best1, second);
        rest.finish(scales + 1, out + kTile, best0, best1);
    }
};
template <>
struct Avx2Sums<0> {
    SPARSERET_AVX2 void start(__m256i, __m256i) {}
    SPARSERET_AVX2 void add(const std::uint8_t*, __m256i, __m256i) {}
    SPARSERET_AVX2 void finish(const float*, float*, __m256&, __m256&) {}
};

// N of the R rows of a block, from `first` on.
template <std::size_t R, std::size_t N>
SPARSERET_AVX2 void screen_avx2_rows(std::size_t first, const std::uint8_t* rows,
                                     const std::int8_t* tile, std::size_t groups,
                                     const std::int32_t* start, const float* scales, float* out,
                                     float* best) {
    for (std::size_t c = 0; c < kTile; c += 16) {
        const auto* starts = reinterpret_cast<const __m256i*>(start + c);
        Avx2Sums<N> sums;
        sums.start(_mm256_loadu_si256(starts), _mm256_loadu_si256(starts + 1));
        for (std::size_t g = 0; g < groups; ++g) {
            const auto* at = reinterpret_cast<const __m256i*>(tile + (g * kTile + c) * 4);
            sums.add(rows + (g * R + first) * 4, _mm256_load_si256(at), _mm256_load_si256(at + 1));
        }
        __m256 best0 = _mm256_loadu_ps(best + c), best1 = _mm256_loadu_ps(best + c + 8);
        sums.finish(scales + first, out + first * kTile + c, best0, best1);
        _mm256_storeu_ps(best + c, best0);
        _mm256_storeu_ps(best + c + 8, best1);
    }
}
#undef SPARSERET_AVX2

template <std::size_t R>
__attribute__((target("avx2"))) void screen_avx2(const std::uint8_t* rows, const std::int8_t* tile,
                                                 std::size_t groups, const std::int32_t* start,
                                                 const float* scales, float* out, float* best) {
    constexpr std::size_t kRows = 4;  // at once: eight registers of sums
    for (std::size_t first = 0; first + kRows <= R; first += kRows)
        screen_avx2_rows<R, kRows>(first, rows, tile, groups, start, scales, out, best);
    if constexpr (R % kRows != 0)
        screen_avx2_rows<R, R % kRows>(R / kRows * kRows, rows, tile, groups, start, scales, out,
                                       best);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12 takes what its intrinsics leave undefined for a mistake
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define SPARSERET_VNNI __attribute__((target("avx512f,avx512vnni"), always_inline)) inline

// Of 32 columns.
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
    const std::uint8_t* rows, const std::int8_t* tile, std::size_t groups, const std::int32_t* start,
    const float* scales, float* out, float* best) {
    VnniSums<R> sums;
    sums.start(_mm512_loadu_si512(start), _mm512_loadu_si512(start + 16));
    for (std::size_t g = 0; g < groups; ++g, rows += 4 * R, tile += 4 * kTile)
        sums.add(rows, _mm512_load_si512(tile), _mm512_load_si512(tile + 64));
    __m512 best0 = _mm512_loadu_ps(best), best1 = _mm512_loadu_ps(best + 16);
    sums.finish(scales, out, best0, best1);
    _mm512_storeu_ps(best, best0);
    _mm512_storeu_ps(best + 16, best1);
}
#undef SPARSERET_VNNI
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

struct Screen {
    // For each number of rows, 1 to kBlockRows; entry 0 is that of one row.
    std::array<ScreenBlock, kBlockRows> blocks;
    int offset;  // what bytes of rows hold beside the integer
};

inline Screen active_screen() {
    const auto all = []<std::size_t... I>(std::index_sequence<I...>) {
#ifdef SPARSERET_X86
        if (active_isa() == Isa::avx512 && __builtin_cpu_supports("avx512vnni"))
            return Screen{{screen_vnni<I + 1>...}, 128};
        if (active_isa() != Isa::scalar) return Screen{{screen_avx2<I + 1>...}, 0};
#endif
        return Screen{{screen_scalar<I + 1>...}, 0};
    };
    return all(std::make_index_sequence<kBlockRows>());
}

}  // namespace sparseret
