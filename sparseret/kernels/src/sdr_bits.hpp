// Overlap search by packed bits: every code is a row of bits, and a query is compared with all of
// them. What it costs depends on the number of cells alone, so it pays for dense codes and queries.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned.hpp"
#include "scan.hpp"
#include "sdr_lists.hpp"
#include "sdr_top.hpp"

namespace sparseret {

inline constexpr std::size_t kSdrWordsAtOnce = 4;  // a code fills up 32 bytes

inline std::size_t sdr_words(std::size_t n_cells) {
    return (n_cells + 64 * kSdrWordsAtOnce - 1) / (64 * kSdrWordsAtOnce) * kSdrWordsAtOnce;
}

// Sets the bits of a row; `words` holds zeros.
inline void pack_sdr(const std::int32_t* cells, std::size_t n, std::uint64_t* words) {
    for (std::size_t i = 0; i < n; ++i)
        words[static_cast<std::size_t>(cells[i]) / 64] |= std::uint64_t{1} << (cells[i] % 64);
}

// body(overlap) is called for each of n codes of `words` words in turn.
template <class Body>
void overlaps_scalar(const std::uint64_t* code, std::size_t n, std::size_t words,
                     const std::uint64_t* query, Body&& body) {
    for (std::size_t i = 0; i < n; ++i, code += words) {
        int overlap = 0;
        for (std::size_t w = 0; w < words; ++w) overlap += std::popcount(code[w] & query[w]);
        body(static_cast<std::uint32_t>(overlap));
    }
}

#ifdef SPARSERET_X86
// Bits of each byte: two lookups of four bits.
__attribute__((target("avx2"))) inline __m256i bits_of_bytes(__m256i value) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    return _mm256_add_epi8(
        _mm256_shuffle_epi8(table, _mm256_and_si256(value, low)),
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(value, 4), low)));
}

template <class Body>
__attribute__((target("avx2"))) void overlaps_avx2(const std::uint64_t* code, std::size_t n,
                                                   std::size_t words, const std::uint64_t* query,
                                                   Body&& body) {
    for (std::size_t i = 0; i < n; ++i, code += words) {
        __m256i sums = _mm256_setzero_si256();
        for (std::size_t w = 0; w < words; w += 4) {
            const __m256i both =
                _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(code + w)),
                                 _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + w)));
            sums = _mm256_add_epi64(sums,
                                    _mm256_sad_epu8(bits_of_bytes(both), _mm256_setzero_si256()));
        }
        const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sums),
                                           _mm256_extracti128_si256(sums, 1));
        body(static_cast<std::uint32_t>(_mm_cvtsi128_si64(half)) +
             static_cast<std::uint32_t>(_mm_extract_epi64(half, 1)));
    }
}

// Half a register beyond the last full one is read as zeros.
__attribute__((target("avx512f"))) inline __m512i load_words(const std::uint64_t* from,
                                                             std::size_t left) {
    return _mm512_maskz_loadu_epi64(left >= 8 ? 0xff : 0x0f, from);
}

template <class Body>
__attribute__((target("avx512f,avx512bw"))) void overlaps_avx512(const std::uint64_t* code,
                                                                 std::size_t n, std::size_t words,
                                                                 const std::uint64_t* query,
                                                                 Body&& body) {
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i low = _mm512_set1_epi8(15);
    for (std::size_t i = 0; i < n; ++i, code += words) {
        __m512i sums = _mm512_setzero_si512();
        for (std::size_t w = 0; w < words; w += 8) {
            const __m512i both = _mm512_and_si512(load_words(code + w, words - w),
                                                  load_words(query + w, words - w));
            const __m512i bits = _mm512_add_epi8(
                _mm512_shuffle_epi8(table, _mm512_and_si512(both, low)),
                _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(both, 4), low)));
            sums = _mm512_add_epi64(sums, _mm512_sad_epu8(bits, _mm512_setzero_si512()));
        }
        body(static_cast<std::uint32_t>(_mm512_reduce_add_epi64(sums)));
    }
}

template <class Body>
__attribute__((target("avx512f,avx512bw,avx512vpopcntdq"))) void overlaps_vpopcnt(
    const std::uint64_t* code, std::size_t n, std::size_t words, const std::uint64_t* query,
    Body&& body) {
    for (std::size_t i = 0; i < n; ++i, code += words) {
        __m512i sums = _mm512_setzero_si512();
        for (std::size_t w = 0; w < words; w += 8)
            sums = _mm512_add_epi64(
                sums, _mm512_popcnt_epi64(_mm512_and_si512(load_words(code + w, words - w),
                                                           load_words(query + w, words - w))));
        body(static_cast<std::uint32_t>(_mm512_reduce_add_epi64(sums)));
    }
}

inline bool has_vpopcnt() {
    static const bool has = __builtin_cpu_supports("avx512vpopcntdq");
    return has;
}
#endif

template <class Body>
void overlaps(const std::uint64_t* code, std::size_t n, std::size_t words,
              const std::uint64_t* query, Body&& body) {
#ifdef SPARSERET_X86
    switch (active_isa()) {
        case Isa::avx512:
            if (has_vpopcnt()) return overlaps_vpopcnt(code, n, words, query, body);
            return overlaps_avx512(code, n, words, query, body);
        case Isa::avx2: return overlaps_avx2(code, n, words, query, body);
        case Isa::scalar: break;
    }
#endif
    overlaps_scalar(code, n, words, query, body);
}

class SdrBits {
  public:
    // `words` holds n_docs * sdr_words(n_cells) of them.
    SdrBits(std::size_t n_docs, std::size_t n_cells, const std::uint64_t* words)
        : n_docs_(n_docs), n_cells_(n_cells), n_words_(sdr_words(n_cells)), words_(words) {}

    std::size_t n_docs() const { return n_docs_; }

    // The best k of each of the rows first..end-1, whose columns lie in 0..n_cells-1.
    void search(const SdrRows& queries, std::size_t first, std::size_t end, std::size_t k,
                std::uint32_t least, std::vector<Match>* found) const {
        std::vector<std::uint64_t> query(n_words_);
        for (std::size_t q = first; q < end; ++q) {
            const std::size_t most = queries.active(q);
            TopOverlaps top(k, least, static_cast<std::uint32_t>(most));
            if (most >= least) {
                std::fill(query.begin(), query.end(), 0);
                pack_sdr(queries.begin(q), most, query.data());
                std::uint32_t row = 0;
                overlaps(words_, n_docs_, n_words_, query.data(), [&](std::uint32_t overlap) {
                    if (overlap >= top.bound()) top.offer(row, overlap);
                    ++row;
                });
            }
            found[q] = top.finish();
        }
    }

  private:
    std::size_t n_docs_, n_cells_, n_words_;
    const std::uint64_t* words_;
};

}  // namespace sparseret
