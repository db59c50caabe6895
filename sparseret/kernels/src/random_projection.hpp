// Products of sparse rows with a random matrix of -1, 0 and 1 that is never stored.
//
// All functions here add up the product of a row with a panel of the matrix value by value, in
// float32. An entry that is zero adds nothing, or +0.0, which is the same: no sum is ever -0.0. So
// they all give the same.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "parallel.hpp"
#include "random_matrix.hpp"
#include "scan.hpp"

namespace sparseret {

// One sparse row; columns are not negative.
struct SparseRow {
    const std::int32_t* columns;
    const float* values;
    std::size_t size;

    static constexpr std::size_t kAhead = 4;
    std::int32_t ahead(std::size_t i) const { return columns[std::min(i + kAhead, size - 1)]; }
};

inline float with_sign(float value, std::uint32_t sign) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ sign);
}

// A panel with many entries that are not zero, in one cache line: entry 16 j + l has the bits 2 j (it
// is not zero) and 2 j + 1 (it is negative) of word l.
struct alignas(64) PackedRow {
    std::array<std::uint32_t, kLanes> words;

    void store(const EntryMasks& entries) {
        constexpr std::uint64_t kEven = 0x5555555555555555u;
        for (std::size_t b = 0; b < kMasks; ++b) {
            const std::uint64_t nonzero = entries.nonzero[b], negative = entries.negative[b];
            const std::uint64_t even = (nonzero & kEven) | ((negative & kEven) << 1);
            const std::uint64_t odd = ((nonzero >> 1) & kEven) | (negative & ~kEven);
            words[4 * b] = static_cast<std::uint32_t>(even);
            words[4 * b + 1] = static_cast<std::uint32_t>(even >> 32);
            words[4 * b + 2] = static_cast<std::uint32_t>(odd);
            words[4 * b + 3] = static_cast<std::uint32_t>(odd >> 32);
        }
    }
};

// A panel with few: up to 8 components, with the sign as the highest bit. They are filled up to 4 or 8
// with places behind the sums, so that the usual row is added without a branch that nobody can predict.
struct alignas(16) ListedRow {
    static constexpr std::size_t kAtOnce = 4, kRoom = 2 * kAtOnce;
    static constexpr std::uint16_t kNegative = 0x8000, kComponent = 0x01ff;
    // In the first entry: all 8 places are taken; there are more than 8, which are made anew.
    static constexpr std::uint16_t kLong = 0x4000, kTooMany = 0x2000;
    std::array<std::uint16_t, kRoom> entries;

    void store(const EntryMasks& masks) {
        for (std::size_t i = 0; i < kRoom; ++i)
            entries[i] = static_cast<std::uint16_t>(kPanel + i % kAtOnce);
        std::size_t n = 0;
        masks.each([&](std::size_t component, bool negative) {
            if (n < kRoom)
                entries[n] = static_cast<std::uint16_t>(component | (negative ? kNegative : 0u));
            ++n;
        });
        if (n > kRoom)
            entries[0] = kTooMany;
        else if (n > kAtOnce)
            entries[0] |= kLong;
    }
};

// Where the sums of a panel stand, and behind them what entries add that are none.
using Sums = std::array<float, kPanel + ListedRow::kAtOnce>;

inline void add_listed(const std::uint16_t* entries, float value, Sums& sums) {
    for (std::size_t j = 0; j < ListedRow::kAtOnce; ++j) {
        const std::uint32_t entry = entries[j];
        sums[entry & ListedRow::kComponent] +=
            with_sign(value, (entry & ListedRow::kNegative) << 16);
    }
}

inline void project_listed(const SparseRow& row, PanelRows<ListedRow>& rows, Sums& sums) {
    sums.fill(0.0f);
    for (std::size_t i = 0; i < row.size; ++i) {
        rows.expect(row.ahead(i));
        const ListedRow& listed = rows[row.columns[i]];
        const float value = row.values[i];
        if (listed.entries[0] & ListedRow::kTooMany) {
            rows.masks(row.columns[i]).each([&](std::size_t component, bool negative) {
                sums[component] += negative ? -value : value;
            });
            continue;
        }
        add_listed(listed.entries.data(), value, sums);
        if (listed.entries[0] & ListedRow::kLong)
            add_listed(listed.entries.data() + ListedRow::kAtOnce, value, sums);
    }
}

template <std::size_t Groups>
void project_scalar(const SparseRow& row, PanelRows<PackedRow>& rows, float* sums) {
    constexpr auto kWanted =
        static_cast<std::uint32_t>(0x55555555u & ((std::uint64_t{1} << 2 * Groups) - 1));
    std::fill_n(sums, Groups * kLanes, 0.0f);
    for (std::size_t i = 0; i < row.size; ++i) {
        const PackedRow& entries = rows[row.columns[i]];
        const float value = row.values[i];
        for (std::size_t l = 0; l < kLanes; ++l) {
            const std::uint32_t word = entries.words[l];
            for (std::uint32_t left = word & kWanted; left; left &= left - 1) {
                const auto at = static_cast<std::size_t>(std::countr_zero(left));
                sums[kLanes / 2 * at + l] += with_sign(value, (word >> at & 2) << 30);
            }
        }
    }
}

#ifdef SPARSERET_X86
// What two bits of an entry mean is looked up in a table by permutation, which reads the lowest three
// or four bits of a lane: the table repeats, so that the bits of the next entry do not matter.

template <std::size_t Groups>
__attribute__((target("avx2"))) void project_avx2(const SparseRow& row, PanelRows<PackedRow>& rows,
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
                const PackedRow& entries = rows[row.columns[i]];
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

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12 takes what its intrinsics leave undefined for a mistake
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
template <std::size_t Groups>
__attribute__((target("avx512f"))) void project_avx512(const SparseRow& row, PanelRows<PackedRow>& rows,
                                                       float* sums) {
    // One table for the lower two of four bits, one for the upper two: a shift serves two entries.
    constexpr __mmask16 kLower = 0b1010101010101010, kLowerMinus = 0b1000100010001000;
    constexpr __mmask16 kUpper = 0b1111000011110000, kUpperMinus = 0b1111000000000000;
    __m512 sum[Groups];
    for (std::size_t j = 0; j < Groups; ++j) sum[j] = _mm512_setzero_ps();
    for (std::size_t i = 0; i < row.size; ++i) {
        rows.expect(row.ahead(i));
        const PackedRow& entries = rows[row.columns[i]];
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
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

template <std::size_t Groups>
void project_packed(const SparseRow& row, PanelRows<PackedRow>& rows, float* sums) {
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512: return project_avx512<Groups>(row, rows, sums);
        case Isa::avx2: return project_avx2<Groups>(row, rows, sums);
        case Isa::scalar: break;
    }
#endif
    project_scalar<Groups>(row, rows, sums);
}

// Rows `begin` to `end` - 1 of a CSR matrix and its product.
struct RowsOfProduct {
    const std::int64_t* indptr;
    const std::int32_t* columns;
    const float* values;
    std::size_t begin, end;
    float scale;
    float* out;  // (rows, n_components)
};

template <class Row, class Project>
void project_panel(const RowsOfProduct& part, const RandomMatrix& matrix, std::size_t panel,
                   Project&& project) {
    const std::int64_t* indptr = part.indptr;
    PanelRows<Row> rows(matrix, panel,
                        static_cast<std::size_t>(indptr[part.end] - indptr[part.begin]));
    const std::size_t first = panel * kPanel;
    const std::size_t width = std::min(kPanel, matrix.n_components - first);
    alignas(64) Sums sums;
    for (std::size_t r = part.begin; r < part.end; ++r) {
        const SparseRow row{part.columns + indptr[r], part.values + indptr[r],
                            static_cast<std::size_t>(indptr[r + 1] - indptr[r])};
        project(row, rows, sums);
        float* target = part.out + r * matrix.n_components + first;
        for (std::size_t c = 0; c < width; ++c) target[c] = sums[c] * part.scale;
    }
}

// out[r, c] = scale * sum of values[i] * entry(columns[i], c) over the values i of row r, in their
// order, in float32. Offsets and columns are checked.
inline void project_rows(const std::int64_t* indptr, const std::int32_t* columns,
                         const float* values, std::size_t n_rows, const RandomMatrix& matrix,
                         float scale, std::size_t n_threads, float* out) {
    // Up to two entries of a panel on average; beyond, packed rows are faster.
    constexpr std::uint64_t kListed = (std::uint64_t{1} << kDigits) / (kPanel / 2);
    const std::size_t n_panels = (matrix.n_components + kPanel - 1) / kPanel;
    // Each part makes the matrix anew, so there are no more of them than are worked on at a time.
    const std::size_t n_parts =
        std::clamp<std::size_t>(n_threads, 1, std::max<std::size_t>(n_rows, 1));
    parallel_for(n_panels * n_parts, n_threads, [&](std::size_t item) {
        const std::size_t panel = item / n_parts, i = item % n_parts;
        const RowsOfProduct part{indptr, columns, values, n_rows * i / n_parts,
                                 n_rows * (i + 1) / n_parts, scale, out};
        if (part.begin == part.end) return;
        const auto packed = [&](auto project) {
            project_panel<PackedRow>(part, matrix, panel,
                                     [&](const SparseRow& row, PanelRows<PackedRow>& rows,
                                         Sums& sums) { project(row, rows, sums.data()); });
        };
        const std::size_t width = matrix.n_components - panel * kPanel;
        if (matrix.density <= kListed)
            project_panel<ListedRow>(part, matrix, panel, project_listed);
        else if (width > 128)
            packed(project_packed<16>);
        else if (width > 64)
            packed(project_packed<8>);
        else
            packed(project_packed<4>);
    });
}

}  // namespace sparseret
