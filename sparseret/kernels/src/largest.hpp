// The k largest values of wide rows, by one sequential pass and a little more.
//
// The pass takes the maxima of chunks of a row. The k-th largest maximum is a lower bound of the
// k-th largest value, as k chunks have a value of at least that. Then the chunks whose maximum
// reaches the bound are looked through: they give k values and few more, from which the best are
// chosen.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "scan.hpp"

namespace sparseret {

inline constexpr std::size_t kGroupLanes = 16;

// The largest of `steps` * 16 values; false if one is not a number.
inline bool chunk_max_scalar(const float* from, std::size_t steps, float& best) {
    best = -std::numeric_limits<float>::infinity();
    bool ordered = true;
    for (const float* end = from + steps * kGroupLanes; from < end; ++from) {
        best = std::max(best, *from);
        ordered &= *from == *from;
    }
    return ordered;
}

#ifdef SPARSERET_X86
// Two registers of maxima: one alone would wait for itself.
__attribute__((target("avx2"))) inline bool chunk_max_avx2(const float* from, std::size_t steps,
                                                           float& best) {
    __m256 low = _mm256_set1_ps(-std::numeric_limits<float>::infinity()), high = low;
    __m256 unordered = _mm256_setzero_ps();
    for (const float* end = from + steps * kGroupLanes; from < end; from += kGroupLanes) {
        const __m256 first = _mm256_loadu_ps(from), second = _mm256_loadu_ps(from + 8);
        low = _mm256_max_ps(first, low);
        high = _mm256_max_ps(second, high);
        unordered = _mm256_or_ps(unordered, _mm256_cmp_ps(first, second, _CMP_UNORD_Q));
    }
    low = _mm256_max_ps(low, high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    best = _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
    return _mm256_movemask_ps(unordered) == 0;
}

__attribute__((target("avx512f"))) inline bool chunk_max_avx512(const float* from,
                                                                std::size_t steps, float& best) {
    __m512 even = _mm512_set1_ps(-std::numeric_limits<float>::infinity()), odd = even;
    unsigned unordered = 0;
    const float* const end = from + steps * kGroupLanes;
    for (; from + 2 * kGroupLanes <= end; from += 2 * kGroupLanes) {
        const __m512 first = _mm512_loadu_ps(from), second = _mm512_loadu_ps(from + kGroupLanes);
        even = _mm512_max_ps(first, even);
        odd = _mm512_max_ps(second, odd);
        unordered |= _mm512_cmp_ps_mask(first, second, _CMP_UNORD_Q);
    }
    if (from < end) {
        const __m512 last = _mm512_loadu_ps(from);
        even = _mm512_max_ps(last, even);
        unordered |= _mm512_cmp_ps_mask(last, last, _CMP_UNORD_Q);
    }
    best = _mm512_reduce_max_ps(_mm512_max_ps(even, odd));
    return unordered == 0;
}
#endif

// Appends the columns from `i` to `end` of the values that are >= bound, ascending.
inline void reaching_scalar(const float* row, std::size_t i, std::size_t end, float bound,
                            std::vector<std::int32_t>& columns) {
    for (; i < end; ++i)
        if (row[i] >= bound) columns.push_back(static_cast<std::int32_t>(i));
}

inline void append_bits(unsigned mask, std::size_t first, std::vector<std::int32_t>& columns) {
    for (; mask; mask &= mask - 1)
        columns.push_back(static_cast<std::int32_t>(first + static_cast<unsigned>(std::countr_zero(mask))));
}

#ifdef SPARSERET_X86
__attribute__((target("avx2"))) inline void reaching_avx2(const float* row, std::size_t i,
                                                          std::size_t end, float bound,
                                                          std::vector<std::int32_t>& columns) {
    const __m256 least = _mm256_set1_ps(bound);
    for (; i + 8 <= end; i += 8) {
        const __m256 reached = _mm256_cmp_ps(_mm256_loadu_ps(row + i), least, _CMP_GE_OQ);
        if (const auto mask = static_cast<unsigned>(_mm256_movemask_ps(reached)))
            append_bits(mask, i, columns);
    }
    for (; i < end; ++i)
        if (row[i] >= bound) columns.push_back(static_cast<std::int32_t>(i));
}

__attribute__((target("avx512f"))) inline void reaching_avx512(const float* row, std::size_t i,
                                                               std::size_t end, float bound,
                                                               std::vector<std::int32_t>& columns) {
    const __m512 least = _mm512_set1_ps(bound);
    for (; i + 16 <= end; i += 16)
        if (const unsigned mask = _mm512_cmp_ps_mask(_mm512_loadu_ps(row + i), least, _CMP_GE_OQ))
            append_bits(mask, i, columns);
    for (; i < end; ++i)
        if (row[i] >= bound) columns.push_back(static_cast<std::int32_t>(i));
}
#endif

// Sums of values and of their squares, sixteen interleaved ones of each: the same numbers by any
// instruction set, as each sum adds its values in ascending order.
struct Moments {
    std::array<double, kGroupLanes> sums{}, squares{};

    void add(float value, std::size_t lane) {
        const double wide = value;
        sums[lane] += wide;
        squares[lane] += wide * wide;
    }
};

inline void moments_scalar(const float* from, std::size_t steps, Moments& moments) {
    for (const float* end = from + steps * kGroupLanes; from < end; from += kGroupLanes)
        for (std::size_t lane = 0; lane < kGroupLanes; ++lane) moments.add(from[lane], lane);
}

#ifdef SPARSERET_X86
// One half of the lanes after the other: their sums stay in registers, and the row in the cache.
__attribute__((target("avx2"))) inline void moments_avx2(const float* from, std::size_t steps,
                                                         Moments& moments) {
    for (std::size_t lane = 0; lane < kGroupLanes; lane += 8) {
        __m256d sums[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()}, squares[2] = {sums[0], sums[0]};
        for (std::size_t step = 0; step < steps; ++step)
            for (std::size_t half = 0; half < 2; ++half) {
                const __m256d value = _mm256_cvtps_pd(_mm_loadu_ps(from + step * kGroupLanes + lane + 4 * half));
                sums[half] = _mm256_add_pd(sums[half], value);
                squares[half] = _mm256_add_pd(squares[half], _mm256_mul_pd(value, value));
            }
        for (std::size_t half = 0; half < 2; ++half) {
            _mm256_storeu_pd(moments.sums.data() + lane + 4 * half, sums[half]);
            _mm256_storeu_pd(moments.squares.data() + lane + 4 * half, squares[half]);
        }
    }
}

__attribute__((target("avx512f"))) inline void moments_avx512(const float* from, std::size_t steps,
                                                              Moments& moments) {
    __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()}, squares[2] = {sums[0], sums[0]};
    for (std::size_t step = 0; step < steps; ++step)
        for (std::size_t half = 0; half < 2; ++half) {
            const __m512d value = _mm512_cvtps_pd(_mm256_loadu_ps(from + step * kGroupLanes + 8 * half));
            sums[half] = _mm512_add_pd(sums[half], value);
            squares[half] = _mm512_add_pd(squares[half], _mm512_mul_pd(value, value));
        }
    for (std::size_t half = 0; half < 2; ++half) {
        _mm512_storeu_pd(moments.sums.data() + 8 * half, sums[half]);
        _mm512_storeu_pd(moments.squares.data() + 8 * half, squares[half]);
    }
}
#endif

// Finds the largest values of rows of one width; one object a thread.
class Largest {
public:
    // Writes the columns of the k largest values, ascending, to `out`; of equal values those with
    // the smaller columns are taken. k is 1 to width. False, and nothing written, if a value is not
    // a number.
    bool find(const float* row, std::size_t width, std::size_t k, std::int32_t* out) {
        // About four chunks for each value wanted: fewer give a loose bound, more take longer.
        const std::size_t whole = width / kGroupLanes;
        const std::size_t steps = std::max<std::size_t>(whole / (4 * k), 1);
        if (!maxima(row, width, steps)) return false;
        float bound = -std::numeric_limits<float>::infinity();
        if (k <= maxima_.size()) bound = value_of(kth(maxima_, k, k / 4));
        columns_.clear();
        const std::size_t chunk = steps * kGroupLanes, end = whole * kGroupLanes;
        std::size_t number = 0;
        for (std::size_t i = 0; i < end; i += chunk)
            if (maxima_[number++] >= bound) reaching(row, i, std::min(i + chunk, end), bound);
        reaching(row, end, width, bound);
        values_.resize(columns_.size());
        for (std::size_t i = 0; i < columns_.size(); ++i) values_[i] = row[columns_[i]];
        const std::int32_t least = kth(values_, k, 0);  // fills keys_
        std::size_t equal = k;
        for (const std::int32_t key : keys_) equal -= key > least;
        std::size_t taken = 0;
        for (std::size_t i = 0; taken < k; ++i) {
            const bool tied = (keys_[i] == least) & (equal > 0);
            equal -= tied;
            out[taken] = columns_[i];
            taken += (keys_[i] > least) | tied;
        }
        return true;
    }

    // Columns of the values above mean + deviations * standard deviation, ascending; none, and
    // false, if the sum of squares is not finite.
    bool find_above(const float* row, std::size_t width, double deviations,
                    std::vector<std::int32_t>& out) {
        out.clear();
        Moments moments;
        const std::size_t steps = width / kGroupLanes;
        add_moments(row, steps, moments);
        for (std::size_t i = steps * kGroupLanes; i < width; ++i) moments.add(row[i], i - steps * kGroupLanes);
        double sum = 0, square = 0;
        for (std::size_t lane = 0; lane < kGroupLanes; ++lane) {
            sum += moments.sums[lane];
            square += moments.squares[lane];
        }
        if (!std::isfinite(square)) return false;
        const double n = static_cast<double>(width), mean = sum / n;
        const double variance = std::max(0.0, square / n - mean * mean);
        const double threshold = mean + deviations * std::sqrt(variance);
        // The smallest float above it.
        auto least = static_cast<float>(threshold);
        if (static_cast<double>(least) <= threshold)
            least = std::nextafter(least, std::numeric_limits<float>::infinity());
        columns_.clear();
        reaching(row, 0, width, least);
        out = columns_;
        return true;
    }

private:
    static void add_moments(const float* from, std::size_t steps, Moments& moments) {
#ifdef SPARSERET_X86
        switch (active_isa()) {
            case Isa::avx512: return moments_avx512(from, steps, moments);
            case Isa::avx2: return moments_avx2(from, steps, moments);
            case Isa::scalar: break;
        }
#endif
        moments_scalar(from, steps, moments);
    }

    // Integers in the order of floats; both zeros are one.
    static std::int32_t key_of(float value) {
        const auto bits = std::bit_cast<std::int32_t>(value + 0.0f);
        return bits ^ ((bits >> 31) & 0x7fffffff);
    }

    static float value_of(std::int32_t key) {
        return std::bit_cast<float>(key ^ ((key >> 31) & 0x7fffffff));
    }

    // The k-th largest key, or one below it that at most k + slack keys reach. Halves the range of
    // keys and counts, which has no branches to guess, unlike a partition.
    std::int32_t kth(const std::vector<float>& values, std::size_t k, std::size_t slack) {
        // Plain loops over arrays, which compilers make vectors of.
        const std::size_t n = values.size();
        keys_.resize(n);
        std::int32_t* const keys = keys_.data();
        std::int32_t least = std::numeric_limits<std::int32_t>::max(), most = ~least;
        for (std::size_t i = 0; i < n; ++i) keys[i] = key_of(values[i]);
        for (std::size_t i = 0; i < n; ++i) least = std::min(least, keys[i]);
        for (std::size_t i = 0; i < n; ++i) most = std::max(most, keys[i]);
        std::int64_t low = least, high = std::int64_t{most} + 1;
        while (high - low > 1) {
            const std::int64_t middle = low + (high - low) / 2;
            const auto key = static_cast<std::int32_t>(middle);
            std::int32_t reached = 0;
            for (std::size_t i = 0; i < n; ++i) reached += keys[i] >= key;
            if (static_cast<std::size_t>(reached) < k) {
                high = middle;
            } else {
                low = middle;
                if (slack > 0 && static_cast<std::size_t>(reached) <= k + slack) break;
            }
        }
        return static_cast<std::int32_t>(low);
    }

    static bool chunk_max(const float* from, std::size_t steps, float& best) {
#ifdef SPARSERET_X86
        switch (active_isa()) {
            case Isa::avx512: return chunk_max_avx512(from, steps, best);
            case Isa::avx2: return chunk_max_avx2(from, steps, best);
            case Isa::scalar: break;
        }
#endif
        return chunk_max_scalar(from, steps, best);
    }

    // Maxima of all chunks; the values behind the last sixteen are chunks of their own.
    bool maxima(const float* row, std::size_t width, std::size_t steps) {
        const std::size_t whole = width / kGroupLanes;
        maxima_.resize((whole + steps - 1) / steps);
        bool ordered = true;
        float* best = maxima_.data();
        for (std::size_t step = 0; step < whole; step += steps)
            ordered &= chunk_max(row + step * kGroupLanes, std::min(steps, whole - step), *best++);
        for (std::size_t i = whole * kGroupLanes; i < width; ++i) {
            ordered &= row[i] == row[i];
            maxima_.push_back(row[i]);
        }
        return ordered;
    }

    void reaching(const float* row, std::size_t begin, std::size_t end, float bound) {
#ifdef SPARSERET_X86
        switch (active_isa()) {
            case Isa::avx512: return reaching_avx512(row, begin, end, bound, columns_);
            case Isa::avx2: return reaching_avx2(row, begin, end, bound, columns_);
            case Isa::scalar: break;
        }
#endif
        reaching_scalar(row, begin, end, bound, columns_);
    }

    std::vector<float> maxima_, values_;
    std::vector<std::int32_t> columns_, keys_;
};

}  // namespace sparseret
