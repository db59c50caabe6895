// Scores single documents exactly, from their stored rows.
//
// The sum runs over the query's columns in ascending order, in float32 without fused operations:
// products that are absent are skipped, which changes nothing, so the result is that of
// search.hpp and of scipy's CSR product, bit for bit.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "impact.hpp"
#include "scan.hpp"

namespace sparseret {

// GCC drops loops that only prefetch by builtin; an asm statement stays.
inline void prefetch(const void* p) {
#ifdef SPARSERET_X86
    asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
#else
    __builtin_prefetch(p);
#endif
}

// The query's weights by rank in one segment. A bitmap over the low 16 bits of the rank (8 KB)
// answers "not in the query" for nearly every rank of a document without leaving the L1 cache; a
// filter over the low 10 bits, which vector registers hold, answers it for most.
class QueryMap {
  public:
    QueryMap() : bits_(kSlots / 32, 0), weights_(kSlots, 0.0f) {}

    // Ranks are distinct.
    void add(std::uint32_t rank, float weight) {
        const std::uint32_t slot = rank & (kSlots - 1);
        ambiguous_ |= bits_[slot >> 5] >> (slot & 31) & 1;
        bits_[slot >> 5] |= 1u << (slot & 31);
        weights_[slot] = weight;
        filter_[rank & 63] |= static_cast<std::uint16_t>(1u << (rank >> 6 & 15));
        entries_.push_back({rank, weight});
    }

    // After the last add().
    void finish() {
        if (ambiguous_ || (!entries_.empty() && entries_.back().rank >= kSlots))
            std::sort(entries_.begin(), entries_.end(),
                      [](const Entry& a, const Entry& b) { return a.rank < b.rank; });
    }

    void clear() {
        for (const Entry& entry : entries_) bits_[(entry.rank & (kSlots - 1)) >> 5] = 0;
        entries_.clear();
        std::fill(std::begin(filter_), std::end(filter_), std::uint16_t{0});
        ambiguous_ = 0;
    }

    bool empty() const { return entries_.empty(); }

    // Bit (rank >> 6) & 15 of word rank & 63 is set for every rank of the query.
    const std::uint16_t* filter() const { return filter_; }

    bool may_hold(std::uint32_t rank) const {
        const std::uint32_t slot = rank & (kSlots - 1);
        return bits_[slot >> 5] >> (slot & 31) & 1;
    }

    // Weight of a rank of 16 bits whose bit is set.
    float narrow(std::uint32_t rank) const { return weights_[rank]; }

    // For a rank of 32 bits whose bit is set: its weight, if it is in the query.
    bool wide(std::uint32_t rank, float& weight) const {
        const auto at = std::lower_bound(
            entries_.begin(), entries_.end(), rank,
            [](const Entry& entry, std::uint32_t wanted) { return entry.rank < wanted; });
        if (at == entries_.end() || at->rank != rank) return false;
        weight = at->weight;
        return true;
    }

  private:
    static constexpr std::uint32_t kSlots = 65536;
    struct Entry {
        std::uint32_t rank;
        float weight;
    };
    std::vector<std::uint32_t> bits_;
    std::vector<float> weights_;
    std::vector<Entry> entries_;
    alignas(64) std::uint16_t filter_[64] = {};
    std::uint32_t ambiguous_ = 0;
};

// Score of a row; false where it shares no column with the query.
template <class Rank, class Values>
bool row_score(const QueryMap& query, const Rank* ranks, std::size_t begin, std::size_t end,
               const Values& values, float& score) {
    float sum = 0.0f;
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) {
        const std::uint32_t rank = ranks[i];
        if (!query.may_hold(rank)) continue;
        float weight;
        if constexpr (sizeof(Rank) == 2)
            weight = query.narrow(rank);
        else if (!query.wide(rank, weight))
            continue;
        sum += weight * values[i];
        any = true;
    }
    score = sum;
    return any;
}

#ifdef SPARSERET_X86
// The same for ranks of 16 bits: the filter picks what may match, 32 ranks at a time and without a
// branch (gathering from the bitmap takes three times as long), then that is looked up and summed.
template <class Values>
__attribute__((target("avx512f,avx512bw"))) bool row_score_avx512(
    const QueryMap& query, const std::uint16_t* ranks, std::size_t begin, std::size_t end,
    const Values& values, float& score) {
    constexpr std::size_t kChunk = 256;
    std::uint32_t found[kChunk + 16];
    const __m512i low_words = _mm512_load_si512(query.filter());
    const __m512i high_words = _mm512_load_si512(query.filter() + 32);
    const __m512i lane_numbers =
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i four_bits = _mm512_set1_epi16(15), one = _mm512_set1_epi16(1);
    float sum = 0.0f;
    bool any = false;
    for (std::size_t chunk = begin; chunk < end; chunk += kChunk) {
        const std::size_t stop = std::min(chunk + kChunk, end);
        std::size_t n = 0;
        for (std::size_t i = chunk; i < stop; i += 32) {
            const std::size_t left = stop - i;
            const auto lanes = static_cast<__mmask32>(left >= 32 ? 0xffffffffu : (1u << left) - 1);
            const __m512i rank = _mm512_maskz_loadu_epi16(lanes, ranks + i);
            const __m512i word = _mm512_permutex2var_epi16(low_words, rank, high_words);
            const __m512i bit =
                _mm512_sllv_epi16(one, _mm512_and_si512(_mm512_srli_epi16(rank, 6), four_bits));
            const __mmask32 hits = _mm512_mask_test_epi16_mask(lanes, word, bit);
            const auto low = static_cast<__mmask16>(hits), high = static_cast<__mmask16>(hits >> 16);
            const __m512i at = _mm512_add_epi32(lane_numbers, _mm512_set1_epi32(static_cast<int>(i - chunk)));
            _mm512_storeu_si512(found + n, _mm512_maskz_compress_epi32(low, at));
            n += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(low)));
            _mm512_storeu_si512(
                found + n, _mm512_maskz_compress_epi32(high, _mm512_add_epi32(at, _mm512_set1_epi32(16))));
            n += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(high)));
        }
        for (std::size_t f = 0; f < n; ++f) {
            const std::size_t i = chunk + found[f];
            const bool holds = query.may_hold(ranks[i]);
            const float product = query.narrow(ranks[i]) * values[i];
            sum += holds ? product : -0.0f;  // which adds nothing, and is no branch
            any |= holds;
        }
    }
    score = sum;
    return any;
}
#endif

// The rows of a segment.
template <class Rank, class Values>
class ImpactRows {
  public:
    ImpactRows(const ImpactView& segment, const Values& values)
        : segment_(segment),
          ranks_(static_cast<const Rank*>(segment.row_ranks)),
          values_(values) {}

    void prefetch_place(std::size_t doc) const { prefetch(segment_.row_ptr + doc); }

    void prefetch_row(std::size_t doc) const {
        const Range row = range(doc);
        for (std::size_t i = row.begin; i < row.end; i += 64 / sizeof(Rank)) prefetch(ranks_ + i);
        for (std::size_t i = row.begin; i < row.end; i += 64 / Values::kBytes)
            prefetch(values_.at(i));
    }

    // Score of a document; false where it shares no column with the query.
    bool score(const QueryMap& query, std::size_t doc, float& out) const {
        const Range row = range(doc);
#ifdef SPARSERET_X86
        if constexpr (sizeof(Rank) == 2)
            if (active_isa() == Isa::avx512)
                return row_score_avx512(query, ranks_, row.begin, row.end, values_, out);
#endif
        return row_score(query, ranks_, row.begin, row.end, values_, out);
    }

  private:
    struct Range {
        std::size_t begin, end;
    };
    Range range(std::size_t doc) const {  // offsets come from a file and are not trusted
        const std::int64_t begin = segment_.row_ptr[doc], end = segment_.row_ptr[doc + 1];
        if (begin < 0 || begin > end || end > static_cast<std::int64_t>(segment_.n_postings))
            throw CorruptSegment("row_ptr is out of range");
        return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
    }

    const ImpactView& segment_;
    const Rank* ranks_;
    Values values_;
};

}  // namespace sparseret
