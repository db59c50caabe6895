// Rows of a random matrix of -1, 0 and 1 that is never stored.
//
// The matrix is cut into panels of 256 components. What a feature has in a panel is made when it is
// needed, from the seed and the place alone, as four masks of 64 bits: 33 random words belong to each
// mask. Bit i of the first 32 words are the binary digits, highest first, of a number U between 0 and
// 1; bit i of the last one is a sign. The entry is not zero where U is less than the density. Digits
// are compared until all are decided, which takes about 10 words a mask, not 32.
//
// The bits of the masks are assigned to components so that packing moves no bit far: bit i of mask b
// belongs to component 16 j + l of the panel, l = 4 b + 2 (i mod 2) + i / 32 and j = (i mod 32) / 2.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

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
inline constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15u;
inline constexpr std::uint64_t kMixFirst = 0xbf58476d1ce4e5b9u, kMixSecond = 0x94d049bb133111ebu;

inline std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 30)) * kMixFirst;
    x = (x ^ (x >> 27)) * kMixSecond;
    return x ^ (x >> 31);
}

// What a feature has in a panel.
struct EntryMasks {
    std::array<std::uint64_t, kMasks> nonzero{}, negative{};

    // f(component of the panel, whether it is negative) for all that are not zero.
    template <class F>
    void each(F&& f) const {
        for (std::size_t b = 0; b < kMasks; ++b)
            for (std::uint64_t left = nonzero[b]; left; left &= left - 1) {
                const auto i = static_cast<std::size_t>(std::countr_zero(left));
                f(kLanes * (i % 32 / 2) + 4 * b + 2 * (i % 2) + i / 32,
                  static_cast<bool>(negative[b] >> i & 1));
            }
    }
};

// All that are not zero, given the states of the four masks.
inline std::array<std::uint64_t, kMasks> draw_scalar(std::array<std::uint64_t, kMasks> state,
                                                     std::uint64_t density) {
    std::array<std::uint64_t, kMasks> less{}, equal;
    equal.fill(~std::uint64_t{0});
    std::uint64_t undecided = 1;
    for (unsigned digit = kDigits; undecided && digit--;) {
        const std::uint64_t one = 0 - ((density >> digit) & 1);  // all bits, or none
        undecided = 0;
        for (std::size_t b = 0; b < kMasks; ++b) {
            const std::uint64_t drawn = mixed(state[b]);
            state[b] += kStep;
            less[b] |= equal[b] & ~drawn & one;
            equal[b] &= ~(drawn ^ one);
            undecided |= equal[b];
        }
    }
    return less;
}

#ifdef SPARSERET_X86
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12 takes what its intrinsics leave undefined for a mistake
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
// The same; two digits at a time.
__attribute__((target("avx512f,avx512dq,avx512vl"))) inline std::array<std::uint64_t, kMasks>
draw_avx512(const std::array<std::uint64_t, kMasks>& start, std::uint64_t density) {
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start.data()));
    const __m256i second = _mm256_add_epi64(first, _mm256_set1_epi64x(static_cast<long long>(kStep)));
    const __m512i multiply_first = _mm512_set1_epi64(static_cast<long long>(kMixFirst));
    const __m512i multiply_second = _mm512_set1_epi64(static_cast<long long>(kMixSecond));
    const __m512i step = _mm512_set1_epi64(static_cast<long long>(2 * kStep));
    __m512i state = _mm512_maskz_broadcast_i64x4(0xff, second);
    state = _mm512_mask_broadcast_i64x4(state, 0x0f, first);
    __m256i less = _mm256_setzero_si256(), equal = _mm256_set1_epi64x(-1);
    for (unsigned digit = kDigits; digit; digit -= 2) {
        __m512i x = _mm512_xor_si512(state, _mm512_srli_epi64(state, 30));
        x = _mm512_mullo_epi64(x, multiply_first);
        x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 27));
        x = _mm512_mullo_epi64(x, multiply_second);
        x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 31));
        state = _mm512_add_epi64(state, step);
        const __m256i drawn[2] = {_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1)};
        for (unsigned d = 0; d < 2; ++d) {
            const auto bit = static_cast<long long>((density >> (digit - 1 - d)) & 1);
            const __m256i one = _mm256_set1_epi64x(-bit);
            less = _mm256_or_si256(less,
                                   _mm256_and_si256(equal, _mm256_andnot_si256(drawn[d], one)));
            equal = _mm256_andnot_si256(_mm256_xor_si256(drawn[d], one), equal);
        }
        if (_mm256_testz_si256(equal, equal)) break;
    }
    std::array<std::uint64_t, kMasks> found;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(found.data()), less);
    return found;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

inline bool draws_by_avx512() {
    static const bool can = __builtin_cpu_supports("avx512dq");
    return can && active_isa() == Isa::avx512;
}
#endif

// Rows of one panel of the matrix, in the form of `Row`, which has `store(const EntryMasks&)`. Those
// that were made are kept in a cache of bounded size, where a feature takes the place of another.
template <class Row>
class PanelRows {
  public:
    // `most` is how many different features there may be.
    PanelRows(const RandomMatrix& matrix, std::size_t panel, std::size_t most)
        : density_(matrix.density),
          is_signed_(matrix.is_signed),
          key_(mixed(matrix.seed)),
          panel_(panel),
          tags_(std::bit_ceil(std::clamp<std::size_t>(most, 1, kSlots)), kNone),
          rows_(new Row[tags_.size()]) {}

    const Row& operator[](std::int32_t feature) {
        const std::size_t at = slot(feature);
        if (tags_[at] != feature) {
            fill(rows_[at], feature);
            tags_[at] = feature;
        }
        return rows_[at];
    }

    // The feature will be asked for soon.
    void expect(std::int32_t feature) const {
#if defined(__GNUC__) || defined(__clang__)
        __builtin_prefetch(&tags_[slot(feature)]);
        __builtin_prefetch(&rows_[slot(feature)]);
#else
        static_cast<void>(feature);
#endif
    }

    EntryMasks masks(std::int32_t feature) const {
        std::array<std::uint64_t, kMasks> state;
        for (std::size_t b = 0; b < kMasks; ++b)
            state[b] = key_ + kStep * ((static_cast<std::uint64_t>(feature) << 32) |
                                       (static_cast<std::uint64_t>(panel_ * kMasks + b) << 6));
        EntryMasks entries;
        if (density_ >> kDigits)
            entries.nonzero.fill(~std::uint64_t{0});
        else
            entries.nonzero = draw(state);
        if (is_signed_)
            for (std::size_t b = 0; b < kMasks; ++b)
                entries.negative[b] = mixed(state[b] + kStep * kDigits) & entries.nonzero[b];
        return entries;
    }

  private:
    static constexpr std::size_t kSlots = std::size_t{1} << 18;  // 16 MiB of rows
    static constexpr std::int32_t kNone = -1;

    std::size_t slot(std::int32_t feature) const {
        return static_cast<std::size_t>(feature) & (tags_.size() - 1);
    }

    std::array<std::uint64_t, kMasks> draw(const std::array<std::uint64_t, kMasks>& state) const {
#ifdef SPARSERET_X86
        if (draws_by_avx512()) return draw_avx512(state, density_);
#endif
        return draw_scalar(state, density_);
    }

    // Kept out of the loops over values, which need all registers.
#if defined(__GNUC__) || defined(__clang__)
    __attribute__((noinline))
#endif
    void fill(Row& row, std::int32_t feature) const {
        row.store(masks(feature));
    }

    std::uint64_t density_;
    bool is_signed_;
    std::uint64_t key_;
    std::size_t panel_;
    std::vector<std::int32_t> tags_;
    std::unique_ptr<Row[]> rows_;
};

}  // namespace sparseret
