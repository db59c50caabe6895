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
// factor >= q * m / 255 / unit * 2^kShift, so q * w <= credit * unit. Postings that were not read
// have codes below the level at which their list was cut; `missed` is the sum over the lists of
// q * m / 255 * (level - 1), so it bounds what a document lacks for them. Summed over terms, in
// real numbers, score <= acc * unit + missed. The float32 score differs from the real one by a
// factor of at most (1 + 2^-24)^(n + 1) for n terms (each product and each sum rounds once, all
// terms are positive), which is below inflation = 1 + (n + 2) * 1.2e-7.
//
// No overflow: a term's credit is at most q * m / unit * (1 + 1e-9) + 2 units (factor and credit
// round up once each, and factor <= 257 * 2^kShift), so the sum is at most
// total / unit * (1 + 1e-9) + 2 n, which the choice of unit keeps below 65536.
inline constexpr unsigned kShift = 14;

inline std::uint16_t credit(std::uint32_t factor, std::uint8_t code) {
    return static_cast<std::uint16_t>((factor * code + (1u << kShift) - 1) >> kShift);
}

struct ImpactTerm {
    std::uint32_t rank;       // of the column in the segment
    std::uint32_t list, end;  // lists not visited yet
    std::uint32_t factor;     // see credit()
    double code_weight;       // bound of the contribution of a code of 1
    std::uint32_t cut = kReadAll;
    double missed = 0.0;      // what a document can lack when lists are cut there
};

struct OpenList {
    std::uint32_t term;
    ImpactList list;
    std::uint32_t done, wanted;  // blocks read, blocks to be read
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
            segment.list_range(rank, term.list, term.end);
            map.add(term.rank, query.values[t]);
            if (term.list == term.end) continue;
            prefetch(segment.lists + term.list);
            term.code_weight =
                static_cast<double>(query.values[t]) * segment.column_max[rank] / 255.0;
            total += term.code_weight * 255.0;
            terms.push_back(term);
        }
        map.finish();
        bounded_ = positive && terms.size() <= kMaxTerms && total > 0.0 && std::isfinite(total);
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

    // The first window from `least` on that holds a term of the query; forgets lists before it.
    std::uint32_t next_window(const ImpactView& segment, std::uint32_t least) {
        std::uint32_t window = kNoWindow;
        for (ImpactTerm& term : terms) {
            while (term.list != term.end && segment.lists[term.list].window() < least) ++term.list;
            if (term.list != term.end)
                window = std::min(window, segment.lists[term.list].window());
        }
        return window;
    }

    // Hints that the lists of a window are needed next.
    void prefetch_window(const ImpactView& segment, std::uint32_t window) const {
        for (const ImpactTerm& term : terms) {
            if (term.list == term.end) continue;
            const ImpactList& list = segment.lists[term.list];
            if (list.window() != window) continue;
            prefetch(segment.codes + list.codes);
            prefetch(segment.docs + list.begin);
            prefetch(segment.lists + term.list + 1);
        }
    }

    // Moves the lists of a window into `open`, nothing of them read.
    void open_window(const ImpactView& segment, std::uint32_t window) {
        open.clear();
        for (std::uint32_t t = 0; t < terms.size(); ++t) {
            ImpactTerm& term = terms[t];
            if (term.list == term.end) continue;
            const ImpactList& list = segment.lists[term.list];
            if (list.window() != window) continue;
            segment.check(list);
            open.push_back({t, list, 0, 0});
            ++term.list;
        }
    }

    // Chooses for each term where its lists are cut, from the lists of the open window, so that
    // no document lacks more than `allowance`.
    void plan(const ImpactView& segment, double allowance) {
        planner_.reset(open.size());
        for (ImpactTerm& term : terms) {
            term.cut = kReadAll;
            term.missed = 0.0;
        }
        for (std::size_t l = 0; l < open.size(); ++l) {
            const auto weight = static_cast<float>(terms[open[l].term].code_weight);
            planner_.missed(l, 0) = weight * 255.0f;
            for (std::size_t level = 0; level < kLevels.size(); ++level) {
                planner_.missed(l, level + 1) = weight * static_cast<float>(kLevels[level] - 1);
                planner_.cost(l, level + 1) =
                    kListCost + static_cast<float>(segment.blocks_at(open[l].list, level));
            }
            planner_.cost(l, kReadAll) = kListCost + static_cast<float>(open[l].list.n_blocks());
        }
        planner_.solve(static_cast<float>(allowance));
        for (std::size_t l = 0; l < open.size(); ++l) {
            ImpactTerm& term = terms[open[l].term];
            term.cut = planner_.cut(l);
            const int left = term.cut == kReadAll ? 0
                             : term.cut == 0      ? 255
                                                  : kLevels[term.cut - 1] - 1;
            term.missed = term.code_weight * left;
        }
    }

    // Applies the cuts of the plan to the open lists; what was read of a list stays read.
    void apply_plan(const ImpactView& segment) {
        missed = 0.0;
        for (OpenList& list : open) {
            const ImpactTerm& term = terms[list.term];
            missed += term.missed;
            list.wanted = std::max(
                list.done, term.cut == 0 ? 0 : segment.blocks_at(list.list, term.cut - 1));
        }
        missed *= 1.0 + 1e-9;
    }

    void want_all() {
        missed = 0.0;
        for (OpenList& list : open) list.wanted = list.list.n_blocks();
    }

    // Adds the credits of all blocks wanted and not read yet; returns how many postings that was.
    std::uint64_t scatter(const ImpactView& segment, std::uint16_t* acc) {
        std::uint64_t read = 0;
        if (!open.empty()) prefetch_docs(segment, open[0]);
        for (std::size_t l = 0; l < open.size(); ++l) {
            if (l + 1 < open.size()) prefetch_docs(segment, open[l + 1]);
            OpenList& list = open[l];
            if (list.done >= list.wanted) continue;
            const std::uint32_t factor = terms[list.term].factor;
            const std::uint32_t size = list.list.size();
            const std::uint16_t* docs = segment.docs + list.list.begin;
            const std::uint8_t* codes = segment.block_codes(list.list);
            const std::uint32_t whole =
                std::min<std::uint32_t>(list.wanted, size / static_cast<std::uint32_t>(kBlock));
            std::uint32_t b = list.done;
            for (; b < whole; ++b) {
                const std::uint16_t units = credit(factor, codes[b]);
                const std::uint16_t* doc = docs + b * kBlock;
                for (std::size_t i = 0; i < kBlock; ++i)
                    acc[doc[i]] = static_cast<std::uint16_t>(acc[doc[i]] + units);
            }
            if (b < list.wanted) {
                const std::uint16_t units = credit(factor, codes[b]);
                for (std::uint32_t p = b * kBlock; p < size; ++p)
                    acc[docs[p]] = static_cast<std::uint16_t>(acc[docs[p]] + units);
            }
            read += (list.wanted - list.done) * kBlock;
            list.done = list.wanted;
        }
        return read;
    }

    // The lowest accumulator with which a document can still reach a score.
    std::uint16_t units_for(float score) const {
        if (!(score > 0.0f)) return 1;
        const double least = (score / inflation - missed) / unit;
        return static_cast<std::uint16_t>(std::clamp(std::floor(least), 1.0, 65535.0));
    }

  private:
    static constexpr float kListCost = 3.0f;  // starting a list costs as much as this many blocks

    void prefetch_docs(const ImpactView& segment, const OpenList& list) const {
        if (list.done >= list.wanted) return;
        const std::uint16_t* from = segment.docs + list.list.begin + list.done * kBlock;
        const std::size_t n = std::min<std::size_t>((list.wanted - list.done) * kBlock, 384);
        for (std::size_t i = 0; i < n; i += 32) prefetch(from + i);
    }

    CutPlanner planner_;
    bool bounded_ = false;
};

}  // namespace sparseret
