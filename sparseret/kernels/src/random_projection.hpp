// Products of sparse rows with a random matrix of -1, 0 and 1 that is never stored.
//
// The matrix is cut into panels of 256 components. What a feature has in a panel is made when it is
// needed, from the seed and the place alone, as four masks of 64 bits: 33 random words belong to each
// mask. Bit i of the first 32 words are the binary digits, highest first, of a number U between 0 and
// 1; bit i of the last one is a sign. The entry is not zero where U is less than the density. Digits
// are compared until all are decided, which takes about 9 words a mask, not 32.
//
// A row of a panel is one cache line of 16 words of 32 bits: entry 16 j + l has the bits 2 j (it is
// not zero) and 2 j + 1 (it is negative) of word l. The bits of the masks are assigned to entries so
// that no bit must move far: bit i of mask b belongs to the entry with
// l = 4 b + 2 (i mod 2) + i / 32 and j = (i mod 32) / 2.
//
// A call keeps the rows that it has made in a cache of bounded size.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "parallel.hpp"
#include "scan.hpp"

namespace sparseret {

inline constexpr std::size_t kPanel = 256, kMasks = 4, kLanes = 16;
inline constexpr unsigned kDigits = 32;

struct RandomMatrix {
    std::uint64_t seed;
    std::uint64_t density;  // times 2^32: 1 to 2^32
    std::size_t n_components;
    bool is_signed;  // or else no entry is negative
};

// The output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, OOPSLA 2014).
inline std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct alignas(64) PanelRow {
    std::array<std::uint32_t, kLanes> words;
};

// Rows of one panel of the matrix.
class PanelRows {
  public:
    // `most` is how many different features there may be.
    PanelRows(const RandomMatrix& matrix, std::size_t panel, std::size_t most)
        : density_(matrix.density),
          is_signed_(matrix.is_signed),
          key_(mixed(matrix.seed)),
          panel_(panel),
          tags_(std::bit_ceil(std::clamp<std::size_t>(most, 1, kSlots)), kNone),
          rows_(new PanelRow[tags_.size()]) {}

    const PanelRow& operator[](std::int32_t feature) {
        const std::size_t at = slot(feature);
        if (tags_[at] != feature) {
            fill(rows_[at], feature);
            tags_[at] = feature;
        }
        return rows_[at];
    }

    void expect(std::int32_t feature) const {
#if defined(__GNUC__) || defined(__clang__)
        __builtin_prefetch(&tags_[slot(feature)]);
        __builtin_prefetch(&rows_[slot(feature)]);
#else
        static_cast<void>(feature);
#endif
    }

  private:
    static constexpr std::size_t kSlots = std::size_t{1} << 18;  // 16 MiB of rows
    static constexpr std::int32_t kNone = -1;
    static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15u;
    static constexpr std::uint64_t kEven = 0x5555555555555555u;

    std::size_t slot(std::int32_t feature) const {
        return static_cast<std::size_t>(feature) & (tags_.size() - 1);
    }

    // Kept out of the loops over values, which need all registers.
#if defined(__GNUC__) || defined(__clang__)
    __attribute__((noinline))
#endif
    void fill(PanelRow& row, std::int32_t feature) const {
        std::array<std::uint64_t, kMasks> state, entries{}, equal;
        for (std::size_t b = 0; b < kMasks; ++b)
            state[b] = key_ + kStep * ((static_cast<std::uint64_t>(feature) << 32) |
                                       (static_cast<std::uint64_t>(panel_ * kMasks + b) << 6));
        const auto signs_at = state;
        equal.fill(~std::uint64_t{0});
        if (density_ >> kDigits) {
            entries = equal;
        } else {
            std::uint64_t undecided = 1;
            for (unsigned digit = kDigits; undecided && digit--;) {
                const std::uint64_t one = 0 - ((density_ >> digit) & 1);  // all bits, or none
                undecided = 0;
                for (std::size_t b = 0; b < kMasks; ++b) {
                    const std::uint64_t drawn = mixed(state[b]);
                    state[b] += kStep;
                    entries[b] |= equal[b] & ~drawn & one;
                    equal[b] &= ~(drawn ^ one);
                    undecided |= equal[b];
                }
            }
        }
        for (std::size_t b = 0; b < kMasks; ++b) {
            const std::uint64_t signs =
                is_signed_ ? mixed(signs_at[b] + kStep * kDigits) & entries[b] : 0;
            const std::uint64_t even = (entries[b] & kEven) | ((signs & kEven) << 1);
            const std::uint64_t odd = ((entries[b] >> 1) & kEven) | (signs & ~kEven);
            row.words[4 * b] = static_cast<std::uint32_t>(even);
            row.words[4 * b + 1] = static_cast<std::uint32_t>(even >> 32);
            row.words[4 * b + 2] = static_cast<std::uint32_t>(odd);
            row.words[4 * b + 3] = static_cast<std::uint32_t>(odd >> 32);
        }
    }

    std::uint64_t density_;
    bool is_signed_;
    std::uint64_t key_;
    std::size_t panel_;
    std::vector<std::int32_t> tags_;
    std::unique_ptr<PanelRow[]> rows_;
};

// One sparse row; columns are not negative.
struct SparseRow {
    const std::int32_t* columns;
    const float* values;
    std::size_t size;

    static constexpr std::size_t kAhead = 4;
    std::int32_t ahead(std::size_t i) const { return columns[std::min(i + kAhead, size - 1)]; }
};

// The functions below add up the product of a row with the first 16 * `Groups` entries of a panel,
// value by value, and an entry that is zero adds +0.0: no sum is ever -0.0, so that changes nothing,
// and all of them give the same.

template <std::size_t Groups>
void project_scalar(const SparseRow& row, PanelRows& rows, float* sums) {
    constexpr auto kWanted = static_cast<std::uint32_t>(0x55555555u & ((std::uint64_t{1} << 2 * Groups) - 1));
    std::fill_n(sums, Groups * kLanes, 0.0f);
    for (std::size_t i = 0; i < row.size; ++i) {
        const PanelRow& entries = rows[row.columns[i]];
        const auto value = std::bit_cast<std::uint32_t>(row.values[i]);
        for (std::size_t l = 0; l < kLanes; ++l) {
            const std::uint32_t word = entries.words[l];
            for (std::uint32_t left = word & kWanted; left; left &= left - 1) {
                const int at = std::countr_zero(left);
                const std::uint32_t sign = (word >> at & 2) << 30;
                sums[kLanes / 2 * static_cast<std::size_t>(at) + l] +=
                    std::bit_cast<float>(value ^ sign);
            }
        }
    }
}

#ifdef SPARSERET_X86
// What two bits of an entry mean is looked up in a table by permutation, which reads the lowest three
// or four bits of a lane: the table repeats, so that the bits of the next entry do not matter.

template <std::size_t Groups>
__attribute__((target("avx2"))) void project_avx2(const SparseRow& row, PanelRows& rows,
                                                  float* sums) {
    constexpr std::size_t kHeld = std::min<std::size_t>(Groups, 8);  // sums in registers
    const __m256 keep =
        _mm256_castsi256_ps(_mm256_setr_epi32(0, -1, 0, -1, 0, -1, 0, -1));
    const __m256 negate = _mm256_setr_ps(0.0f, 0.0f, 0.0f, -0.0f, 0.0f, 0.0f, 0.0f, -0.0f);
    for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t first = 0; first < Groups; first += kHeld) {
            __m256 sum[kHeld];
            for (std::size_t j = 0; j < kHeld; ++j) sum[j] = _mm256_setzero_ps();
            for (std::size_t i = 0; i < row.size; ++i) {
                rows.expect(row.ahead(i));
                const PanelRow& entries = rows[row.columns[i]];
                const __m256 value = _mm256_set1_ps(row.values[i]);
                const __m256 table = _mm256_and_ps(_mm256_xor_ps(value, negate), keep);
                __m256i word = _mm256_load_si256(
                    reinterpret_cast<const __m256i*>(entries.words.data() + 8 * half));
                word = _mm256_srl_epi32(word, _mm_cvtsi32_si128(static_cast<int>(2 * first)));
                for (std::size_t j = 0; j < kHeld; ++j)
                    sum[j] = _mm256_add_ps(
                        sum[j], _mm256_permutevar8x32_ps(
                                    table, _mm256_srli_epi32(word, static_cast<int>(2 * j))));
            }
            for (std::size_t j = 0; j < kHeld; ++j)
                _mm256_storeu_ps(sums + kLanes * (first + j) + 8 * half, sum[j]);
        }
}

template <std::size_t Groups>
__attribute__((target("avx512f"))) void project_avx512(const SparseRow& row, PanelRows& rows,
                                                       float* sums) {
    // One table for the lower two of four bits, one for the upper two: a shift serves two entries.
    constexpr __mmask16 kLower = 0b1010101010101010, kLowerMinus = 0b1000100010001000;
    constexpr __mmask16 kUpper = 0b1111000011110000, kUpperMinus = 0b1111000000000000;
    __m512 sum[Groups];
    for (std::size_t j = 0; j < Groups; ++j) sum[j] = _mm512_setzero_ps();
    for (std::size_t i = 0; i < row.size; ++i) {
        rows.expect(row.ahead(i));
        const PanelRow& entries = rows[row.columns[i]];
        const __m512 value = _mm512_set1_ps(row.values[i]);
        const __m512 minus = _mm512_set1_ps(-row.values[i]);
        const __m512 lower =
            _mm512_mask_mov_ps(_mm512_maskz_mov_ps(kLower, value), kLowerMinus, minus);
        const __m512 upper =
            _mm512_mask_mov_ps(_mm512_maskz_mov_ps(kUpper, value), kUpperMinus, minus);
        const __m512i word = _mm512_load_si512(entries.words.data());
        for (std::size_t j = 0; j < Groups; j += 2) {
            const __m512i pair = _mm512_srli_epi32(word, static_cast<unsigned>(2 * j));
            sum[j] = _mm512_add_ps(sum[j], _mm512_permutexvar_ps(pair, lower));
            sum[j + 1] = _mm512_add_ps(sum[j + 1], _mm512_permutexvar_ps(pair, upper));
        }
    }
    for (std::size_t j = 0; j < Groups; ++j) _mm512_storeu_ps(sums + kLanes * j, sum[j]);
}
#endif

template <std::size_t Groups>
void project_row(const SparseRow& row, PanelRows& rows, float* sums) {
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512: return project_avx512<Groups>(row, rows, sums);
        case Isa::avx2: return project_avx2<Groups>(row, rows, sums);
        case Isa::scalar: break;
    }
#endif
    project_scalar<Groups>(row, rows, sums);
}

// out[r, c] = scale * sum of values[i] * entry(columns[i], c) over the values i of row r, in their
// order, in float32. Offsets and columns are checked.
inline void project_rows(const std::int64_t* indptr, const std::int32_t* columns,
                         const float* values, std::size_t n_rows, const RandomMatrix& matrix,
                         float scale, std::size_t n_threads, float* out) {
    const std::size_t n_panels = (matrix.n_components + kPanel - 1) / kPanel;
    // Each part makes the matrix anew, so there are no more of them than are worked on at a time.
    const std::size_t n_parts = std::clamp<std::size_t>(n_threads, 1, std::max<std::size_t>(n_rows, 1));
    parallel_for(n_panels * n_parts, n_threads, [&](std::size_t item) {
        const std::size_t panel = item / n_parts, part = item % n_parts;
        const std::size_t begin = n_rows * part / n_parts, end = n_rows * (part + 1) / n_parts;
        if (begin == end) return;
        const std::size_t first = panel * kPanel;
        const std::size_t width = std::min(kPanel, matrix.n_components - first);
        PanelRows rows(matrix, panel, static_cast<std::size_t>(indptr[end] - indptr[begin]));
        alignas(64) float sums[kPanel];
        for (std::size_t r = begin; r < end; ++r) {
            const SparseRow row{columns + indptr[r], values + indptr[r],
                                static_cast<std::size_t>(indptr[r + 1] - indptr[r])};
            if (width > 128)
                project_row<16>(row, rows, sums);
            else if (width > 64)
                project_row<8>(row, rows, sums);
            else
                project_row<4>(row, rows, sums);
            float* target = out + r * matrix.n_components + first;
            for (std::size_t c = 0; c < width; ++c) target[c] = sums[c] * scale;
        }
    });
}

}  // namespace sparseret
