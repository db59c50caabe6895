// The native module `sparseret.kernels._native`: types and lengths are checked here, meaning in
// sparseret/kernels/__init__.py, which is the only importer.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "codebook.hpp"
#include "count_terms.hpp"
#include "invert.hpp"
#include "parallel.hpp"
#include "search.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T>
using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using AnyIn = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T>
Out<T> adopt(std::vector<T>&& source) {
    auto* kept = new std::vector<T>(std::move(source));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return Out<T>(kept->data(), {kept->size()}, owner);
}

template <class T>
Out<T> allocate(std::size_t n) {
    auto* data = new T[n ? n : 1];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return Out<T>(data, {n}, owner);
}

void require(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

// Ascending offsets from 0 that stay within `limit`.
void require_offsets(const In<std::int64_t>& ptr, std::size_t limit) {
    require(ptr.size() >= 1 && ptr(0) == 0, "offsets must start at 0");
    for (std::size_t i = 1; i < ptr.size(); ++i)
        require(ptr(i) >= ptr(i - 1), "offsets must ascend");
    require(static_cast<std::size_t>(ptr(ptr.size() - 1)) <= limit, "offsets exceed the array");
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
        const auto type = posting_values.dtype();
        if (type == nb::dtype<float>()) {
            require(!weights, "plain values take no code weights");
            view.kind = sparseret::ValueKind::plain;
            return;
        }
        require(weights.has_value(), "coded values need the weights of the codes");
        std::size_t size = weights->size();
        if (type == nb::dtype<std::uint8_t>()) {
            view.kind = sparseret::ValueKind::code8;
            size = std::size_t{1} << 8;
        } else if (type == nb::dtype<std::uint16_t>()) {
            view.kind = sparseret::ValueKind::code16;
            size = std::size_t{1} << 16;
        } else {
            require(type == nb::dtype<std::uint32_t>(), "posting_values: wrong dtype");
            view.kind = sparseret::ValueKind::code32;
            size = size ? size : 1;
        }
        require(weights->size() <= size, "more weights than codes");
        table.assign(size, 0.0f);
        std::copy_n(weights->data(), weights->size(), table.begin());
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

nb::tuple search(const std::vector<const Segment*>& segments,
                 const std::vector<std::optional<In<std::uint64_t>>>& allowed,
                 In<std::int64_t> indptr, In<std::int32_t> columns, In<float> values,
                 std::size_t k, std::size_t n_threads) {
    require(k >= 1, "k must be at least 1");
    require(allowed.size() == segments.size(), "one bitmap (or None) per segment");
    require(columns.size() == values.size(), "columns and values differ in length");
    require_offsets(indptr, columns.size());
    std::vector<sparseret::SearchTarget> targets;
    std::int64_t first_row = 0;
    for (std::size_t s = 0; s < segments.size(); ++s) {
        const std::size_t n_docs = segments[s]->view.n_docs;
        const std::uint64_t* bits = nullptr;
        if (allowed[s]) {
            require(allowed[s]->size() * 64 >= n_docs, "bitmap shorter than its segment");
            bits = allowed[s]->data();
        }
        targets.push_back({&segments[s]->view, bits, first_row});
        first_row += static_cast<std::int64_t>(n_docs);
    }
    const std::size_t n_queries = indptr.size() - 1;
    std::vector<std::vector<sparseret::Hit>> hits(n_queries);
    {
        nb::gil_scoped_release unlocked;
        sparseret::parallel_for(n_queries, n_threads, [&](std::size_t q) {
            const auto begin = static_cast<std::size_t>(indptr(q));
            const auto end = static_cast<std::size_t>(indptr(q + 1));
            sparseret::Searcher searcher(
                {columns.data() + begin, values.data() + begin, end - begin}, k);
            for (const auto& target : targets) searcher.run(target);
            hits[q] = searcher.finish();
        });
    }
    std::vector<std::int64_t> ptr{0}, rows;
    std::vector<float> scores;
    for (const auto& list : hits) {
        for (const auto& hit : list) {
            rows.push_back(hit.row);
            scores.push_back(hit.score);
        }
        ptr.push_back(static_cast<std::int64_t>(rows.size()));
    }
    return nb::make_tuple(adopt(std::move(ptr)), adopt(std::move(rows)), adopt(std::move(scores)));
}

template <class Value>
nb::tuple invert_as(unsigned window_bits, const In<std::int64_t>& row_ptr,
                    const In<std::int32_t>& columns, const AnyIn& values) {
    auto docs = allocate<std::uint16_t>(values.size());
    auto out_values = allocate<Value>(values.size());
    const auto* in_values = static_cast<const Value*>(values.data());
    std::uint16_t* docs_data = docs.data();
    Value* values_data = out_values.data();
    sparseret::Postings postings;
    {
        nb::gil_scoped_release unlocked;
        postings = sparseret::invert(row_ptr.size() - 1, window_bits, row_ptr.data(),
                                     columns.data(), in_values, docs_data, values_data);
    }
    return nb::make_tuple(adopt(std::move(postings.columns)), adopt(std::move(postings.column_ptr)),
                          adopt(std::move(postings.block_window)),
                          adopt(std::move(postings.block_ptr)), docs, out_values);
}

nb::tuple invert(unsigned window_bits, In<std::int64_t> row_ptr, In<std::int32_t> columns,
                 AnyIn values) {
    require(window_bits >= 1 && window_bits <= sparseret::kMaxWindowBits,
            "window_bits must lie in 1..16");
    require_offsets(row_ptr, columns.size());
    const auto nnz = static_cast<std::size_t>(row_ptr(row_ptr.size() - 1));
    require(nnz == columns.size() && nnz == values.size(), "row_ptr, columns, values disagree");
    require(nnz < 0xffffffffu, "too many values for one segment");
    require((row_ptr.size() - 1) <= (std::size_t{1} << (window_bits + 16)),
            "too many documents for one segment");
    for (std::size_t i = 0; i < nnz; ++i) require(columns(i) >= 0, "columns must not be negative");
    const auto type = values.dtype();
    if (type == nb::dtype<float>()) return invert_as<float>(window_bits, row_ptr, columns, values);
    if (type == nb::dtype<std::uint8_t>())
        return invert_as<std::uint8_t>(window_bits, row_ptr, columns, values);
    if (type == nb::dtype<std::uint16_t>())
        return invert_as<std::uint16_t>(window_bits, row_ptr, columns, values);
    require(type == nb::dtype<std::uint32_t>(), "values: wrong dtype");
    return invert_as<std::uint32_t>(window_bits, row_ptr, columns, values);
}

nb::object codebook(In<std::int64_t> row_ptr, In<float> values, std::optional<In<float>> lengths,
                    std::size_t limit) {
    require_offsets(row_ptr, values.size());
    require(limit <= 0x7fffffffu, "limit is above 2**31 - 1");
    if (lengths) require(lengths->size() + 1 == row_ptr.size(), "one length per row");
    sparseret::Codebook book;
    {
        nb::gil_scoped_release unlocked;
        book = sparseret::make_codebook(row_ptr.size() - 1, row_ptr.data(), values.data(),
                                        lengths ? lengths->data() : nullptr, limit);
    }
    if (!book.fits) return nb::none();
    return nb::make_tuple(adopt(std::move(book.codes)), adopt(std::move(book.values)),
                          adopt(std::move(book.lengths)));
}

nb::tuple count_terms(In<std::int64_t> run_ptr, In<std::int32_t> tokens, In<double> weights) {
    require(weights.size() >= 1, "at least one field");
    require_offsets(run_ptr, tokens.size());
    require((run_ptr.size() - 1) % weights.size() == 0, "runs are not a multiple of the fields");
    sparseret::Rows rows;
    {
        nb::gil_scoped_release unlocked;
        rows = sparseret::count_terms((run_ptr.size() - 1) / weights.size(), weights.size(),
                                      run_ptr.data(), tokens.data(), weights.data());
    }
    return nb::make_tuple(adopt(std::move(rows.indptr)), adopt(std::move(rows.columns)),
                          adopt(std::move(rows.values)));
}

// Whether the arrays form CSR rows that every kernel accepts: ascending columns inside the matrix,
// finite non-zero values, none negative unless `is_signed`.
bool is_canonical(In<std::int64_t> indptr, In<std::int32_t> columns, In<float> values,
                  std::int64_t n_columns, bool is_signed) {
    const std::size_t n = columns.size();
    if (indptr.size() < 1 || indptr(0) != 0 || values.size() != n ||
        static_cast<std::size_t>(indptr(indptr.size() - 1)) != n)
        return false;
    for (std::size_t r = 1; r < indptr.size(); ++r) {
        const std::int64_t begin = indptr(r - 1), end = indptr(r);
        if (end < begin || static_cast<std::size_t>(end) > n) return false;
        std::int64_t last = -1;
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            const float value = values(i);
            if (columns(i) <= last || columns(i) >= n_columns || !std::isfinite(value) ||
                value == 0.0f || (value < 0.0f && !is_signed))
                return false;
            last = columns(i);
        }
    }
    return true;
}

const char* isa_name(sparseret::Isa isa) {
    switch (isa) {
        case sparseret::Isa::avx512: return "avx512";
        case sparseret::Isa::avx2: return "avx2";
        case sparseret::Isa::scalar: break;
    }
    return "scalar";
}

}  // namespace

NB_MODULE(_native, m) {
    nb::exception<sparseret::CorruptSegment>(m, "CorruptSegment", PyExc_RuntimeError);
    nb::class_<Segment>(m, "Segment")
        .def(nb::init<std::size_t, unsigned, In<std::int32_t>, In<std::uint32_t>,
                      In<std::uint16_t>, In<std::uint32_t>, In<std::uint16_t>, AnyIn,
                      std::optional<In<float>>>(),
             "n_docs"_a, "window_bits"_a, "columns"_a, "column_ptr"_a, "block_window"_a,
             "block_ptr"_a, "posting_docs"_a, "posting_values"_a, "weights"_a.none())
        .def("document_frequencies", &Segment::document_frequencies, "columns"_a);
    m.def("search", &search, "segments"_a, "allowed"_a, "indptr"_a, "columns"_a, "values"_a, "k"_a,
          "n_threads"_a);
    m.def("invert", &invert, "window_bits"_a, "row_ptr"_a, "columns"_a, "values"_a);
    m.def("codebook", &codebook, "row_ptr"_a, "values"_a, "lengths"_a.none(), "limit"_a);
    m.def("count_terms", &count_terms, "run_ptr"_a, "tokens"_a, "weights"_a);
    m.def("is_canonical", &is_canonical, "indptr"_a, "columns"_a, "values"_a, "n_columns"_a,
          "is_signed"_a);
    m.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (int isa = 0; isa <= static_cast<int>(sparseret::best_isa()); ++isa)
            names.emplace_back(isa_name(static_cast<sparseret::Isa>(isa)));
        return names;
    });
    m.def("use_instruction_set", [](const std::string& name) {
        for (int isa = 0; isa <= static_cast<int>(sparseret::best_isa()); ++isa)
            if (name == isa_name(static_cast<sparseret::Isa>(isa))) {
                sparseret::active_isa() = static_cast<sparseret::Isa>(isa);
                return;
            }
        throw nb::value_error("this processor lacks that instruction set");
    }, "name"_a);
}
