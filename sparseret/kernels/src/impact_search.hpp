// Top-k over impact-ordered lists: exact with a certificate, or approximate with less work.
//
// Lists say which documents may be worth it, rows decide: a document that is returned has always
// been scored from its row (rescore.hpp).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "impact_query.hpp"
#include "scan16.hpp"
#include "topk.hpp"

namespace sparseret {

// How much work an approximate search does.
struct Effort {
    float cut;               // score a document may lack, as a share of the largest possible
    std::size_t candidates;  // documents scored from their rows; 0 for an exact search
    bool exact() const { return candidates == 0; }
};

struct ImpactTarget {
    const ImpactView* segment;
    const std::uint64_t* allowed;  // bit per document, or null for all
    std::size_t n_allowed;         // set bits
    std::size_t begin, end;        // documents of a range
    std::int64_t first_row;
};

// What a search did, for measuring and for choosing efforts.
struct Work {
    std::uint64_t postings = 0;
    std::uint64_t rows = 0;
};

// Accumulators that live as long as their thread: zero between searches.
class ImpactAccumulators {
  public:
    static constexpr std::size_t kSize = std::size_t{1} << kMaxImpactBits;
    ImpactAccumulators()
        : data_(static_cast<std::uint16_t*>(::operator new(kSize * 2, std::align_val_t{64}))) {
        clear();
    }
    ~ImpactAccumulators() { ::operator delete(data_, std::align_val_t{64}); }
    ImpactAccumulators(const ImpactAccumulators&) = delete;
    ImpactAccumulators& operator=(const ImpactAccumulators&) = delete;
    std::uint16_t* data() { return data_; }
    void clear() { std::fill_n(data_, kSize, std::uint16_t{0}); }

  private:
    std::uint16_t* data_;
};

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
    struct Candidate {
        std::uint32_t doc;  // in the segment
        std::uint16_t units;
    };
    struct Scratch {
        ImpactQuery query;
        std::vector<Candidate> candidates;
        std::vector<std::uint32_t> scored;
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

    // Window by window. With theta the k-th best score so far, lists are cut so that no document
    // can lack more than a share of theta, and every document whose bound reaches theta is scored.
    template <class Rows>
    void visit_exact(const ImpactTarget& target, const Rows& rows) {
        constexpr float kCutOfTheta = 0.12f;
        constexpr float kReplan = 1.05f;
        ImpactQuery& query = kept_.query;
        std::uint16_t* acc = kept_.accumulators.data();
        float planned_for = std::numeric_limits<float>::infinity();
        for_each_window(target, [&](std::size_t first, std::size_t n) {
            kept_.scored.clear();
            if (!(top_.threshold() > 0.0f)) warm_start(target, rows, acc, first, n);
            const float theta = top_.threshold();
            if (theta > 0.0f) {
                if (planned_for > theta || theta > kReplan * planned_for) {
                    planned_for = theta;
                    query.plan(*target.segment, static_cast<double>(theta) * kCutOfTheta);
                }
                query.apply_plan(*target.segment);
            } else {
                query.want_all();
            }
            work_.postings += query.scatter(*target.segment, acc);
            for (const std::uint32_t doc : kept_.scored) acc[doc - first] = 0;
            kept_.candidates.clear();
            scan16<false>(acc, n, query.units_for(top_.threshold()), offer(target, first));
            score_candidates(target, rows);
        });
    }

    // Scores the most promising documents of a window, for a first theta.
    template <class Rows>
    void warm_start(const ImpactTarget& target, const Rows& rows, std::uint16_t* acc,
                    std::size_t first, std::size_t n) {
        constexpr double kCut = 0.05;
        ImpactQuery& query = kept_.query;
        const std::size_t wanted = k_ + k_ / 2 + 8;
        if (4 * wanted > n) return;
        query.plan(*target.segment, query.total * kCut);
        query.apply_plan(*target.segment);
        work_.postings += query.scatter(*target.segment, acc);
        kept_.candidates.clear();
        const std::uint16_t units = units_of_best(acc, n, wanted);
        scan16<true>(acc, n, units, offer(target, first));
        if (kept_.candidates.size() > 4 * wanted) return;  // ties: nothing stands out
        for (const Candidate& candidate : kept_.candidates) kept_.scored.push_back(candidate.doc);
        score_candidates(target, rows);
    }

    // --- approximate ---------------------------------------------------------------------------

    // Lists are cut at a share of the largest score there could be; the documents with the
    // highest bounds are scored, as many as the effort says. Bounds of different segments are in
    // different units, so each segment picks its own.
    template <class Rows>
    void visit_approximate(const ImpactTarget& target, const Rows& rows) {
        ImpactQuery& query = kept_.query;
        std::uint16_t* acc = kept_.accumulators.data();
        auto& candidates = kept_.candidates;
        candidates.clear();
        std::uint16_t floor = 0;
        double missed = 0.0;
        for_each_window(target, [&](std::size_t first, std::size_t n) {
            if (!floor) query.plan(*target.segment, query.total * effort_.cut);
            query.apply_plan(*target.segment);
            missed = std::max(missed, query.missed);
            work_.postings += query.scatter(*target.segment, acc);
            if (!floor) floor = first_floor(target, acc, n);
            scan16<false>(acc, n, floor, offer(target, first));
            if (candidates.size() > 2 * effort_.candidates) floor = keep_best(effort_.candidates);
        });
        if (candidates.size() > effort_.candidates) keep_best(effort_.candidates);
        std::sort(candidates.begin(), candidates.end(), heavier);
        query.missed = missed;
        score_candidates(target, rows);
    }

    // A floor from the first window that leaves more candidates than needed: if a share of the
    // documents is allowed, so many more of them have to be looked at.
    std::uint16_t first_floor(const ImpactTarget& target, const std::uint16_t* acc,
                              std::size_t n) const {
        const std::size_t wanted = effort_.candidates / 4 + k_;
        const std::size_t documents = std::max<std::size_t>(target.n_allowed, 1);
        const double rarity = static_cast<double>(target.segment->n_docs) /
                              static_cast<double>(std::min(documents, target.segment->n_docs));
        const double scaled = static_cast<double>(wanted) * rarity;
        if (scaled * 2.0 > static_cast<double>(n)) return 1;
        return units_of_best(acc, n, static_cast<std::size_t>(scaled));
    }

    static bool heavier(const Candidate& a, const Candidate& b) {
        return a.units != b.units ? a.units > b.units : a.doc < b.doc;
    }

    // Keeps the n heaviest candidates; returns the least that another one needs.
    std::uint16_t keep_best(std::size_t n) {
        auto& candidates = kept_.candidates;
        const auto nth = candidates.begin() + static_cast<std::ptrdiff_t>(n - 1);
        std::nth_element(candidates.begin(), nth, candidates.end(), heavier);
        const std::uint16_t least = nth->units;
        candidates.resize(n);
        return least == 65535 ? least : static_cast<std::uint16_t>(least + 1);
    }

    // --- shared --------------------------------------------------------------------------------

    // body(first document, number of documents) for each window of the range that holds a term.
    template <class Body>
    void for_each_window(const ImpactTarget& target, Body&& body) {
        const ImpactView& segment = *target.segment;
        ImpactQuery& query = kept_.query;
        const std::size_t size = std::size_t{1} << segment.window_bits;
        const auto least = static_cast<std::uint32_t>(target.begin >> segment.window_bits);
        std::uint32_t window = query.next_window(segment, least);
        if (window != ImpactQuery::kNoWindow) query.prefetch_window(segment, window);
        while (window != ImpactQuery::kNoWindow) {
            const std::size_t first = window * size;
            if (first >= segment.n_docs) throw CorruptSegment("a window is out of range");
            if (first >= target.end) break;
            query.open_window(segment, window);
            const std::uint32_t following = query.next_window(segment, window + 1);
            if (following != ImpactQuery::kNoWindow) query.prefetch_window(segment, following);
            // Accumulators past the last document are read and cleared too: only an altered file
            // names such documents, and offer() leaves them out.
            body(first, size);
            window = following;
        }
    }

    auto offer(const ImpactTarget& target, std::size_t first) {
        return [this, &target, first](std::size_t i, std::uint16_t units) {
            const std::size_t doc = first + i;
            if (doc < target.begin || doc >= target.end) return;
            if (target.allowed && !(target.allowed[doc >> 6] >> (doc & 63) & 1)) return;
            kept_.candidates.push_back({static_cast<std::uint32_t>(doc), units});
        };
    }

    // A number of units that about `wanted` documents of the window reach.
    static std::uint16_t units_of_best(const std::uint16_t* acc, std::size_t n,
                                       std::size_t wanted) {
        std::uint32_t low = 1, high = 65536;
        while (high - low > 1) {
            const std::uint32_t middle = (low + high) / 2;
            const std::size_t count = count16(acc, n, static_cast<std::uint16_t>(middle));
            (count >= wanted ? low : high) = middle;
            if (count >= wanted && count <= wanted + wanted / 2) break;
        }
        return static_cast<std::uint16_t>(low);
    }

    // Scores the candidates, passing over those whose bound has fallen behind meanwhile.
    template <class Rows>
    void score_candidates(const ImpactTarget& target, const Rows& rows) {
        constexpr std::size_t kFar = 24, kNear = 10;  // documents ahead: where a row is, the row
        const auto& candidates = kept_.candidates;
        const std::size_t n = candidates.size();
        for (std::size_t c = 0; c < std::min(kFar, n); ++c) rows.prefetch_place(candidates[c].doc);
        for (std::size_t c = 0; c < std::min(kNear, n); ++c) rows.prefetch_row(candidates[c].doc);
        float theta = top_.threshold();
        std::uint16_t floor = kept_.query.units_for(theta);
        for (std::size_t c = 0; c < n; ++c) {
            if (c + kFar < n) rows.prefetch_place(candidates[c + kFar].doc);
            if (c + kNear < n) rows.prefetch_row(candidates[c + kNear].doc);
            if (candidates[c].units < floor) continue;
            score_row(target, rows, candidates[c].doc);
            if (top_.threshold() != theta) {
                theta = top_.threshold();
                floor = kept_.query.units_for(theta);
            }
        }
    }

    template <class Rows>
    void score_row(const ImpactTarget& target, const Rows& rows, std::size_t doc) {
        float score;
        ++work_.rows;
        if (rows.score(kept_.query.map, doc, score))
            top_.push(score, target.first_row + static_cast<std::int64_t>(doc));
    }

    // Whether scoring every document that may be returned is less work than reading lists.
    bool few_documents(const ImpactTarget& target) const {
        constexpr std::uint64_t kPostingsPerRow = 64;
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
                score_row(target, rows, doc);
            return;
        }
        for (std::size_t word = target.begin >> 6; word <= (target.end - 1) >> 6; ++word) {
            for (std::uint64_t bits = target.allowed[word]; bits; bits &= bits - 1) {
                const std::size_t doc = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
                if (doc >= target.begin && doc < target.end) score_row(target, rows, doc);
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
