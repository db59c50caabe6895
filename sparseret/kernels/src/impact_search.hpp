// Top-k over impact-ordered lists: exact with a certificate, or approximate with less work.
//
// Lists say which documents may be worth it, rows decide: a document that is returned has always
// been scored from its row (rescore.hpp).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "impact_query.hpp"
#include "impact_target.hpp"
#include "scan16.hpp"
#include "topk.hpp"

namespace sparseret {

class ImpactSearcher {
  public:
    ImpactSearcher(const QueryView& query, std::size_t k, Effort effort)
        : query_(query), k_(k), effort_(effort), top_(k), kept_(scratch()) {
        positive_ = std::all_of(query.values, query.values + query.size,
                                [](float value) { return value > 0.0f; });
    }

    void run(const ImpactTarget& target) {
        const ImpactView& segment = *target.segment;
        switch (segment.kind) {
            case ValueKind::plain: return with_values(target, PlainValues(segment.row_values));
            case ValueKind::code8:
                return with_values(target, CodedValues<std::uint8_t>(segment.row_values, segment.table,
                                                                      segment.table_size));
            case ValueKind::code16:
                return with_values(target, CodedValues<std::uint16_t>(segment.row_values, segment.table,
                                                                      segment.table_size));
            case ValueKind::code32:
                return with_values(target, CodedValues<std::uint32_t>(segment.row_values, segment.table,
                                                                      segment.table_size));
        }
    }

    std::vector<Hit> finish() { return top_.finish(); }
    const Work& work() const { return work_; }

  private:
    // A document that may be worth its row. The key is a bound of its score (exact search), or its
    // units, which are whole numbers that a float holds (approximate search).
    struct Candidate {
        float key;
        std::uint32_t doc;  // in the segment
    };
    struct Scratch {
        ImpactQuery query;
        std::vector<Candidate> candidates;
        std::vector<std::uint32_t> scored;  // documents of the segment, as they were scored
        ImpactAccumulators accumulators;
    };
    static Scratch& scratch() {
        static thread_local Scratch kept;
        return kept;
    }

    template <class Values>
    void with_values(const ImpactTarget& target, const Values& values) {
        const ImpactView& segment = *target.segment;
        if (segment.wide_ranks)
            visit(target, ImpactRows<std::uint32_t, Values>(segment, values));
        else
            visit(target, ImpactRows<std::uint16_t, Values>(segment, values));
    }

    template <class Rows>
    void visit(const ImpactTarget& target, const Rows& rows) {
        ImpactQuery& query = kept_.query;
        query.begin(*target.segment, query_, positive_);
        if (query.map.empty() || target.begin >= target.end) return;
        if (!query.bounded() || few_documents(target)) return score_all(target, rows);
        try {
            if (effort_.exact())
                visit_exact(target, rows);
            else
                visit_approximate(target, rows);
        } catch (...) {  // leave the accumulators clean for the next search
            kept_.accumulators.clear();
            throw;
        }
    }

    // --- exact ---------------------------------------------------------------------------------

    // Every document whose bound reaches a floor becomes a candidate; candidates are scored best
    // first, until the k-th best score so far (theta) exceeds the bounds of all that are left.
    // What was dropped is below the floor, so the result is exact if the floor is at most theta.
    // A floor estimated from the first window may turn out too high: then a second pass, whose
    // floor is theta, brings what is missing.
    template <class Rows>
    void visit_exact(const ImpactTarget& target, const Rows& rows) {
        kept_.scored.clear();
        const bool known = top_.threshold() > 0.0f;  // from the segments before
        float floor = top_.threshold();
        exact_pass(target, rows, floor, !known);
        if (floor > 0.0f && !(top_.threshold() >= floor)) {
            floor = top_.threshold();
            exact_pass(target, rows, floor, false);
        }
    }

    // `floor` rises where an estimate or a better theta allows it.
    template <class Rows>
    void exact_pass(const ImpactTarget& target, const Rows& rows, float& floor, bool estimated) {
        // The more hits, the more rows it takes, and the less lists may leave to them.
        const double cut_of_floor =
            0.25 / (1.0 + 0.6 * std::log10(std::max(static_cast<double>(k_), 10.0) / 10.0));
        constexpr float kReplan = 1.05f;
        ImpactQuery& query = kept_.query;
        std::uint16_t* acc = kept_.accumulators.window(std::size_t{1} << target.segment->window_bits);
        auto& candidates = kept_.candidates;
        candidates.clear();
        // Documents that were scored already must not come back.
        std::vector<std::uint32_t> skip(kept_.scored);
        std::sort(skip.begin(), skip.end());
        auto skipped = skip.cbegin();
        float planned_for = 0.0f;
        std::size_t limit = 8 * k_ + 4096;
        for_each_window(target, [&](std::size_t first, std::size_t n) {
            if (estimated) {
                estimated = false;
                floor = estimate(target, rows, acc, first, n);
                skip = kept_.scored;
                std::sort(skip.begin(), skip.end());
                skipped = skip.cbegin();
            }
            if (floor > 0.0f) {
                if (floor > kReplan * planned_for) {
                    planned_for = floor;
                    query.plan(static_cast<double>(floor) * cut_of_floor);
                }
                query.apply_plan();
                // Documents of which nothing is read are no candidates. The plan was made for
                // another window: should they reach the floor in this one, it is read whole.
                if (query.bound(0) >= floor) query.want_all();
            } else {
                query.want_all();
            }
            work_.postings += query.scatter(acc);
            for (; skipped != skip.cend() && *skipped < first + n; ++skipped)
                acc[*skipped - first] = 0;
            scan16<false>(acc, n, query.units_for(floor), offer(target, first, [&](std::uint16_t units) {
                // Rounded up.
                return static_cast<float>(query.bound(units) * (1.0 + 1.2e-7));
            }));
            if (candidates.size() > limit) {
                floor = std::max(floor, thin_out(target, rows));
                limit = std::max(limit, 2 * candidates.size());
            }
        });
        score_best_first(target, rows);
    }

    // A score that about k documents reach, from the share of them that the first window should
    // have if it is like the others; 0 where it has not enough.
    template <class Rows>
    float estimate(const ImpactTarget& target, const Rows& rows, std::uint16_t* acc,
                   std::size_t first, std::size_t n) {
        constexpr double kCut = 0.05;
        ImpactQuery& query = kept_.query;
        const double share = target.share(first, n);
        const double expected = share * static_cast<double>(k_);
        // Two standard deviations to the safe side, so that a second pass is rare.
        const double rank = expected + 2.0 * std::sqrt(expected * (1.0 - share)) + 2.0 * (1.0 - share);
        const auto wanted = std::min(k_, static_cast<std::size_t>(std::ceil(rank)));
        const std::size_t scored = wanted + wanted / 2 + 8;
        const double looked_at = static_cast<double>(scored) / target.eligible(first, n);
        if (4.0 * looked_at > static_cast<double>(n)) return 0.0f;
        query.plan(query.total * kCut);
        query.apply_plan();
        work_.postings += query.scatter(acc);
        const std::uint16_t units = units_of_best(acc, n, static_cast<std::size_t>(looked_at));
        scan16<true>(acc, n, units, offer(target, first, [](std::uint16_t u) { return u; }));
        auto& candidates = kept_.candidates;
        const bool ties = candidates.size() > 4 * scored;  // nothing stands out
        HeapTopK best(wanted);
        if (!ties)
            score(target, rows, candidates, [](float) { return true; },
                  [&](std::size_t doc, float score) {
                      best.push(score, static_cast<std::int64_t>(doc));
                      kept_.scored.push_back(static_cast<std::uint32_t>(doc));
                  });
        candidates.clear();
        return std::max(best.threshold(), 0.0f);
    }

    // Scores the best candidates so far, and drops those that cannot be hits any more; returns
    // theta.
    template <class Rows>
    float thin_out(const ImpactTarget& target, const Rows& rows) {
        auto& candidates = kept_.candidates;
        const std::size_t n = std::min(k_, candidates.size());
        const auto nth = candidates.begin() + static_cast<std::ptrdiff_t>(n);
        std::nth_element(candidates.begin(), nth - 1, candidates.end(), before);
        std::sort(candidates.begin(), nth, before);
        score_exact(target, rows, {candidates.data(), n});
        const float theta = top_.threshold();
        candidates.erase(candidates.begin(), nth);
        std::erase_if(candidates, [theta](const Candidate& c) { return c.key < theta; });
        return theta;
    }

    template <class Rows>
    void score_best_first(const ImpactTarget& target, const Rows& rows) {
        auto& candidates = kept_.candidates;
        if (candidates.size() > k_ + k_ / 2 + 16) thin_out(target, rows);
        std::sort(candidates.begin(), candidates.end(), before);
        score_exact(target, rows, candidates);
    }

    template <class Rows>
    void score_exact(const ImpactTarget& target, const Rows& rows,
                     std::span<const Candidate> candidates) {
        score(target, rows, candidates, [this](float key) { return key >= top_.threshold(); },
              [this](std::size_t doc, float) {
                  kept_.scored.push_back(static_cast<std::uint32_t>(doc));
              });
    }

    // --- approximate ---------------------------------------------------------------------------

    // Lists are cut at a share of the largest score there could be; the documents with the
    // highest bounds are scored, as many as the effort says. Bounds of different segments are in
    // different units, so each segment picks its own.
    template <class Rows>
    void visit_approximate(const ImpactTarget& target, const Rows& rows) {
        ImpactQuery& query = kept_.query;
        std::uint16_t* acc = kept_.accumulators.window(std::size_t{1} << target.segment->window_bits);
        auto& candidates = kept_.candidates;
        candidates.clear();
        std::uint16_t floor = 0;
        double missed = 0.0;
        for_each_window(target, [&](std::size_t first, std::size_t n) {
            if (!floor) query.plan(query.total * effort_.cut);
            query.apply_plan();
            missed = std::max(missed, query.missed);
            work_.postings += query.scatter(acc);
            if (!floor) floor = first_floor(target, acc, first, n);
            scan16<false>(acc, n, floor, offer(target, first, [](std::uint16_t u) { return u; }));
            if (candidates.size() > 2 * effort_.candidates) floor = keep_best(effort_.candidates);
        });
        if (candidates.size() > effort_.candidates) keep_best(effort_.candidates);
        std::sort(candidates.begin(), candidates.end(), before);
        query.missed = missed;
        score(target, rows, candidates,
              [&, theta = -1.0f, floor = 0.0f](float key) mutable {
                  if (theta != top_.threshold()) {
                      theta = top_.threshold();
                      floor = query.units_for(theta);
                  }
                  return key >= floor;
              },
              [](std::size_t, float) {});
    }

    // A floor from the first window, for about twice its share of the candidates; if a part of the
    // documents is allowed, so many more of them have to be looked at.
    std::uint16_t first_floor(const ImpactTarget& target, const std::uint16_t* acc,
                              std::size_t first, std::size_t n) const {
        const double share = 2.0 * target.share(first, n);
        const double wanted = std::min(1.0, share) * static_cast<double>(effort_.candidates) +
                              static_cast<double>(k_) * 0.5 + 8.0;
        const double scaled = wanted / target.eligible(first, n);
        if (scaled * 2.0 > static_cast<double>(n)) return 1;
        return units_of_best(acc, n, static_cast<std::size_t>(scaled));
    }

    // Keeps the n best candidates; returns the least units that another one needs.
    std::uint16_t keep_best(std::size_t n) {
        auto& candidates = kept_.candidates;
        const auto nth = candidates.begin() + static_cast<std::ptrdiff_t>(n - 1);
        std::nth_element(candidates.begin(), nth, candidates.end(), before);
        const auto least = static_cast<std::uint32_t>(nth->key);
        candidates.resize(n);
        return static_cast<std::uint16_t>(std::min(least + 1, 65535u));
    }

    // --- shared --------------------------------------------------------------------------------

    static bool before(const Candidate& a, const Candidate& b) {
        return a.key != b.key ? a.key > b.key : a.doc < b.doc;
    }

    // body(first document, number of documents) for each window of the range that holds a term.
    template <class Body>
    void for_each_window(const ImpactTarget& target, Body&& body) {
        const ImpactView& segment = *target.segment;
        ImpactQuery& query = kept_.query;
        const std::size_t size = std::size_t{1} << segment.window_bits;
        query.begin_windows(segment, static_cast<std::uint32_t>(target.begin >> segment.window_bits));
        for (;;) {
            const std::uint32_t window = query.open_window(segment);
            const std::size_t first = window * size;
            if (window == ImpactQuery::kNoWindow || first >= target.end) break;
            // Accumulators past the last document are read and cleared too: only an altered file
            // names such documents, and offer() leaves them out.
            body(first, size);
        }
    }

    // What a scan calls: keeps a document as a candidate, with the key of its units.
    template <class Key>
    auto offer(const ImpactTarget& target, std::size_t first, Key&& key) {
        return [this, &target, first, key](std::size_t i, std::uint16_t units) {
            const std::size_t doc = first + i;
            if (doc < target.begin || doc >= target.end) return;
            if (target.allowed && !(target.allowed[doc >> 6] >> (doc & 63) & 1)) return;
            kept_.candidates.push_back(
                {static_cast<float>(key(units)), static_cast<std::uint32_t>(doc)});
        };
    }

    // A number of units that about `wanted` documents of the window reach.
    static std::uint16_t units_of_best(const std::uint16_t* acc, std::size_t n,
                                       std::size_t wanted) {
        // Few enough documents hardly ever share a fold, and there are fewer folds to count.
        if (n % kFolds || n < 4 * kFolds || wanted > kFolds / 8) return bisect(acc, n, wanted);
        alignas(64) Folds most;
        fold16(acc, n, most);
        return bisect(most.data(), kFolds, wanted);
    }

    static std::uint16_t bisect(const std::uint16_t* acc, std::size_t n, std::size_t wanted) {
        std::uint32_t low = 1, high = 65536;
        while (high - low > 1) {
            const std::uint32_t middle = (low + high) / 2;
            const std::size_t count = count16(acc, n, static_cast<std::uint16_t>(middle));
            (count >= wanted ? low : high) = middle;
            if (count >= wanted && count <= wanted + wanted / 2) break;
        }
        return static_cast<std::uint16_t>(low);
    }

    // Scores candidates in order, those whose key is still `wanted`; also tells `scored` of each.
    template <class Rows, class Wanted, class Scored>
    void score(const ImpactTarget& target, const Rows& rows, std::span<const Candidate> candidates,
               Wanted&& wanted, Scored&& scored) {
        constexpr std::size_t kFar = 24, kNear = 10;  // documents ahead: where a row is, the row
        const std::size_t n = candidates.size();
        for (std::size_t c = 0; c < std::min(kFar, n); ++c) rows.prefetch_place(candidates[c].doc);
        for (std::size_t c = 0; c < std::min(kNear, n); ++c) rows.prefetch_row(candidates[c].doc);
        for (std::size_t c = 0; c < n; ++c) {
            if (!wanted(candidates[c].key)) break;  // keys descend
            if (c + kFar < n) rows.prefetch_place(candidates[c + kFar].doc);
            if (c + kNear < n) rows.prefetch_row(candidates[c + kNear].doc);
            score_row(target, rows, candidates[c].doc, scored, static_cast<std::uint32_t>(c));
        }
    }

    template <class Rows, class Scored>
    void score_row(const ImpactTarget& target, const Rows& rows, std::size_t doc, Scored&& scored,
                   std::uint32_t place = 0) {
        float score;
        ++work_.rows;
        if (rows.score(kept_.query.map, doc, score))
            top_.push(score, target.first_row + static_cast<std::int64_t>(doc), place);
        else
            score = 0.0f;
        scored(doc, score);
    }

    // Whether scoring every document that may be returned is less work than reading lists.
    bool few_documents(const ImpactTarget& target) const {
        constexpr std::uint64_t kPostingsPerRow = 400;
        const std::uint64_t rows = std::min(target.n_allowed, target.end - target.begin);
        if (rows * 16 > target.segment->n_docs) return false;
        const ImpactView& segment = *target.segment;
        const auto from = static_cast<std::uint32_t>(target.begin >> segment.window_bits);
        const auto to = static_cast<std::uint32_t>((target.end - 1) >> segment.window_bits);
        std::uint64_t postings = 0;
        for (const ImpactTerm& term : kept_.query.terms)
            for (std::uint32_t l = term.list; l < term.end; ++l) {
                const ImpactList& list = segment.lists[l];
                if (list.window() > to) break;
                if (list.window() < from) continue;
                postings += list.size();
                if (rows * kPostingsPerRow <= postings) return true;
            }
        return rows * kPostingsPerRow <= postings;
    }

    template <class Rows>
    void score_all(const ImpactTarget& target, const Rows& rows) {
        if (!target.allowed) {
            for (std::size_t doc = target.begin; doc < target.end; ++doc)
                score_row(target, rows, doc, [](std::size_t, float) {});
            return;
        }
        for (std::size_t word = target.begin >> 6; word <= (target.end - 1) >> 6; ++word) {
            for (std::uint64_t bits = target.allowed[word]; bits; bits &= bits - 1) {
                const std::size_t doc = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
                if (doc >= target.begin && doc < target.end) score_row(target, rows, doc, [](std::size_t, float) {});
            }
        }
    }

    QueryView query_;
    std::size_t k_;
    Effort effort_;
    bool positive_ = false;
    HeapTopK top_;
    Work work_;
    Scratch& kept_;
};

}  // namespace sparseret
