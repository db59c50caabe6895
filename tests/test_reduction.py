"""Presets: what is given up when vectors are added, and that nothing more is lost afterwards."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sparseret import InvertedIndex, vectors
from sparseret.cli.app import main
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.errors import ConfigurationError, CorruptIndexError, VectorError
from sparseret.indexers import reduction
from sparseret.indexers.info import index_info
from sparseret.indexers.reduction import Reduction

DIM = 40


def random_rows(n: int, seed: int, *, largest: float = 2.9, signed: bool = False) -> csr_array:
    rng = np.random.default_rng(seed)
    dense = rng.uniform(0.001, largest, (n, DIM)) * (rng.random((n, DIM)) < 0.4)
    if signed:
        dense *= rng.choice([-1, 1], dense.shape)
    return vectors.check(csr_array(dense.astype(np.float32)))


def dense(rows: csr_array) -> NDArray[np.float32]:
    return np.asarray(rows.toarray())


def rounded(values: NDArray[np.float32], preset: Reduction) -> NDArray[np.float32]:
    if preset.largest is None:
        return values.astype(np.float16).astype(np.float32)
    step = preset.largest / 255
    return np.array([round(float(v) / step) * step for v in values.flat], np.float32).reshape(
        values.shape
    )


def pruned(row: dict[int, float], mass: float, max_terms: int | None) -> dict[int, float]:
    """The plain meaning."""
    kept: dict[int, float] = {}
    total = sum(abs(value) for value in row.values())
    for column in sorted(row, key=lambda column: (-abs(row[column]), column))[:max_terms]:
        if sum(map(abs, kept.values())) < mass * total:
            kept[column] = row[column]
    return kept


def on_boundary(row: dict[int, float], mass: float) -> bool:
    """Whether some of the heaviest weights sum to just the share to keep, in uneven units."""
    weights = sorted((abs(value) for value in row.values()), reverse=True)
    if not weights or math.frexp(weights[0])[0] == 0.5:
        return False
    return bool(np.isclose(np.cumsum(weights), mass * sum(weights), rtol=1e-12).any())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("preset", [Reduction("float16"), Reduction("uint8", largest=3.0)])
def test_values_are_rounded_to_the_nearest(preset: Reduction, signed: bool) -> None:
    rows = random_rows(50, 1, signed=signed)
    made = preset.apply(rows)
    np.testing.assert_array_equal(dense(made), rounded(dense(rows), preset))
    assert made.data.all()
    assert vectors.check(made) is made  # canonical
    again = preset.apply(made)
    np.testing.assert_array_equal(dense(again), dense(made))


def test_values_that_round_to_zero_are_dropped() -> None:
    rows = vectors.check(csr_array(np.array([[0.005, 1, 0], [0, 0.001, 0]], np.float32)))
    made = Reduction("uint8", largest=3.0).apply(rows)
    assert made.indptr.tolist() == [0, 1, 1]
    assert made.indices.tolist() == [1]
    assert made.data == pytest.approx([1], abs=0.006)
    assert Reduction("float16").apply(rows).nnz == 3


@pytest.mark.parametrize("at_once", [1, 2**22])
def test_values_beyond_half_precision_are_refused(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(reduction, "_VALUES_AT_ONCE", at_once)
    rows = vectors.check(csr_array(np.array([[0, 65504.0, 1e-9], [0, 0, 65520.0]], np.float32)))
    with pytest.raises(VectorError, match=r"row 1, column 2: value 65520.0 is beyond float16"):
        Reduction("float16").apply(rows)
    assert Reduction("float16").apply(rows[:1]).data.tolist() == [65504.0]


@given(
    rows=st.lists(
        st.dictionaries(
            st.integers(0, DIM - 1),
            st.integers(-8, 8).filter(bool).map(lambda n: n / 4),  # sums are exact, ties common
            max_size=10,
        ),
        max_size=8,
    ),
    mass=st.sampled_from([1.0, 0.95, 0.75, 0.5, 0.001]),
    max_terms=st.sampled_from([None, 1, 3, 100]),
    at_once=st.sampled_from([1, 5, 2**22]),
)
@settings(deadline=None)
def test_pruning_keeps_the_heaviest_terms(
    rows: list[dict[int, float]], mass: float, max_terms: int | None, at_once: int
) -> None:
    # Shares are summed in units of the heaviest weight, of which a third say has no whole number:
    # then what falls on the boundary to the last bit may be kept or not.
    assume(mass == 1 or not any(on_boundary(row, mass) for row in rows))
    given_rows = np.zeros((len(rows), DIM), np.float32)
    for made, row in zip(given_rows, rows, strict=True):
        made[list(row)] = list(row.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "_VALUES_AT_ONCE", at_once)
        found = dense(
            Reduction(mass=mass, max_terms=max_terms).apply(vectors.check(csr_array(given_rows)))
        )
    for got, row in zip(found, rows, strict=True):
        assert {int(c): float(got[c]) for c in np.flatnonzero(got)} == pruned(row, mass, max_terms)


def test_what_is_kept_does_not_depend_on_the_batch() -> None:
    rows = random_rows(200, 2)
    preset = Reduction(mass=0.8)
    whole = dense(preset.apply(rows))
    assert 0 < np.count_nonzero(whole) < 0.8 * rows.nnz
    single = np.concatenate([dense(preset.apply(rows[i : i + 1])) for i in range(200)])
    np.testing.assert_array_equal(whole, single)


def test_nothing_to_do_copies_nothing() -> None:
    rows = random_rows(5, 3)
    assert Reduction().apply(rows) is rows


@pytest.mark.parametrize(
    ("preset", "value_type"),
    [
        (Reduction("float16"), "16-bit codes"),
        (Reduction("uint8", largest=3.0), "8-bit codes"),
        (Reduction("uint8", largest=0.5), "16-bit codes"),  # most values are above: two bytes
        (Reduction("uint8", largest=3.0, mass=0.9, max_terms=9), "8-bit codes"),
        (Reduction(mass=0.9), "16-bit codes"),  # as they are so few
    ],
)
def test_searches_are_exact_on_what_is_stored(
    tmp_path: Path, preset: Reduction, value_type: str
) -> None:
    rows = random_rows(1900, 4)  # too few to be calibrated, which takes time
    queries = random_rows(20, 5)
    stored = dense(preset.apply(rows))
    with InvertedIndex.create(
        tmp_path / "i", signed=False, precision=preset.precision, largest=preset.largest,
        mass=preset.mass, max_terms=preset.max_terms,
    ) as index:  # fmt: skip
        for begin in range(0, 1900, 475):
            index.add([str(i) for i in range(begin, begin + 475)], rows[begin : begin + 475])
            index.commit()
    index = InvertedIndex.open(tmp_path / "i")
    assert index.reduction == preset
    for merged in (False, True):
        if merged:
            index.merge()
        info = index_info(index)
        (leg,) = info.legs
        assert leg.reduction == preset
        assert leg.nnz == np.count_nonzero(stored)
        assert len(leg.segments) == (1 if merged else 4)
        assert {segment.value_type for segment in leg.segments} == {value_type}
        hits = index.search(queries, 10)
        for ids, scores, query in zip(hits.ids, hits.scores, dense(queries), strict=True):
            exact = stored.astype(np.float64) @ query
            np.testing.assert_allclose(scores, np.sort(exact)[::-1][:10], rtol=1e-5)
            np.testing.assert_allclose(exact[[int(id) for id in ids]], scores, rtol=1e-5)
    # What is added later, by whomever opened the index, is reduced alike.
    index.update(["0"], rows[1:2])
    index.commit()
    number = int(index.snapshot.catalog.numbers_of(["0"])[0])
    columns, values = index.snapshot.row(number)
    assert columns.tolist() == np.flatnonzero(stored[1]).tolist()
    assert values.tolist() == stored[1][columns].tolist()
    index.close()


def test_signed_vectors_are_rounded_too(tmp_path: Path) -> None:
    rows = random_rows(300, 6, signed=True)
    preset = Reduction("uint8", largest=3.0)
    with InvertedIndex.create(tmp_path / "i", precision="uint8", largest=3.0) as index:
        index.add([str(i) for i in range(300)], rows)
        index.commit()
        assert [s.value_type for s in index_info(index).legs[0].segments] == ["16-bit codes"]
        hits = index.search(rows[:1], 300)
    want = dense(preset.apply(rows)).astype(np.float64) @ dense(rows)[0]
    got = np.array([want[int(id)] for id in hits.ids[0]])
    np.testing.assert_allclose(got, hits.scores[0], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "unknown precision 'int4'; choose float32, float16, uint8"),
        ({"precision": "uint8"}, "largest= goes with"),
        ({"largest": 3.0}, "largest= goes with"),
        ({"precision": "uint8", "largest": float("nan")}, "largest must be a number"),
        ({"precision": "uint8", "largest": -1}, "largest must be a number"),
        ({"mass": 0}, "mass must be above 0"),
        ({"mass": 1.5}, "mass must be above 0"),
        ({"mass": "0.9"}, "mass must be above 0"),
        ({"max_terms": 0}, "max_terms must be a whole number"),
        ({"max_terms": 1.5}, "max_terms must be a whole number"),
    ],
)
def test_impossible_settings(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        InvertedIndex.create(tmp_path / "i", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "i").exists()


def test_counts_are_not_reduced(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="counts are neither rounded nor pruned"):
        InvertedIndex.create(tmp_path / "i", weighting=BM25Encoder(), precision="float16")


@pytest.mark.parametrize("text", ["", "[]", '{"precision": "int4"}', '{"levels": 16}'])
def test_a_record_that_says_something_else(tmp_path: Path, text: str) -> None:
    InvertedIndex.create(tmp_path / "i", max_terms=np.int64(5)).close()
    assert InvertedIndex.open(tmp_path / "i").reduction == Reduction(max_terms=5)
    with sqlite3.connect(tmp_path / "i" / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE meta SET value = ? WHERE key = 'reduction'", (text,))
    with pytest.raises(CorruptIndexError, match="the record of how vectors are reduced"):
        InvertedIndex.open(tmp_path / "i")


def test_the_description() -> None:
    assert Reduction().description == "float32"
    full = Reduction("uint8", largest=3.0, mass=0.95, max_terms=128)
    assert full.description == "uint8 up to 3, 95% of the mass, at most 128 terms"
    assert json.loads(full.to_json())["largest"] == 3.0
    assert Reduction.from_json(full.to_json()) == full


def test_info_tells_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with InvertedIndex.create(tmp_path / "i", precision="float16", mass=0.9) as index:
        index.add(["a"], random_rows(1, 7))
    for options, told in (((), "float16, 90% of the mass"), (("--json",), '"mass": 0.9')):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, "argv", ["sparseret", "info", str(tmp_path / "i"), *options])
            main()
        assert not end.value.code
        printed = capsys.readouterr().out
        assert told in printed
        assert "vectors were given" in printed
