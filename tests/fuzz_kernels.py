"""Throws random and malformed input at the kernels and at altered indexes.

    python tests/fuzz_kernels.py --seconds 60
    python tools/sanitize.py address tests/fuzz_kernels.py --seconds 3600

Case n is made from the seed n alone: `--seed n --cases 1` repeats it. The contract: valid input
gives what the references give; any other gives a result or a typed error, and does not change what
later searches of the same thread find. Cases run in a process of their own, so that one which
crashes or hangs is reported, and the next ones still run.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels, vectors
from sparseret.documents import Document
from sparseret.errors import SparseretError
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.verify import verify_index
from sparseret.kernels import (
    Effort,
    ImpactBuilder,
    ImpactLists,
    ImpactSegment,
    SdrBits,
    SdrLists,
    Segment,
    VocabularyHead,
    reference,
    reference_sdr,
)
from sparseret.retriever import Retriever

HANGS_AFTER = 60  # seconds
TELLS_EVERY = 60
REFUSALS = (ValueError, TypeError, OverflowError, MemoryError, SparseretError)
EXTREMES = {
    "f": [0.0, -0.0, -1.0, np.nan, np.inf, -np.inf, 1e-45, 3e38, 1e-38, -3e38],
    "i": [0, 1, -1, 7, 2**7, 2**15 - 1, 2**15, 2**16, 2**31 - 1, -(2**31), 2**62, -(2**63)],
    "u": [0, 1, 7, 255, 2**15, 2**16 - 1, 2**16, 2**31, 2**32 - 1],
}
DTYPES = [
    "u1",
    "u2",
    "u4",
    "u8",
    "i1",
    "i2",
    "i4",
    "i8",
    "f2",
    "f4",
    "f8",
    "?",
    "c8",
    ">i4",
    ">f4",
    ">i8",
    "S3",
    "O",
]
SIZES = [
    0,
    1,
    2,
    -1,
    5,
    16,
    17,
    63,
    64,
    2**31,
    2**32 - 1,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
Rng = np.random.Generator


def pick(rng: Rng, choices: list[Any]) -> Any:
    """One of them; numpy would make one type of all."""
    return choices[int(rng.integers(len(choices)))]


class Rows(NamedTuple):
    """Stands in for a scipy matrix where its checks would refuse the arrays."""

    indptr: Any
    indices: Any
    data: Any
    format: str = "csr"

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.indptr) - 1, 2**31


# --- input --------------------------------------------------------------------------------------


def random_rows(rng: Rng, n: int, dim: int, *, signed: bool) -> Any:
    """Canonical rows; weights of one of several kinds."""
    density = float(rng.choice([0.02, 0.2, 0.7]))
    dense = rng.random((n, dim), np.float32) + np.float32(1e-3)
    kind = rng.integers(5)
    if kind == 1:
        dense = np.ceil(dense * 3)
    elif kind == 2:
        dense = dense * (np.float32(10) ** rng.integers(-12, 12, (n, dim)))
    elif kind == 3:
        dense = np.exp(3 * rng.normal(size=(n, dim)))
    if signed:
        dense = dense * rng.choice([1, 1, -1], (n, dim))
    return vectors.check((dense * (rng.random((n, dim)) < density)).astype(np.float32))


def coded(rng: Rng, values: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Values as they are, or as codes of some width with their table."""
    book = kernels.make_codebook(np.array([0, len(values)]), values, None, 2**31 - 1)
    width = int(rng.choice([0, 1, 2, 4]))
    if book is None or not width or len(book.values) > 2 ** (8 * width):
        return values, None
    return book.codes.astype(f"u{width}"), book.values


def impact_lists(rng: Rng, rows: Any, bits: int) -> tuple[ImpactLists, NDArray[Any]]:
    ranked = kernels.rank_columns(rows.indices, rows.data)
    builder = ImpactBuilder(ranked.columns, ranked.column_max, bits)
    docs = builder.add(rows.indptr, ranked.ranks, rows.data, int(rng.integers(1, 4)))
    return builder.finish(docs), ranked.ranks


def impact_arguments(rng: Rng, rows: Any, bits: int) -> list[Any]:
    lists, ranks = impact_lists(rng, rows, bits)
    ranks = ranks.astype(np.uint32) if rng.random() < 0.3 else ranks
    values, weights = coded(rng, rows.data)
    return [*lists, rows.indptr, ranks, values, weights]


def make_impact(arguments: list[Any], bits: int) -> ImpactSegment:
    return ImpactSegment(ImpactLists(*arguments[:5]), *arguments[5:], bits)


def plain_arguments(rng: Rng, rows: Any, bits: int) -> list[Any]:
    values, weights = coded(rng, rows.data)
    return [*kernels.invert(rows.indptr, rows.indices, values, bits), weights]


def make_plain(n_docs: int, arguments: list[Any], bits: int) -> Segment:
    return Segment(n_docs, kernels.Postings(*arguments[:6]), arguments[6], bits)


def bitmap(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    padded = np.zeros(-(-len(mask) // 64) * 64, dtype=bool)
    padded[: len(mask)] = mask
    return np.packbits(padded, bitorder="little").view(np.uint64)


def spoilt(rng: Rng, array: Any) -> Any:
    """An array made wrong: in its type, its shape, its memory, or its values."""
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype == object:
        return pick(rng, [None, 0.5, 3])
    way = int(rng.integers(14))
    if way >= 9:
        return altered_values(rng, array)
    if way == 0:
        with np.errstate(all="ignore"):
            return array.astype(pick(rng, DTYPES))
    if way == 1:
        return np.repeat(array, 2)[::2]
    if way == 2:
        return array[::-1]
    if way == 3:
        return array[: int(rng.integers(0, len(array) + 1))]
    if way == 4:
        return np.concatenate([array, array[: int(rng.integers(0, 9))]])
    if way == 5:
        shifted = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:]
        return shifted.view(array.dtype)
    if way == 6:
        return array[:, None] if rng.random() < 0.5 else np.array(7, array.dtype)
    if way == 7:
        return pick(rng, [None, "text", array.tolist(), 3, array.astype(object)])
    return np.empty(0, array.dtype)


def altered_values(rng: Rng, array: NDArray[Any]) -> NDArray[Any]:
    """A copy with some values changed."""
    out = array.copy()
    if not len(out):
        return out
    places = rng.integers(0, len(out), int(rng.choice([1, 1, 2, len(out)])))
    way = rng.integers(4)
    if way == 0:
        rng.shuffle(out)
    elif way == 1:
        out[places] = out[rng.permutation(places)]
    elif way == 2:
        raw = out.view(np.uint8)
        raw[rng.integers(0, len(raw), len(places))] ^= np.uint8(1 << int(rng.integers(8)))
    else:
        with np.errstate(all="ignore"):
            extremes = np.array(EXTREMES.get(out.dtype.kind, [0]))
            out[places] = rng.choice(extremes, len(places)).astype(out.dtype)
    return out


# --- checks -------------------------------------------------------------------------------------


class ContractError(Exception):
    """The contract is broken."""


def expect(condition: object, message: str) -> None:
    if not condition:
        raise ContractError(message)


def expect_equal(got: Any, want: Any, what: str) -> None:
    for a, b in zip(got, want, strict=True):
        equal = np.array_equal(a, b, equal_nan=getattr(a, "dtype", None) == np.float32)
        expect(equal, f"{what} differs from the reference: {a} is not {b}")


def refused(call: Callable[[], object]) -> bool:
    """Whether a call was refused as it should; other exceptions pass."""
    try:
        call()
    except REFUSALS:
        return True
    return False


def check_ranking(found: kernels.Ranking, n_queries: int, n_rows: int) -> None:
    """What holds for any search, of whatever was read."""
    expect(len(found.ptr) == n_queries + 1, "one stretch per query")
    expect((np.diff(found.ptr) >= 0).all() and found.ptr[-1] == len(found.rows), "bad offsets")
    expect(((found.rows >= 0) & (found.rows < n_rows)).all(), "rows outside the segments")


class Healthy(NamedTuple):
    """A sound segment, and what searches of it find."""

    segment: ImpactSegment
    queries: Any
    exact: kernels.Ranking
    near: kernels.Ranking

    @classmethod
    def make(cls, bits: int) -> Healthy:
        rng = np.random.default_rng(bits)
        rows, queries = (
            random_rows(rng, 400, 12, signed=False),
            random_rows(rng, 3, 12, signed=False),
        )
        segment = make_impact(impact_arguments(rng, rows, bits), bits)
        return cls(
            segment, queries, reference.search(rows, queries, 5),
            kernels.search([segment], queries, 5, effort=Effort(0.4, 9)),
        )  # fmt: skip

    def check(self) -> None:
        expect_equal(kernels.search([self.segment], self.queries, 5)[:3], self.exact[:3], "after")
        near = kernels.search([self.segment], self.queries, 5, effort=Effort(0.4, 9))
        expect_equal(near, self.near, "approximate search after")


# --- cases --------------------------------------------------------------------------------------


def case_search(rng: Rng, state: State) -> str:
    """Exact search of sound segments of both kinds equals the reference."""
    dim, signed = int(rng.choice([2, 9, 60])), bool(rng.random() < 0.3)
    parts, segments = [], []
    for _ in range(int(rng.integers(1, 4))):
        rows = random_rows(rng, int(rng.choice([1, 31, 64, 65, 300, 900])), dim, signed=signed)
        bits = int(rng.choice([5, 6, 9, 15, 16]))
        parts.append(rows)
        if signed or rng.random() < 0.4:
            segments.append(make_plain(rows.shape[0], plain_arguments(rng, rows, bits), bits))
        else:
            segments.append(make_impact(impact_arguments(rng, rows, bits), bits))
    from scipy.sparse import vstack

    whole = vectors.check(vstack(parts, format="csr"))
    queries = random_rows(rng, 4, dim, signed=signed)
    n = whole.shape[0]
    allowed = rng.random(n) < rng.choice([0.02, 0.6]) if rng.random() < 0.4 else None
    mask = np.ones(n, bool) if allowed is None else allowed.copy()
    between = None
    if rng.random() < 0.4:
        begin = int(rng.integers(0, n))
        between = range(begin, int(rng.integers(begin, n + 2)))
        mask[: between.start] = mask[between.stop :] = False
    bitmaps = None
    if allowed is not None:
        ends = np.cumsum([part.shape[0] for part in parts])[:-1]
        bitmaps = [bitmap(part) for part in np.split(allowed, ends)]
    k = pick(rng, [1, 2, 10, 100, 5000, 2**40, 2**63, 2**64 - 1])
    options: dict[str, Any] = {"allowed": bitmaps, "rows": between}
    found = kernels.search(segments, queries, k, **options, threads=int(rng.integers(0, 4)))
    want = reference.search(whole, queries, min(k, n), allowed=mask)
    expect_equal(found[:3], want[:3], "search")
    effort = Effort(float(rng.random()), pick(rng, [1, 10, 1000, 2**63, 2**64 - 1]))
    near = kernels.search(segments, queries, min(k, n), **options, effort=effort)
    check_ranking(near, 4, n)
    product = (queries @ whole.T).toarray()
    query_of = np.repeat(np.arange(4), np.diff(near.ptr))
    expect_equal([near.scores], [product[query_of, near.rows]], "approximate score")
    expect(mask[near.rows].all(), "approximate search returns a row that was not allowed")
    return "search"


def case_build(rng: Rng, state: State) -> str:
    """What is made of sound rows equals the references."""
    dim = int(rng.choice([1, 5, 40]))
    rows = random_rows(rng, int(rng.choice([0, 1, 40, 300])), dim, signed=False)
    if rng.random() < 0.2:  # columns far apart
        rows = Rows(rows.indptr, rows.indices * np.int32((2**31 - 1) // dim), rows.data)
    bits = int(rng.integers(5, 17))
    ranked = kernels.rank_columns(rows.indices, rows.data)
    expect_equal(ranked, reference.rank_columns(rows.indices, rows.data), "rank_columns")
    lists = impact_lists(rng, rows, bits)[0]
    want = reference.impact_lists(
        ranked.columns, ranked.column_max, rows.indptr, ranked.ranks, rows.data, bits
    )
    expect_equal(lists, want, "impact_lists")
    arrays = (rows.indptr, rows.indices, rows.data)
    expect_equal(kernels.invert(*arrays, bits), reference.invert(*arrays, bits), "invert")
    limit = int(rng.choice([0, 3, 1000]))
    book = kernels.make_codebook(rows.indptr, rows.data, None, limit)
    known = reference.make_codebook(rows.indptr, rows.data, None, limit)
    expect((book is None) == (known is None), "make_codebook differs from the reference")
    if book is not None and known is not None:
        expect_equal(book, known, "make_codebook")
    tokens = rng.integers(-2, 9, int(rng.integers(0, 60))).astype(np.int32)
    weights = rng.random(int(rng.integers(1, 4)))
    cuts = np.sort(rng.integers(0, len(tokens) + 1, len(weights) * int(rng.integers(0, 9))))
    runs = np.concatenate(([0], cuts)).astype(np.int64)
    counted = kernels.count_terms(runs, tokens, weights)
    expect_equal(counted, reference.count_terms(runs, tokens, weights), "count_terms")
    return "build"


def head_arguments(rng: Rng) -> list[Any]:
    """Decoder, bias, states, offsets; the matrices flat, so that they can be spoilt; the width."""
    lengths = rng.integers(0, 40, int(rng.integers(0, 5)))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    width, n_columns = int(rng.choice([1, 4, 17, 70])), int(rng.choice([1, 32, 90]))
    spread = int(rng.choice([0, 2, 5]))

    def some(*shape: int) -> NDArray[np.float32]:
        scales = 10.0 ** rng.integers(-spread, spread + 1, (shape[0], 1))
        return (rng.normal(size=shape) * scales).astype(np.float32)

    weight, hidden = some(n_columns, width), some(int(offsets[-1]), width)
    bias = some(n_columns, 1)[:, 0]
    if rng.random() < 0.5 and len(hidden):  # maxima beside the threshold
        bias = -reference.logits(hidden, weight, np.zeros_like(bias)).max(axis=0)
        bias = np.nextafter(bias, rng.choice([-1, 1], n_columns).astype(np.float32) * np.inf)
    return [weight.reshape(-1), bias, hidden.reshape(-1), offsets, width]


def case_head(rng: Rng, state: State) -> str:
    """The vocabulary head equals its reference."""
    flat_weight, bias, flat_hidden, offsets, width = head_arguments(rng)
    weight, hidden = flat_weight.reshape(-1, width), flat_hidden.reshape(-1, width)
    exact = rng.random() < 0.7
    threshold = float(rng.choice([0, 0, 0.5, 30]))
    head = VocabularyHead(weight, bias, "float32" if exact else "int8")
    logits = (reference.logits if exact else reference.rounded_logits)(hidden, weight, bias)
    options: dict[str, Any] = {"threshold": threshold, "threads": int(rng.integers(0, 4))}
    found = head.maxima(hidden, offsets, **options)
    expect_equal(found, reference.vocabulary_maxima(logits, offsets, threshold), "maxima")
    summed = head.sums(hidden, offsets, **options)
    want = reference.vocabulary_sums(logits, offsets, threshold)
    expect_equal(summed[:2], want[:2], "sums")
    expect(np.allclose(summed.values, want.values, 3e-7, 0), "values of sums")
    return "head"


def _head(weight: Any, bias: Any, hidden: Any, offsets: Any, width: Any, threads: Any) -> None:
    head = VocabularyHead(np.reshape(weight, (-1, width)), bias)
    states = np.reshape(hidden, (-1, width))
    for found in (head.maxima(states, offsets), head.sums(states, offsets, threads=threads)):
        expect((np.diff(found.indptr) >= 0).all(), "bad offsets")
        expect(found.indptr[-1] == len(found.columns) == len(found.values), "bad offsets")
        expect((found.values > 0).all(), "values that are not positive")


def case_sdr(rng: Rng, state: State) -> str:
    """Overlap search equals its reference; of altered arrays, it stays in bounds or refuses."""
    n, cells, bits = int(rng.choice([1, 40, 300])), int(rng.choice([1, 70, 600])), 6
    density = float(rng.choice([0.02, 0.3, 1.0]))
    codes = vectors.check_binary(rng.random((n, cells)) < density)
    queries = vectors.check_binary(rng.random((3, cells)) < density)
    k, threshold = pick(rng, [1, 7, 2**62]), int(rng.choice([1, 3, 300]))
    lists, packed = SdrLists.build(codes, bits), SdrBits.build(codes)
    if rng.random() < 0.4:
        want = reference_sdr.search(codes, queries, min(k, n), threshold)
        for layout in (lists, packed):
            found = layout.search(queries, k, threshold=threshold, threads=int(rng.integers(1, 4)))
            expect_equal(found.counts, np.array([len(m.rows) for m in want]), "counts")
            expect_equal(found.rows, np.concatenate([m.rows for m in want]), "rows")
            expect_equal(found.overlaps, np.concatenate([m.overlaps for m in want]), "overlaps")
        return "sdr"
    calls: list[tuple[Callable[..., object], list[Any]]] = [
        (_sdr_lists, [lists.docs, lists.ptr, lists.blocks, queries.indptr, queries.indices, n,
                      cells, lists.most_active, bits, k, threshold]),
        (_sdr_bits, [packed.words, queries.indptr, queries.indices, n, cells, k, threshold]),
        (_sdr_build, [codes.indptr, codes.indices, cells, bits]),
    ]  # fmt: skip
    function, arguments = pick(rng, calls)
    at = int(rng.integers(len(arguments)))
    wrong = pick(rng, SIZES) if isinstance(arguments[at], int) else spoilt(rng, arguments[at])
    arguments[at] = wrong
    return "sdr refused" if refused(lambda: function(*arguments)) else "sdr altered"


def _sdr_lists(
    docs: Any, ptr: Any, blocks: Any, indptr: Any, cells: Any, n: Any, n_cells: Any, most: Any,
    bits: Any, k: Any, threshold: Any,
) -> None:  # fmt: skip
    lists = SdrLists(n, n_cells, most, docs, ptr, blocks, bits)
    _check_sdr(lists.search(Rows(indptr, cells, None), k, threshold=threshold), n, threshold)  # type: ignore[arg-type]


def _sdr_bits(
    words: Any, indptr: Any, cells: Any, n: Any, n_cells: Any, k: Any, threshold: Any
) -> None:
    packed = SdrBits(n, n_cells, words)
    _check_sdr(packed.search(Rows(indptr, cells, None), k, threshold=threshold), n, threshold)  # type: ignore[arg-type]


def _check_sdr(found: kernels.SdrRanking, n: int, threshold: int) -> None:
    expect(found.counts.sum() == len(found.rows) == len(found.overlaps), "bad counts")
    expect(((found.rows >= 0) & (found.rows < n)).all(), "rows that there are not")
    expect((found.overlaps >= threshold).all(), "overlaps below the threshold")


def _sdr_build(indptr: Any, cells: Any, n_cells: Any, bits: Any) -> None:
    kernels._native.pack_sdr(n_cells, indptr, cells)
    kernels._native.build_sdr_lists(n_cells, bits, indptr, cells)


def case_functions(rng: Rng, state: State) -> str:
    """Wrong arguments of every function give a result or are refused."""
    rows = random_rows(rng, int(rng.choice([3, 50, 200])), 8, signed=bool(rng.random() < 0.3))
    ranked = kernels.rank_columns(rows.indices, rows.data)
    csr = [rows.indptr, rows.indices, rows.data]
    lengths = np.ones(rows.shape[0], np.float32)
    calls: list[tuple[Callable[..., object], list[Any]]] = [
        (kernels.rank_columns, csr[1:]),
        (kernels.invert, [*csr, 6]),
        (kernels.make_codebook, [csr[0], csr[2], lengths, 100]),
        (kernels.count_terms, [*csr[:2], np.ones(1)]),
        (lambda a, b, c, d: kernels.is_canonical(a, b, c, d, signed=True), [*csr, 8]),
        (_head, [*head_arguments(rng), 2]),
        (_build, [ranked.columns, ranked.column_max, csr[0], ranked.ranks, csr[2], 6, 2]),
    ]
    function, arguments = pick(rng, calls)
    for _ in range(int(rng.integers(1, 3))):
        at = int(rng.integers(len(arguments)))
        if isinstance(arguments[at], int):
            arguments[at] = pick(rng, SIZES)
        else:
            arguments[at] = spoilt(rng, arguments[at])
    return "functions refused" if refused(lambda: function(*arguments)) else "functions"


def _build(
    columns: Any, bound: Any, row_ptr: Any, ranks: Any, weights: Any, bits: int, n: int
) -> None:
    builder = ImpactBuilder(columns, bound, bits)
    docs = builder.add(row_ptr, ranks, weights, n)
    refused(lambda: builder.add(row_ptr, ranks, weights, n))
    lists = builder.finish(docs)
    builder.finish(docs)
    segment = ImpactSegment(lists, row_ptr, ranks, weights, None, bits)
    query = Rows(np.array([0, 3]), np.arange(3, dtype=np.int32), np.ones(3, np.float32))
    kernels.search([segment], query, 3)  # type: ignore[arg-type]


def case_segments(rng: Rng, state: State) -> str:
    """Segments with altered arrays, and searches with wrong arguments."""
    signed = bool(rng.random() < 0.2)
    bits = int(rng.choice([5, 9, 15, 16]))
    rows = random_rows(rng, int(rng.choice([1, 33, 200, 700])), 8, signed=signed)
    impact = not signed and rng.random() < 0.7
    make = impact_arguments if impact else plain_arguments
    arguments = make(rng, rows, bits)
    spoil = altered_values if rng.random() < 0.7 else spoilt
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(len(arguments)))
        if arguments[at] is not None:
            arguments[at] = spoil(rng, arguments[at])
    n_docs = rows.shape[0] if rng.random() < 0.9 else pick(rng, SIZES)
    queries: Any = random_rows(rng, 3, 8, signed=signed)
    if rng.random() < 0.3:
        parts = [queries.indptr, queries.indices, queries.data]
        at = int(rng.integers(3))
        parts[at] = spoilt(rng, parts[at])
        queries = Rows(*parts)
    allowed: Any = [bitmap(rng.random(rows.shape[0]) < 0.5)] if rng.random() < 0.3 else None
    if allowed and rng.random() < 0.3:
        allowed = [spoilt(rng, allowed[0])] * int(rng.integers(0, 3))
    k = int(rng.integers(1, 20)) if rng.random() < 0.8 else pick(rng, SIZES)
    effort = None
    if rng.random() < 0.5:
        cut = float(rng.choice([0.0, 0.3, 1.0, -1.0, np.nan, np.inf, 2.0, 1e-30]))
        effort = Effort(cut, pick(rng, SIZES))
    between = None
    if rng.random() < 0.3:
        ends = [0, 1, 5, 100, 2**40, 2**63 - 1, -1, -(2**63)]
        between = range(pick(rng, ends), pick(rng, ends))

    def call() -> None:
        segment: Any = (
            make_impact(arguments, bits) if impact else make_plain(n_docs, arguments, bits)
        )
        wanted = np.arange(-3, 12, dtype=np.int32)
        refused(lambda: segment.document_frequencies(wanted))
        found = kernels.search(
            [segment], queries, k, allowed=allowed, rows=between, effort=effort,
            threads=int(rng.integers(-1, 3)),
        )  # fmt: skip
        check_ranking(found, len(queries.indptr) - 1, segment.n_docs)

    was_refused = refused(call)
    bits = int(rng.choice([5, 9, 15, 16]))
    if bits not in state.healthy:
        state.healthy[bits] = Healthy.make(bits)
    state.healthy[bits].check()
    return "segments refused" if was_refused else "segments"


def case_files(rng: Rng, state: State) -> str:
    """Indexes whose files were altered or cut give typed errors, and verify finds the damage."""
    source = pick(rng, state.templates())
    path = state.folder / "altered"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(source, path)
    file = pick(rng, sorted((path / "segments").iterdir()))
    content = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    way = rng.random()
    if way < 0.1:
        del content[int(rng.integers(len(content))) :]
    elif way < 0.15:
        content += bytes(int(rng.integers(1, 100)))
    else:
        for _ in range(int(rng.choice([1, 3, 50]))):
            low = 0 if rng.random() < 0.1 else begin
            at = int(rng.integers(low, len(content)))
            content[at] = int(rng.integers(256)) if rng.random() < 0.5 else content[at] ^ 0x80
    same = bytes(content) == file.read_bytes()
    file.write_bytes(bytes(content))
    was_refused = refused_by_index(rng, path, source.name)
    if not same:
        state.damaged += 1
        state.unnoticed += not verify_index(path)
    return "files refused" if was_refused else "files"


def refused_by_index(rng: Rng, path: Path, name: str) -> bool:
    """Searches, reads and merges an index; whether any of it was refused. Only by a typed error."""
    some = [f"d{i}" for i in rng.integers(0, 300, 20)]

    def use(index: InvertedIndex) -> list[Callable[[], object]]:
        queries = random_rows(rng, 3, 20, signed=name == "signed")
        snapshot = index.snapshot
        return [
            lambda: index.search(queries, 7, threads=1),
            lambda: index.search(queries, 7, effort=Effort(0.3, 20)),
            lambda: index.search(queries, 7, allow=some),
            lambda: snapshot.document_frequencies(np.arange(25, dtype=np.int32)),
            lambda: [snapshot.row(int(number)) for number in rng.integers(0, 300, 20)],
            index.merge,
        ]

    def typed(call: Callable[[], object]) -> bool:
        try:
            call()
        except SparseretError:
            return True
        except KeyError:  # what Snapshot.row raises for a number that no document has
            return False
        return False

    try:
        if name == "texts":
            with Retriever.open(path) as retriever:
                texts = [lambda: retriever.search("t1 t2 t3"), lambda: retriever.search("t5 t9 t9")]
                return sum(typed(call) for call in [*texts, *use(retriever.index)]) > 0
        with InvertedIndex.open(path) as index:
            return sum(typed(call) for call in use(index)) > 0
    except SparseretError:
        return True


class State:
    """What cases share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.healthy: dict[int, Healthy] = {}
        self.damaged = self.unnoticed = 0
        self._templates: list[Path] = []

    def templates(self) -> list[Path]:
        """Small indexes: of impact-ordered segments, of signed vectors, of texts. All sound."""
        if self._templates:
            return self._templates
        rng = np.random.default_rng(0)
        for name, signed in (("positive", False), ("few", False), ("signed", True)):
            index = InvertedIndex.create(self.folder / name, dim=20, signed=signed)
            for first in (0, 200):
                ids = [f"d{i}" for i in range(first, first + 200)]
                rows = random_rows(rng, 200, 20, signed=signed)
                if name == "few":  # codes of one byte, an odd number of them
                    rows.data = np.ceil(rows.data % 3).astype(np.float32) + np.float32(1)
                    odd = rows.indptr[1:] % 2 == (first == 0)  # merged or not
                    rows = vectors.check(rows[: int(np.flatnonzero(odd)[-1]) + 1])
                index.add(ids[: rows.shape[0]], rows)
                index.commit()
            index.delete(["d3", "d250"])
            index.commit()
            index.close()
        with Retriever.create(self.folder / "texts") as retriever:
            words = rng.integers(0, 20, (300, 6))
            texts = [" ".join(f"t{word}" for word in row) for row in words]
            retriever.add([Document(f"d{i}", text) for i, text in enumerate(texts)])
        names = ("positive", "few", "signed", "texts")
        self._templates = [self.folder / name for name in names]
        for path in self._templates:
            expect(verify_index(path) == [], f"a new index of {path.name} vectors is not sound")
        return self._templates


CASES = [
    case_search,
    case_build,
    case_head,
    case_sdr,
    case_functions,
    case_functions,
    case_segments,
    case_segments,
]
FILES_EVERY = 25


# --- running ------------------------------------------------------------------------------------


def work(first: int, n_cases: int, seconds: float, progress: Path) -> int:
    """Run cases in this process; ``progress`` tells which, if it does not survive one."""
    failed = 0
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    told = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, progress.open("r+b", buffering=0) as file:
        state = State(Path(folder))
        for seed in itertools.islice(itertools.count(first), n_cases):
            if time.monotonic() > end:
                break
            file.seek(0)
            file.write(struct.pack("<q", seed))
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
            rng = np.random.default_rng(seed)
            case = case_files if seed % FILES_EVERY == 0 else pick(rng, CASES)
            try:
                counts[case(rng, state)] += 1
            except Exception:  # noqa: BLE001 (whatever it is, it is a finding)
                traceback.print_exc()
                print(f"FAILED: {case.__name__}, seed {seed}", flush=True)
                failed += 1
            faulthandler.cancel_dump_traceback_later()
            if time.monotonic() > told + TELLS_EVERY:
                told = time.monotonic()
                print(f"{seed - first + 1} cases, {failed} failed", flush=True)
        print(f"seeds from {first}: {dict(sorted(counts.items()))}, {failed} failed")
        if state.damaged:
            print(
                f"of {state.damaged} damaged indexes, verify passed {state.unnoticed}", flush=True
            )
    return failed


def run(first: int, n_cases: int, seconds: float) -> int:
    """Run cases, each crash or hang in a process of its own; returns how many cases failed."""
    failed = 0
    end = time.monotonic() + seconds
    last = first + n_cases
    with tempfile.NamedTemporaryFile() as progress:
        while first < last and time.monotonic() < end:
            Path(progress.name).write_bytes(struct.pack("<q", first))
            left = end - time.monotonic()
            done = subprocess.run(
                [sys.executable, __file__, "--worker", progress.name, "--seed", str(first),
                 "--cases", str(last - first), "--seconds", str(left)]
            )  # fmt: skip
            if done.returncode in (0, 3):
                return failed + (done.returncode == 3)
            (seed,) = struct.unpack("<q", Path(progress.name).read_bytes())
            print(f"FAILED: crash or hang (status {done.returncode}), seed {seed}", flush=True)
            failed += 1
            first = seed + 1
    return failed


def main() -> int:
    """Parse the command line and run; the exit status is 1 if any case failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first case (default 1)")
    parser.add_argument("--cases", type=int, default=2**40, help="at most this many")
    parser.add_argument("--seconds", type=float, default=60.0, help="at most this long (60)")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return 3 if work(given.seed, given.cases, given.seconds, given.worker) else 0
    failed = run(given.seed, given.cases, given.seconds)
    print("FAILED" if failed else "passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
