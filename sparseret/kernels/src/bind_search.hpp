// Segments and search, as Python sees them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include "bind_arrays.hpp"
#include "canonical.hpp"
#include "impact_search.hpp"
#include "parallel.hpp"
#include "search.hpp"

namespace sparseret_bindings {

// Sets what `values` of an array (of float32 or codes) are; returns the table of the codes.
inline std::vector<float> value_table(const AnyIn& values, const std::optional<In<float>>& weights,
                               sparseret::ValueKind& kind) {
    const auto type = values.dtype();
    if (type == nb::dtype<float>()) {
        require(!weights, "plain values take no code weights");
        kind = sparseret::ValueKind::plain;
        return {};
    }
    require(weights.has_value(), "coded values need the weights of the codes");
    std::size_t size = weights->size();
    if (type == nb::dtype<std::uint8_t>()) {
        kind = sparseret::ValueKind::code8;
        size = std::size_t{1} << 8;
    } else if (type == nb::dtype<std::uint16_t>()) {
        kind = sparseret::ValueKind::code16;
        size = std::size_t{1} << 16;
    } else {
        require(type == nb::dtype<std::uint32_t>(), "values: wrong dtype");
        kind = sparseret::ValueKind::code32;
        size = size ? size : 1;
    }
    require(weights->size() <= size, "more weights than codes");
    std::vector<float> table(size, 0.0f);
    std::copy_n(weights->data(), weights->size(), table.begin());
    return table;
}

struct Segment {
    sparseret::SegmentView view;
    // Arrays may be memory-mapped: these references keep the mapping alive.
    In<std::int32_t> columns;
    In<std::uint32_t> column_ptr;
    In<std::uint16_t> block_window;
    In<std::uint32_t> block_ptr;
    In<std::uint16_t> posting_docs;
    AnyIn posting_values;
    std::vector<float> table;

    Segment(std::size_t n_docs, unsigned window_bits, In<std::int32_t> columns_,
            In<std::uint32_t> column_ptr_, In<std::uint16_t> block_window_,
            In<std::uint32_t> block_ptr_, In<std::uint16_t> posting_docs_, AnyIn posting_values_,
            std::optional<In<float>> weights)
        : columns(std::move(columns_)),
          column_ptr(std::move(column_ptr_)),
          block_window(std::move(block_window_)),
          block_ptr(std::move(block_ptr_)),
          posting_docs(std::move(posting_docs_)),
          posting_values(std::move(posting_values_)) {
        require(window_bits >= 1 && window_bits <= sparseret::kMaxWindowBits,
                "window_bits must lie in 1..16");
        require(n_docs <= std::size_t{1} << (window_bits + 16), "too many documents for one segment");
        require(column_ptr.size() == columns.size() + 1, "column_ptr has the wrong length");
        require(block_ptr.size() == block_window.size() + 1, "block_ptr has the wrong length");
        require(posting_values.size() == posting_docs.size(), "posting_values: wrong length");
        require(posting_docs.size() < 0xffffffffu, "too many postings for one segment");
        view.n_docs = n_docs;
        view.window_bits = window_bits;
        view.columns = columns.data();
        view.n_columns = columns.size();
        view.column_ptr = column_ptr.data();
        view.block_window = block_window.data();
        view.n_blocks = block_window.size();
        view.block_ptr = block_ptr.data();
        view.posting_docs = posting_docs.data();
        view.n_postings = posting_docs.size();
        view.posting_values = posting_values.data();
        table = value_table(posting_values, weights, view.kind);
        view.table = table.data();
        view.table_size = table.size();
    }

    Out<std::int64_t> document_frequencies(In<std::int32_t> wanted) const {
        std::vector<std::int64_t> out(wanted.size(), 0);
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            const std::size_t at = view.find(wanted(i));
            if (at != view.n_columns) out[i] = view.document_frequency(at);
        }
        return adopt(std::move(out));
    }
};

struct ImpactSegment {
    sparseret::ImpactView view;
    // Arrays may be memory-mapped: these references keep the mapping alive.
    In<std::int32_t> columns;
    In<float> column_max;
    In<std::uint32_t> column_ptr;
    In<std::uint32_t> lists;
    In<std::uint16_t> words;
    In<std::int64_t> row_ptr;
    AnyIn row_ranks, row_values;
    std::vector<float> table;

    ImpactSegment(unsigned window_bits, In<std::int32_t> columns_, In<float> column_max_,
                  In<std::uint32_t> column_ptr_, In<std::uint32_t> lists_, In<std::uint16_t> words_,
                  In<std::int64_t> row_ptr_, AnyIn row_ranks_, AnyIn row_values_,
                  std::optional<In<float>> weights)
        : columns(std::move(columns_)),
          column_max(std::move(column_max_)),
          column_ptr(std::move(column_ptr_)),
          lists(std::move(lists_)),
          words(std::move(words_)),
          row_ptr(std::move(row_ptr_)),
          row_ranks(std::move(row_ranks_)),
          row_values(std::move(row_values_)) {
        require(window_bits >= 5 && window_bits <= sparseret::kMaxImpactBits,
                "window_bits must lie in 5..16");
        require(column_max.size() == columns.size(), "column_max has the wrong length");
        require(column_ptr.size() == columns.size() + 1, "column_ptr has the wrong length");
        require(lists.size() % 2 == 0, "lists has the wrong length");
        require(row_ptr.size() >= 1, "row_ptr is empty");
        require(row_ptr.size() - 1 <= std::size_t{1} << (window_bits + 16),
                "too many documents for one segment");
        require(row_ranks.size() == row_values.size(), "ranks and values differ in length");
        view.wide_ranks = row_ranks.dtype() == nb::dtype<std::uint32_t>();
        require(view.wide_ranks || row_ranks.dtype() == nb::dtype<std::uint16_t>(),
                "row_ranks: wrong dtype");
        view.n_docs = row_ptr.size() - 1;
        view.window_bits = window_bits;
        view.n_columns = columns.size();
        view.columns = columns.data();
        view.column_max = column_max.data();
        view.column_ptr = column_ptr.data();
        view.n_lists = lists.size() / 2;
        static_assert(sizeof(sparseret::ImpactList) == 8 && alignof(sparseret::ImpactList) == 4);
        view.lists = reinterpret_cast<const sparseret::ImpactList*>(lists.data());
        view.n_words = words.size();
        view.words = words.data();
        view.n_postings = row_values.size();
        view.row_ptr = row_ptr.data();
        view.row_ranks = row_ranks.data();
        view.row_values = row_values.data();
        table = value_table(row_values, weights, view.kind);
        view.table = table.data();
        view.table_size = table.size();
    }

    Out<std::int64_t> document_frequencies(In<std::int32_t> wanted) const {
        std::vector<std::int64_t> out(wanted.size(), 0);
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            const std::size_t at = view.find(wanted(i));
            if (at == view.n_columns) continue;
            std::uint32_t begin, end;
            view.list_range(at, begin, end);
            for (std::uint32_t l = begin; l < end; ++l) out[i] += view.lists[l].size();
        }
        return adopt(std::move(out));
    }
};

struct Targets {
    std::vector<sparseret::SearchTarget> plain;
    std::vector<sparseret::ImpactTarget> impact;
    std::size_t n_rows = 0;
};

// Rows of a query matrix, whose offsets may be of either type that scipy gives them.
struct Queries {
    In<std::int32_t> columns;
    In<float> values;
    std::vector<std::int64_t> ptr;

    // False where the arrays do not have the types that kernels take.
    bool take(const AnyIn& indptr, const AnyIn& columns_, const AnyIn& values_) {
        if (columns_.dtype() != nb::dtype<std::int32_t>() || values_.dtype() != nb::dtype<float>() ||
            indptr.size() < 1 || columns_.size() != values_.size())
            return false;
        columns = In<std::int32_t>(nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig,
                                               nb::device::cpu>(columns_));
        values = In<float>(
            nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>(values_));
        if (indptr.dtype() == nb::dtype<std::int64_t>()) {
            const auto* from = static_cast<const std::int64_t*>(indptr.data());
            ptr.assign(from, from + indptr.size());
        } else if (indptr.dtype() == nb::dtype<std::int32_t>()) {
            const auto* from = static_cast<const std::int32_t*>(indptr.data());
            ptr.assign(from, from + indptr.size());
        } else {
            return false;
        }
        return true;
    }

    sparseret::CsrView view() const {
        return {ptr.data(), ptr.size() - 1, columns.data(), values.data(), columns.size()};
    }
};

// Segments of either kind as one collection, its rows numbered through.
class Collection {
  public:
    Collection(const nb::list& segments, std::int64_t dim, bool is_signed, double largest)
        : dim_(dim), signed_(is_signed), largest_(largest) {
        for (const auto& segment : segments) {
            kept_.push_back(nb::borrow(segment));
            if (nb::isinstance<ImpactSegment>(segment)) {
                const auto& view = nb::cast<const ImpactSegment*>(segment)->view;
                members_.push_back({&view, nullptr, view.n_docs});
            } else {
                const auto& view = nb::cast<const Segment*>(segment)->view;
                members_.push_back({nullptr, &view, view.n_docs});
            }
            n_rows_ += members_.back().n_docs;
        }
    }

    // None where the queries are no canonical CSR matrix of that shape and of `dim` columns.
    nb::object search(std::size_t n_queries, std::int64_t n_columns, const AnyIn& indptr,
                      const AnyIn& columns, const AnyIn& values, std::size_t k, const nb::object& allowed,
                      std::int64_t begin, std::int64_t end, float cut, std::size_t candidates,
                      std::size_t n_threads) const;

  private:
    struct Member {
        const sparseret::ImpactView* impact;
        const sparseret::SegmentView* plain;
        std::size_t n_docs;
    };
    static constexpr std::int64_t kMostColumns = std::int64_t{1} << 31;
    using Bitmaps = std::vector<std::optional<In<std::uint64_t>>>;

    Targets targets(const Bitmaps& allowed, std::int64_t begin, std::int64_t end) const;

    std::vector<nb::object> kept_;
    std::vector<Member> members_;
    std::size_t n_rows_ = 0;
    std::int64_t dim_;  // negative for any
    bool signed_;
    double largest_;
};

// What rows [begin, end) of the collection are in each segment.
inline Targets Collection::targets(const Bitmaps& allowed, std::int64_t begin,
                                   std::int64_t end) const {
    require(allowed.empty() || allowed.size() == members_.size(),
            "one bitmap (or None) per segment");
    require(begin >= 0, "rows must not be negative");
    end = std::max<std::int64_t>(end, 0);
    Targets out;
    std::int64_t first_row = 0;
    for (std::size_t s = 0; s < members_.size(); ++s) {
        const Member& member = members_[s];
        const auto n = static_cast<std::int64_t>(member.n_docs);
        const auto from = static_cast<std::size_t>(std::clamp<std::int64_t>(begin - first_row, 0, n));
        const auto to = static_cast<std::size_t>(std::clamp<std::int64_t>(end - first_row, 0, n));
        const std::uint64_t* bits = nullptr;
        std::size_t n_allowed = member.n_docs;
        if (!allowed.empty() && allowed[s]) {
            require(allowed[s]->size() * 64 >= member.n_docs, "bitmap shorter than its segment");
            bits = allowed[s]->data();
            if (member.impact) {
                n_allowed = 0;
                for (std::size_t w = from / 64; w < (to + 63) / 64; ++w)
                    n_allowed += static_cast<std::size_t>(std::popcount(bits[w]));
            }
        }
        if (from < to) {
            if (member.impact)
                out.impact.push_back({member.impact, bits, n_allowed, from, to, first_row});
            else
                out.plain.push_back({member.plain, bits, from, to, first_row});
        }
        first_row += n;
    }
    out.n_rows = n_rows_;
    return out;
}

inline nb::object Collection::search(std::size_t n_queries, std::int64_t n_columns,
                                     const AnyIn& indptr, const AnyIn& columns,
                                     const AnyIn& values, std::size_t k, const nb::object& allowed, std::int64_t begin,
                                     std::int64_t end, float cut, std::size_t candidates,
                                     std::size_t n_threads) const {
    require(k >= 1, "k must be at least 1");
    require(cut >= 0.0f && cut <= 1.0f, "cut must lie in 0..1");
    Queries queries;
    if ((dim_ >= 0 && n_columns != dim_) || n_columns > kMostColumns ||
        indptr.size() != n_queries + 1 || !queries.take(indptr, columns, values))
        return nb::none();
    const sparseret::CsrView rows = queries.view();
    if (!sparseret::is_canonical(rows, n_columns, signed_)) return nb::none();
    // An infinite score has no rank: sums of finite products must stay finite.
    const double heaviest = sparseret::heaviest_row(rows);
    if (heaviest * largest_ > static_cast<double>(std::numeric_limits<float>::max()) / 2) {
        char text[160];
        std::snprintf(text, sizeof text,
                      "query weights that sum to %.3g times document weights up to %.3g could "
                      "exceed float32: scale the vectors down",
                      heaviest, largest_);
        throw std::overflow_error(text);
    }
    Bitmaps bitmaps;
    if (!allowed.is_none() && !nb::try_cast<Bitmaps>(allowed, bitmaps))
        throw nb::type_error("allowed: a sequence of arrays of 64-bit words, or None, per segment");
    const Targets found_in = targets(bitmaps, begin, end);
    // More than there are is as good as all, and sums of these must not overflow.
    k = std::clamp<std::size_t>(found_in.n_rows, 1, k);
    candidates = std::min(candidates, std::max<std::size_t>(found_in.n_rows, 1));
    std::vector<std::vector<sparseret::Hit>> hits(rows.n_rows);
    std::atomic<std::uint64_t> postings{0}, rows_scored{0};
    {
        nb::gil_scoped_release unlocked;
        sparseret::parallel_for(rows.n_rows, n_threads, [&](std::size_t q) {
            const auto from = static_cast<std::size_t>(rows.ptr[q]);
            const auto to = static_cast<std::size_t>(rows.ptr[q + 1]);
            const sparseret::QueryView query{rows.columns + from, rows.values + from, to - from};
            if (!found_in.plain.empty()) {
                sparseret::Searcher searcher(query, k);
                for (const auto& target : found_in.plain) searcher.run(target);
                hits[q] = searcher.finish();
            }
            if (!found_in.impact.empty()) {
                sparseret::ImpactSearcher searcher(query, k, {cut, candidates});
                for (const auto& target : found_in.impact) searcher.run(target);
                postings += searcher.work().postings;
                rows_scored += searcher.work().rows;
                hits[q] = sparseret::merge_hits(std::move(hits[q]), searcher.finish(), k);
            }
        });
    }
    std::vector<std::int64_t> ptr{0}, found;
    std::vector<float> scores;
    std::vector<std::uint32_t> places;
    for (const auto& list : hits) {
        for (const auto& hit : list) {
            found.push_back(hit.row);
            scores.push_back(hit.score);
            places.push_back(hit.place);
        }
        ptr.push_back(static_cast<std::int64_t>(found.size()));
    }
    return nb::make_tuple(adopt(std::move(ptr)), adopt(std::move(found)), adopt(std::move(scores)),
                          adopt(std::move(places)), postings.load(), rows_scored.load());
}

}  // namespace sparseret_bindings
