// The native module `sparseret.kernels._native`: types and lengths are checked here, meaning in
// sparseret/kernels/__init__.py, which is the only importer.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <vector>

#include "bind_build.hpp"
#include "bind_codes.hpp"
#include "bind_dense.hpp"
#include "bind_head.hpp"
#include "bind_largest.hpp"
#include "bind_projection.hpp"
#include "bind_sdr.hpp"
#include "bind_search.hpp"
#include "canonical.hpp"
#include "codebook.hpp"
#include "count_terms.hpp"
#include "invert.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace sparseret_bindings;

namespace {

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

bool is_canonical(In<std::int64_t> indptr, In<std::int32_t> columns, In<float> values,
                  std::int64_t n_columns, bool is_signed) {
    if (indptr.size() < 1 || values.size() != columns.size()) return false;
    return sparseret::is_canonical(
        {indptr.data(), indptr.size() - 1, columns.data(), values.data(), columns.size()}, n_columns,
        is_signed);
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
    nb::class_<ImpactSegment>(m, "ImpactSegment")
        .def(nb::init<unsigned, In<std::int32_t>, In<float>, In<std::uint32_t>, In<std::uint32_t>,
                      In<std::uint16_t>, In<std::int64_t>, AnyIn, AnyIn,
                      std::optional<In<float>>>(),
             "window_bits"_a, "columns"_a, "column_max"_a, "column_ptr"_a, "lists"_a, "words"_a,
             "row_ptr"_a, "row_ranks"_a, "row_values"_a, "weights"_a.none())
        .def("document_frequencies", &ImpactSegment::document_frequencies, "columns"_a);
    nb::class_<ImpactBuilder>(m, "ImpactBuilder")
        .def(nb::init<In<float>, unsigned>(), "column_max"_a, "window_bits"_a)
        .def("add", &ImpactBuilder::add, "row_ptr"_a, "ranks"_a, "weights"_a, "n_threads"_a)
        .def("finish", &ImpactBuilder::finish);
    nb::class_<Collection>(m, "Collection")
        .def(nb::init<nb::list, std::int64_t, bool, double>(), "segments"_a, "dim"_a, "is_signed"_a,
             "largest"_a)
        .def("search", &Collection::search, "n_queries"_a, "n_columns"_a, "indptr"_a, "columns"_a,
             "values"_a, "k"_a, "allowed"_a.none(), "begin"_a, "end"_a, "cut"_a, "candidates"_a, "n_threads"_a);
    nb::class_<VocabularyHead>(m, "VocabularyHead")
        .def(nb::init<In<float>, In<float>, bool>(), "weight"_a, "bias"_a, "exact"_a)
        .def("pool", &VocabularyHead::pool, "hidden"_a, "offsets"_a, "log_sum"_a, "threshold"_a,
             "n_threads"_a);
    m.def("code_scores", &code_scores, "codes"_a, "width"_a, "tables"_a);
    m.def("dense_products", &dense_products<float>, "rows"_a, "width"_a, "queries"_a);
    m.def("dense_products_half", &dense_products<std::uint16_t>, "rows"_a, "width"_a, "queries"_a);
    m.def("top_k", &top_k, "rows"_a, "width"_a, "k"_a, "n_threads"_a);
    m.def("above_deviations", &above_deviations, "rows"_a, "width"_a, "deviations"_a, "n_threads"_a);
    m.def("random_projection", &random_projection, "indptr"_a, "columns"_a, "values"_a,
          "n_components"_a, "density"_a, "seed"_a, "is_signed"_a, "scale"_a, "n_threads"_a);
    nb::class_<SdrLists>(m, "SdrLists")
        .def(nb::init<std::size_t, std::size_t, std::size_t, unsigned, In<std::uint16_t>,
                      In<std::uint32_t>, In<std::int64_t>>(),
             "n_docs"_a, "n_cells"_a, "most_active"_a, "block_bits"_a, "docs"_a, "ptr"_a,
             "blocks"_a)
        .def("search", &SdrLists::search, "indptr"_a, "columns"_a, "k"_a, "threshold"_a,
             "n_threads"_a);
    nb::class_<SdrBits>(m, "SdrBits")
        .def(nb::init<std::size_t, std::size_t, In<std::uint64_t>>(), "n_docs"_a, "n_cells"_a,
             "words"_a)
        .def("search", &SdrBits::search, "indptr"_a, "columns"_a, "k"_a, "threshold"_a,
             "n_threads"_a);
    m.def("build_sdr_lists", &build_sdr_lists, "n_cells"_a, "block_bits"_a, "indptr"_a,
          "columns"_a);
    m.def("pack_sdr", &pack_sdr, "n_cells"_a, "indptr"_a, "columns"_a);
    m.def("rank_columns", &rank_columns, "columns"_a, "values"_a);
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
