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
// answers "not in the query" for nearly every rank of a document without leaving the L1 cache.
class QueryMap {
  public:
    QueryMap() : bits_(kSlots / 32, 0), weights_(kSlots, 0.0f) {}

    // Ranks are distinct.
    void add(std::uint32_t rank, float weight) {
        const std::uint32_t slot = rank & (kSlots - 1);
        ambiguous_ |= bits_[slot >> 5] >> (slot & 31) & 1;
        bits_[slot >> 5] |= 1u << (slot & 31);
        weights_[slot] = weight;
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
        ambiguous_ = 0;
    }

    bool empty() const { return entries_.empty(); }
    const std::uint32_t* bits() const { return bits_.data(); }

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
// The same for ranks of 16 bits: what matches is gathered first, without a branch, then summed.
template <class Values>
__attribute__((target("avx512f,avx512bw,avx512vl"))) bool row_score_avx512(
    const QueryMap& query, const std::uint16_t* ranks, std::size_t begin, std::size_t end,
    const Values& values, float& score) {
    constexpr std::size_t kChunk = 256;
    alignas(64) std::uint32_t found_rank[kChunk + 16], found_at[kChunk + 16];
    const std::uint32_t* bits = query.bits();
    const __m512i lane_numbers =
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i low = _mm512_set1_epi32(31), one = _mm512_set1_epi32(1);
    float sum = 0.0f;
    bool any = false;
    for (std::size_t chunk = begin; chunk < end; chunk += kChunk) {
        const std::size_t stop = std::min(chunk + kChunk, end);
        std::size_t found = 0;
        for (std::size_t i = chunk; i < stop; i += 16) {
            const std::size_t left = stop - i;
            const auto lanes = static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
            const __m512i rank = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, ranks + i));
            const __m512i word = _mm512_mask_i32gather_epi32(
                _mm512_setzero_si512(), lanes, _mm512_srli_epi32(rank, 5), bits, 4);
            const __m512i bit = _mm512_sllv_epi32(one, _mm512_and_epi32(rank, low));
            const __mmask16 hits = _mm512_test_epi32_mask(word, bit);
            const __m512i at =
                _mm512_add_epi32(lane_numbers, _mm512_set1_epi32(static_cast<int>(i - chunk)));
            _mm512_storeu_si512(found_rank + found, _mm512_maskz_compress_epi32(hits, rank));
            _mm512_storeu_si512(found_at + found, _mm512_maskz_compress_epi32(hits, at));
            found += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(hits)));
        }
        for (std::size_t f = 0; f < found; ++f)
            sum += query.narrow(found_rank[f]) * values[chunk + found_at[f]];
        any |= found != 0;
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
