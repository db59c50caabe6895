"""Two-stage search: light codes in memory, vectors on disk, and the plan for a budget of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import ConfigurationError, CorruptIndexError, VectorError
from sparseret.indexers import dense_ann, dense_codes
from sparseret.indexers.dense_segment import (
    DenseSegment,
    merge_dense,
    read_dense_segment,
    verify_dense_segment,
    write_dense_segment,
)
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.quantiser import Quantiser, corner_entries
from sparseret.indexers.quantiser_fit import fit_quantiser
from sparseret.kernels import reference

FILE = Path(__file__).parent / "data" / "cranfield-minilm.npz"
KINDS = ("binary", "pq")


@pytest.fixture
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_ann, "_LEAST", dict.fromkeys(dense_ann._LEAST, 10))


def made(path: Path, vectors: Any, settings: DenseSettings, **more: Any) -> DenseSegment:
    numbers = np.arange(0, 3 * len(vectors), 3)
    size, crc = write_dense_segment(path, numbers, vectors, settings, **more)
    return read_dense_segment(path, size=size, header_crc=crc)


def packed(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    full = np.zeros(-(-len(mask) // 64) * 64, bool)
    full[: len(mask)] = mask
    return np.packbits(full, bitorder="little").view(np.uint64)


def recall(found: Any, truth: Any) -> float:
    return float(
        np.mean([np.isin(t.rows, f.rows).mean() for f, t in zip(found, truth, strict=True)])
    )


def real() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.load(FILE) as data:
        return data["documents"].astype(np.float32), data["queries"].astype(np.float32)


# --- codes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3, 48])
def test_code_scores_are_those_of_the_reference(width: int) -> None:
    rng = np.random.default_rng(width)
    for n, m in ((0, 2), (1, 1), (7, 3), (8, 1), (9, 2), (100, 1)):
        codes = rng.integers(0, 256, (n, width), np.uint8)
        tables = rng.standard_normal((m, width, 256)) * 10.0 ** rng.integers(-6, 6, (m, width, 256))
        tables = tables.astype(np.float32)
        found = kernels.code_scores(codes, tables)
        assert found.shape == (m, n)
        assert np.array_equal(found, reference.code_scores(codes, tables))
    tables[:] = np.inf
    tables[..., ::2] = -np.inf
    with np.errstate(invalid="ignore"):
        expected = reference.code_scores(codes, tables)
    assert np.array_equal(kernels.code_scores(codes, tables), expected, equal_nan=True)


def test_codes_and_tables_that_do_not_fit_are_refused() -> None:
    codes, tables = np.zeros((3, 2), np.uint8), np.zeros((1, 2, 256), np.float32)
    wrong: list[tuple[Any, Any]] = [
        (codes.astype(np.int8), tables), (codes, tables.astype(np.float64)), (codes, tables[:, :1]),
        (codes[0], tables), (codes[:, :0], tables[:, :0]), (codes, tables[..., :255]),
    ]  # fmt: skip
    for some, others in wrong:
        with pytest.raises(VectorError):
            kernels.code_scores(some, others)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code_bytes", [1, 2, 4])
def test_a_score_is_the_product_with_the_decoded_vector(kind: Any, code_bytes: int) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((500, 32)) * np.linspace(5, 1, 32) + 3).astype(np.float32)
    quantiser = fit_quantiser(kind, code_bytes, rows)
    again = Quantiser.from_bytes(quantiser.to_bytes(), "it")
    codes = quantiser.encode(rows)
    assert np.array_equal(again.encode(rows).codes, codes.codes)
    query = rng.standard_normal(32).astype(np.float32)
    scores = kernels.code_scores(codes.codes, quantiser.table(query)[None])[0]
    chosen = quantiser.entries[np.arange(code_bytes), codes.codes].reshape(len(rows), -1)
    assert np.allclose(scores, chosen @ (query @ quantiser.rotation), rtol=1e-4, atol=1e-3)
    turned = (rows - quantiser.mean) @ quantiser.rotation
    if codes.factors is None:  # the nearest entry of each slice
        parts = turned.reshape(len(rows), code_bytes, 1, -1)
        nearest = ((parts - quantiser.entries) ** 2).sum(axis=3).argmin(axis=2)
        assert (nearest == codes.codes).mean() > 0.999
    else:  # the product of a vector with its own code is its squared length
        assert np.array_equal(chosen > 0, turned > 0)
        own = codes.factors * (chosen * turned).sum(axis=1)
        assert np.allclose(own, (turned**2).sum(axis=1), rtol=2e-3)


def test_codes_of_degenerate_vectors() -> None:
    rng = np.random.default_rng(2)
    random = rng.standard_normal((300, 12)).astype(np.float32)
    cases = [
        random[:1], np.zeros((20, 12), np.float32), np.repeat(random[:1], 50, axis=0),
        random * np.float32(1e-42), random * np.float32(1e30),
        random * (10.0 ** rng.integers(-30, 18, (300, 1))).astype(np.float32),
    ]  # fmt: skip
    for rows in cases:
        for kind in KINDS:
            with np.errstate(all="ignore"):
                quantiser = fit_quantiser(kind, 2, rows)  # type: ignore[arg-type]
                codes = quantiser.encode(rows)
            assert codes.codes.shape == (len(rows), 2)
            assert codes.factors is None or np.isfinite(codes.factors).all()
    assert fit_quantiser("binary", 2, random).rotation.shape == (12, 16)  # 4 bits that mean nothing
    assert len(fit_quantiser("pq", 2, random).encode(random[:0]).codes) == 0


def test_quantisers_that_cannot_be(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)
    with pytest.raises(ConfigurationError, match="does not divide"):
        fit_quantiser("pq", 5, rows)
    with pytest.raises(ConfigurationError, match="at most 2"):
        fit_quantiser("binary", 3, rows)
    good = fit_quantiser("pq", 2, rows)
    with pytest.raises(ConfigurationError, match="do not fit"):
        Quantiser("pq", good.mean[1:], good.rotation, good.entries)
    with pytest.raises(ConfigurationError, match="finite"):
        Quantiser("pq", good.mean * np.nan, good.rotation, good.entries)
    with pytest.raises(ConfigurationError, match="codes must be"):
        Quantiser("ivf", good.mean, good.rotation, corner_entries(2))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Quantiser.load(tmp_path / "none")
    data = good.to_bytes()
    for damaged in (b"", data[:10], data[:30], data[:-1], data[:-4], data + b"1234", b"x" + data):
        (tmp_path / "q").write_bytes(damaged)
        with pytest.raises(CorruptIndexError, match="no sound quantiser"):
            Quantiser.load(tmp_path / "q")
    good.save(tmp_path / "q")
    assert Quantiser.load(tmp_path / "q").to_bytes() == data


# --- segments -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_real_vectors_are_found_with_exact_scores(
    tmp_path: Path, kind: Any, precision: Any
) -> None:
    documents, queries = real()
    segment = made(tmp_path / "s", documents, DenseSettings(kind, precision=precision))
    assert segment.built == kind
    truth = segment.search(queries, 10)
    found = segment.search(queries, 10, effort=100)
    assert recall(found, truth) >= 0.98
    assert recall(segment.search(queries, 10, effort=20), truth) >= 0.75
    for some, all_ in zip(found, truth, strict=True):
        exact = dict(zip(all_.rows.tolist(), all_.scores.tolist(), strict=True))
        assert all(
            exact.get(r, s) == s for r, s in zip(some.rows, some.scores.tolist(), strict=True)
        )
    everything = segment.search(queries, 10, effort=len(documents))
    for some, all_ in zip(everything, truth, strict=True):
        assert np.array_equal(some.rows, all_.rows)
        assert np.array_equal(some.scores, all_.scores)


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
def test_candidates_depend_on_nothing_but_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    documents, queries = real()
    twice = np.concatenate([documents, documents[:700]])  # ties, which go to the smaller row
    segment = made(tmp_path / "s", twice, DenseSettings(kind, code_bytes=8))
    before = [segment.search(queries[:30], 5, effort=e) for e in (5, 40)]
    monkeypatch.setattr(dense_codes, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(dense_codes, "_BLOCK_ROWS", 100)
    monkeypatch.setattr(dense_codes, "_MARGIN", 7)
    for expected, effort in zip(before, (5, 40), strict=True):
        for threads in (1, 3):
            for step in (1, 30):
                for q in range(0, 30, step):
                    found = segment.search(queries[q : q + step], 5, effort=effort, threads=threads)
                    for some, other in zip(found, expected[q : q + step], strict=True):
                        assert np.array_equal(some.rows, other.rows)
                        assert np.array_equal(some.scores, other.scores)


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
def test_filters_and_ranges(tmp_path: Path, kind: Any) -> None:
    documents, queries = real()
    documents[::50] = 0  # never hits
    queries = queries[:40]
    segment = made(tmp_path / "s", documents, DenseSettings(kind))
    rng = np.random.default_rng(3)
    n = len(documents)
    for share in (0.02, 0.2, 0.9):
        mask = rng.random(n) < share
        for inside in (None, range(333, 1100), range(100, 110)):
            more: Any = {"allowed": packed(mask), "inside": inside}
            truth = segment.search(queries, 10, **more)
            found = segment.search(queries, 10, effort=150, **more)
            assert recall(found, truth) >= 0.98
            for hits in found:
                assert mask[hits.rows].all()
                assert documents[hits.rows].any(axis=1).all()
                assert inside is None or np.isin(hits.rows, inside).all()
    assert segment.search(np.zeros((1, 384)), 5, effort=5)[0].rows.tolist() == []


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
def test_merging_gives_what_writing_at_once_does(tmp_path: Path, kind: Any) -> None:
    documents, _ = real()
    settings = DenseSettings(kind, code_bytes=12)
    at_once = made(tmp_path / "s", documents, settings)
    parts = []
    for begin, end in ((0, 600), (600, 610), (610, 1400)):
        path = tmp_path / str(begin)
        numbers = np.arange(3 * begin, 3 * end, 3)
        size, crc = write_dense_segment(path, numbers, documents[begin:end], settings)
        parts.append((read_dense_segment(path, size=size, header_crc=crc), None))
    merge_dense(parts, tmp_path / "merged", settings)
    assert (tmp_path / "merged").read_bytes() == at_once.path.read_bytes()


@pytest.mark.usefixtures("_small_segments")
def test_damage_is_found(tmp_path: Path) -> None:
    documents, queries = real()
    documents = documents[:100]
    path = tmp_path / "s"
    size, crc = write_dense_segment(path, np.arange(100), documents, DenseSettings("binary"))
    whole = path.read_bytes()
    sound = read_dense_segment(path, size=size, header_crc=crc)
    assert verify_dense_segment(sound) == []
    for length in (0, 1, 4000, 5000, size // 2, size - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CorruptIndexError):
            read_dense_segment(tmp_path / "cut", size=size, header_crc=crc)
    begin = whole.index(b"sparseret-quantiser")
    end = begin + len(sound.file.structure) - 8
    for at in [begin - 4, *np.linspace(begin, end - 1, 40).astype(int).tolist()]:
        data = bytearray(whole)
        data[at] ^= 0x41
        (tmp_path / "flipped").write_bytes(data)
        flipped = read_dense_segment(tmp_path / "flipped", size=size, header_crc=crc)
        with pytest.raises(CorruptIndexError, match="structure"):
            flipped.search(queries[:1], 5, effort=10)
        assert len(flipped.search(queries[:1], 5)[0].rows) == 5  # exact search needs no codes
        assert len(verify_dense_segment(flipped)) == 1


@pytest.mark.usefixtures("_small_segments")
def test_a_learned_quantiser_is_kept_with_the_segments(tmp_path: Path) -> None:
    documents, queries = real()
    quantiser = fit_quantiser("pq", 24, documents[::3])
    settings = DenseSettings("pq", code_bytes=24)
    segment = made(tmp_path / "s", documents, settings, quantiser=quantiser)
    assert bytes(quantiser.to_bytes()) in (tmp_path / "s").read_bytes()
    truth = segment.search(queries, 10)
    assert recall(segment.search(queries, 10, effort=100), truth) >= 0.9
    for wrong in (DenseSettings("pq", code_bytes=48), DenseSettings("binary", code_bytes=24)):
        with pytest.raises(ConfigurationError, match="the quantiser makes pq codes of 24 bytes"):
            made(tmp_path / "x", documents, wrong, quantiser=quantiser)
        assert not (tmp_path / "x").exists()


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    vectors = np.ones((5, 12), np.float32)
    for settings in (DenseSettings("pq", code_bytes=5), DenseSettings("binary", code_bytes=3)):
        with pytest.raises(ConfigurationError, match="code_bytes"):
            made(tmp_path / "s", vectors, settings)
    with pytest.raises(ConfigurationError, match="quantiser"):
        DenseSettings("hnsw", quantiser="file")
    assert made(tmp_path / "s", vectors, DenseSettings("pq")).built == "flat"
    assert [DenseSettings(k).codes_for(384) for k in KINDS] == [48, 48]  # type: ignore[arg-type]
    assert DenseSettings("binary").codes_for(100) == 13
    assert DenseSettings("pq").codes_for(100) == 10
