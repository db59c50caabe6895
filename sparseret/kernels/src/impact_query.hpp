// A query opened on one impact segment: its terms, their weights in integer units, their lists.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "impact.hpp"
#include "plan.hpp"
#include "rescore.hpp"
#include "search.hpp"

namespace sparseret {

// Scores are bounded in whole *units*, so that a document's bound is a 16-bit integer.
//
// Proof that  acc[d] * unit + missed  >=  score of d / inflation:
//
// Let a term have weight q > 0 and the column a largest weight m. A posting whose block has code c
// has a weight w <= c * m / 255 (impact.hpp), up to the rounding of one division in double, which
// the factor 1 + 1e-9 below outweighs. It is credited ceil(factor * c / 2^kShift) units with
// factor >= q * m / 255 / unit * 2^kShift, so q * w <= credit * unit. Codes descend within a list,
// so postings that were not read have at most the code of the first block left out; `missed` is
// the sum over the lists of q * m / 255 * that code, so it bounds what a document lacks for them
// (of each term, a document is in one list, once). Summed over terms, in
// real numbers, score <= acc * unit + missed. The float32 score differs from the real one by a
// factor of at most (1 + 2^-24)^(n + 1) for n terms (each product and each sum rounds once, all
// terms are positive), which is below inflation = 1 + (n + 2) * 1.2e-7.
//
// Products below 2^-126 round by up to 2^-150 each instead; no query of a total above kLeastTotal
// notices: a threshold that asks for more than one unit is above 2^-97 then, and its own rounding
// larger than that of kMaxTerms such products. Below kMostTotal no score overflows to infinity.
//
// No overflow: a term's credit is at most q * m / unit * (1 + 1e-9) + 2 units (factor and credit
// round up once each, and factor <= 257 * 2^kShift), so the sum is at most
// total / unit * (1 + 1e-9) + 2 n, which the choice of unit keeps below 65536.
inline constexpr unsigned kShift = 14;
inline constexpr double kLeastTotal = 0x1p-80, kMostTotal = 0x1p127;

inline std::uint16_t credit(std::uint32_t factor, std::uint8_t code) {
    return static_cast<std::uint16_t>((factor * code + (1u << kShift) - 1) >> kShift);
}

struct ImpactTerm {
    std::uint32_t rank;       // of the column in the segment
    std::uint32_t list, end;  // its lists
    std::uint32_t next;       // the first of them that is not ready yet
    std::uint32_t window;     // of that; kNoWindow where there is none
    std::uint32_t factor;     // see credit()
    double code_weight;       // bound of the contribution of a code of 1
    std::uint32_t cut = kReadAll;
};

struct OpenList {
    const std::uint16_t* docs;
    const std::uint16_t* levels;  // blocks of at least each level; null in short lists
    const std::uint8_t* codes;
    std::uint32_t term, size, n_blocks;
    std::uint32_t done, wanted;  // blocks read, blocks to be read

    // Blocks that a cut reads.
    std::uint32_t blocks_at(std::uint32_t cut) const {
        if (cut == 0) return 0;
        return cut == kReadAll ? n_blocks
                               : sparseret::blocks_at(levels, codes, n_blocks, cut - 1);
    }
};

// Kept by each thread from query to query.
class ImpactQuery {
  public:
    static constexpr std::size_t kMaxTerms = 16384;
    static constexpr std::uint32_t kNoWindow = 0xffffffffu;

    QueryMap map;
    std::vector<ImpactTerm> terms;
    std::vector<OpenList> open;
    double total = 0.0;      // no document can score more
    double unit = 1.0;
    double inflation = 1.0;
    double missed = 0.0;     // by the cuts of the open window

    // Opens the terms that the segment knows. `positive`: all weights are, so that bounds hold.
    void begin(const ImpactView& segment, const QueryView& query, bool positive) {
        terms.clear();
        map.clear();
        total = 0.0;
        for (std::size_t t = 0; t < query.size; ++t) {
            const std::size_t rank = segment.find(query.columns[t]);
            if (rank == segment.n_columns) continue;
            ImpactTerm term{};
            term.rank = static_cast<std::uint32_t>(rank);
            term.code_weight = static_cast<double>(query.values[t]);
            prefetch(segment.column_ptr + rank);
            prefetch(segment.column_max + rank);
            map.add(term.rank, query.values[t]);
            terms.push_back(term);
        }
        std::size_t kept = 0;
        for (ImpactTerm term : terms) {
            segment.list_range(term.rank, term.list, term.end);
            if (term.list == term.end) continue;
            prefetch(segment.lists + term.list);
            const float largest = segment.column_max[term.rank];
            if (!(largest >= 0.0f)) throw CorruptSegment("column_max is out of range");
            term.code_weight *= largest / 255.0;
            total += term.code_weight * 255.0;
            terms[kept++] = term;
        }
        terms.resize(kept);
        map.finish();
        bounded_ = positive && terms.size() <= kMaxTerms && total > kLeastTotal && total < kMostTotal;
        if (!bounded_) return;
        const auto n = static_cast<double>(terms.size());
        unit = total * (1.0 + 1e-6) / (65535.0 - 2.0 * n);
        inflation = 1.0 + 1.2e-7 * (n + 2.0);
        for (ImpactTerm& term : terms)
            term.factor = static_cast<std::uint32_t>(
                std::ceil(term.code_weight / unit * (1u << kShift) * (1.0 + 1e-9)));
    }

    // False where only whole rows can be scored: the bounds do not apply.
    bool bounded() const { return bounded_; }

    // Readies the lists of the first window from `least` on. May be called again.
    void begin_windows(const ImpactView& segment, std::uint32_t least) {
        next_window_ = kNoWindow;
        for (ImpactTerm& term : terms) {
            term.next = term.list;
            while (term.next != term.end && segment.lists[term.next].window() < least) ++term.next;
            term.window = term.next == term.end ? kNoWindow : segment.lists[term.next].window();
            next_window_ = std::min(next_window_, term.window);
        }
        ready_next(segment);
    }

    // Opens the lists that are ready, nothing of them read, and readies those of the window after,
    // so that their memory is on its way meanwhile. The window, or kNoWindow after the last.
    std::uint32_t open_window(const ImpactView& segment) {
        const std::uint32_t window = window_ahead_;
        std::swap(open, ahead_);
        ready_next(segment);
        return window;
    }

    // Chooses for each term where its lists are cut, from the lists of the open window, so that
    // no document lacks more than `allowance`.
    void plan(double allowance) {
        planner_.reset(open.size());
        for (ImpactTerm& term : terms) term.cut = kReadAll;
        for (std::size_t l = 0; l < open.size(); ++l) {
            const auto weight = static_cast<float>(terms[open[l].term].code_weight);
            const OpenList& list = open[l];
            planner_.missed(l, 0) = weight * list.codes[0];
            for (std::uint32_t cut = 1; cut <= kLevels.size(); ++cut) {
                planner_.missed(l, cut) = weight * static_cast<float>(kLevels[cut - 1] - 1);
                planner_.cost(l, cut) = kListCost + static_cast<float>(list.blocks_at(cut));
            }
            planner_.cost(l, kReadAll) = kListCost + static_cast<float>(list.n_blocks);
        }
        planner_.solve(static_cast<float>(allowance));
        for (std::size_t l = 0; l < open.size(); ++l) terms[open[l].term].cut = planner_.cut(l);
    }

    // Applies the cuts of the plan to the open lists; what was read of a list stays read.
    void apply_plan() {
        missed = 0.0;
        for (OpenList& list : open) {
            const ImpactTerm& term = terms[list.term];
            list.wanted = std::max(list.done, list.blocks_at(term.cut));
            if (list.wanted < list.n_blocks) missed += term.code_weight * list.codes[list.wanted];
            if (list.done < list.wanted) prefetch(list.docs + list.done * kBlock);
        }
        missed *= 1.0 + 1e-9;
    }

    void want_all() {
        missed = 0.0;
        for (OpenList& list : open) list.wanted = list.n_blocks;
    }

    // Adds the credits of all blocks wanted and not read yet; returns how many postings that was.
    std::uint64_t scatter(std::uint16_t* acc) {
        std::uint64_t read = 0;
        if (!open.empty()) prefetch_docs(open[0]);
        for (std::size_t l = 0; l < open.size(); ++l) {
            if (l + 1 < open.size()) prefetch_docs(open[l + 1]);
            OpenList& list = open[l];
            if (list.done >= list.wanted) continue;
            const std::uint32_t factor = terms[list.term].factor;
            const std::uint32_t whole =
                std::min<std::uint32_t>(list.wanted, list.size / static_cast<std::uint32_t>(kBlock));
            std::uint32_t b = list.done;
            for (; b < whole; ++b) {
                const std::uint16_t units = credit(factor, list.codes[b]);
                const std::uint16_t* doc = list.docs + b * kBlock;
                for (std::size_t i = 0; i < kBlock; ++i)
                    acc[doc[i]] = static_cast<std::uint16_t>(acc[doc[i]] + units);
            }
            if (b < list.wanted) {
                const std::uint16_t units = credit(factor, list.codes[b]);
                for (std::uint32_t p = b * kBlock; p < list.size; ++p)
                    acc[list.docs[p]] = static_cast<std::uint16_t>(acc[list.docs[p]] + units);
            }
            read += (list.wanted - list.done) * kBlock;
            list.done = list.wanted;
        }
        return read;
    }

    // What a document of the open window can score at most, with so many units.
    double bound(std::uint16_t units) const { return (units * unit + missed) * inflation; }

    // The lowest accumulator with which a document can still reach a score.
    std::uint16_t units_for(float score) const {
        if (!(score > 0.0f)) return 1;
        const double least = (score / inflation - missed) / unit;
        return static_cast<std::uint16_t>(std::clamp(std::floor(least), 1.0, 65535.0));
    }

  private:
    static constexpr float kListCost = 3.0f;  // starting a list costs as much as this many blocks

    void prefetch_docs(const OpenList& list) const {
        if (list.done >= list.wanted) return;
        const std::uint16_t* from = list.docs + list.done * kBlock;
        const std::size_t n = std::min<std::size_t>((list.wanted - list.done) * kBlock, 384);
        for (std::size_t i = 0; i < n; i += 32) prefetch(from + i);
    }

    void ready_next(const ImpactView& segment) {
        ahead_.clear();
        window_ahead_ = next_window_;
        if (window_ahead_ == kNoWindow) return;
        next_window_ = kNoWindow;
        for (std::uint32_t t = 0; t < terms.size(); ++t) {
            ImpactTerm& term = terms[t];
            if (term.window == window_ahead_) {
                const ImpactList& list = segment.lists[term.next];
                segment.check(list);
                const std::uint16_t* words = segment.words + list.begin;
                const std::uint16_t* codes = words + list.table_words();
                ahead_.push_back({codes + list.code_words(), codes == words ? nullptr : words,
                                  reinterpret_cast<const std::uint8_t*>(codes), t, list.size(),
                                  list.n_blocks(), 0, 0});
                prefetch(words);
                prefetch(words + 32);
                ++term.next;
                term.window =
                    term.next == term.end ? kNoWindow : segment.lists[term.next].window();
                if (term.window <= window_ahead_)  // only in an altered file
                    throw CorruptSegment("windows of a column do not ascend");
            }
            next_window_ = std::min(next_window_, term.window);
        }
    }

    std::vector<OpenList> ahead_;  // of the window after the open one
    std::uint32_t window_ahead_ = kNoWindow, next_window_ = kNoWindow;
    CutPlanner planner_;
    bool bounded_ = false;
};

}  // namespace sparseret
